"""One utterance's tokens to sound while they come, in constant memory.

When a piece of sound is due, and what it is made of, is a function of the
tokens alone: so sound that is streamed and sound that is not are the same.

Shape letters: n samples, s tokens, r latents per token, c latent channels.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from s02jax.synthesis.render.chunks import (
  CONTEXT,
  FlowChunk,
  FlowSolver,
  SoundChunk,
  Vocoder,
  chunk_size,
)
from s02jax.synthesis.voice import Voice


class Tail:
  """The newest rows of an array that grows; older ones are let go."""

  def __init__(self, rows: np.ndarray):
    self._rows = rows
    self.begin = 0  # number of the oldest row kept

  @property
  def end(self) -> int:
    """Rows there ever were."""
    return self.begin + len(self._rows)

  def append(self, rows: np.ndarray) -> None:
    self._rows = np.concatenate([self._rows, rows])

  def forget(self, before: int) -> None:
    """Lets rows of lower numbers go."""
    if before > self.begin:
      self._rows = self._rows[before - self.begin :].copy()
      self.begin = before

  def __getitem__(self, numbers: slice) -> np.ndarray:
    """Rows by number; none below `begin`."""
    return self._rows[numbers.start - self.begin : numbers.stop - self.begin]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Models:
  """Flow matching and vocoder, and the statistics of the latents between."""

  flow: FlowSolver
  vocoder: Vocoder
  mean: np.ndarray  # float32 [c]
  std: np.ndarray  # float32 [c]


class Sounding:
  """The state of one utterance; numbers count from the prompt's beginning."""

  def __init__(
    self,
    models: Models,
    voice: Voice,
    *,
    seed: int,
    steps: int,
    guidance: float,
  ):
    prompt, channels = voice.prompt, models.flow.channels
    self._models = models
    self._settings = dict(
      vector=voice.flow_vector, seed=seed, steps=steps, guidance=guidance
    )
    tokens = prompt.tokens if prompt else np.zeros(0)
    latents = prompt.latents if prompt else np.zeros((0, channels))
    self._tokens = Tail(np.asarray(tokens, np.int32))
    self._latents = Tail(np.asarray(latents, np.float32))
    self._spoken_from = len(tokens)
    self._solved = len(tokens)  # tokens that have latents
    self._heard = len(latents)  # latents that have sound
    self._complete = False

  def append(self, tokens: np.ndarray) -> None:
    """Takes tokens int32 [s] that will not be taken back."""
    self._tokens.append(np.asarray(tokens, np.int32))

  def finish(self) -> None:
    """No token comes any more."""
    self._complete = True

  @property
  def _next(self) -> int:
    """Where the chunk that is to be solved next ends, if tokens reach it."""
    return self._solved + chunk_size(self._solved - self._spoken_from)

  @property
  def missing(self) -> int:
    """Tokens that must come before another chunk can be solved."""
    right = self._models.flow.reach[1]
    return max(self._next + right - self._tokens.end, 0)

  @property
  def silent(self) -> bool:
    """Whether no sound has come yet."""
    return self._solved == self._spoken_from

  def due(self) -> FlowChunk | None:
    """The chunk to be solved now, or None."""
    end = self._tokens.end
    if self._complete and self._solved == end:
      return None
    if self.missing and not self._complete:
      return None
    (left, right), r = self._models.flow.reach, self._ratio
    stop = min(self._next, end)
    begin = max(0, self._solved - CONTEXT)
    reached = slice(max(0, begin - left), min(stop + right, end))
    return FlowChunk(
      tokens=self._tokens[reached],
      before=begin - reached.start,
      size=stop - self._solved,
      known=self._latents[slice(begin * r, self._solved * r)],
      first=begin * r,
      **self._settings,
    )

  @property
  def _ratio(self) -> int:
    return self._models.flow.latents_per_token

  def solved(self, latents: np.ndarray) -> None:
    """Takes the latents [size · r, c] of the chunk that was due."""
    left = self._models.flow.reach[0]
    self._latents.append(latents)
    self._solved += len(latents) // self._ratio
    self._tokens.forget(self._solved - CONTEXT - left)

  def audible(self) -> SoundChunk | None:
    """Latents that can be heard now, or None."""
    left, right = self._models.vocoder.reach
    end = self._latents.end
    stop = end if self.exhausted else end - right
    if stop <= self._heard:
      return None
    around = slice(max(0, self._heard - left), min(stop + right, end))
    latents = self._latents[around] * self._models.std + self._models.mean
    return SoundChunk(
      latents=latents,
      before=self._heard - around.start,
      size=stop - self._heard,
    )

  def heard(self, chunk: SoundChunk) -> None:
    """Notes that the audible chunk has become sound."""
    self._heard += chunk.size
    left = self._models.vocoder.reach[0]
    context = CONTEXT * self._ratio
    self._latents.forget(
      min(self._heard - left, self._solved * self._ratio - context)
    )

  @property
  def exhausted(self) -> bool:
    """Whether every token has its latents and none comes any more."""
    return self._complete and self._solved == self._tokens.end


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heard:
  """Sound of one utterance."""

  owner: Sounding
  wave: np.ndarray  # float32 [n]


def advance(models: Models, soundings: Sequence[Sounding]) -> list[Heard]:
  """Solves at most one chunk of each utterance, and makes its sound."""
  waiting = [(s, chunk) for s in soundings if (chunk := s.due()) is not None]
  solved = models.flow([chunk for _, chunk in waiting])
  for (sounding, _), latents in zip(waiting, solved, strict=True):
    sounding.solved(latents)
  ready = [(s, c) for s in soundings if (c := s.audible()) is not None]
  waves = models.vocoder([chunk for _, chunk in ready])
  for sounding, chunk in ready:
    sounding.heard(chunk)
  return [
    Heard(owner=sounding, wave=wave)
    for (sounding, _), wave in zip(ready, waves, strict=True)
  ]
