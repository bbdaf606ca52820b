"""Incremental rendering: tokens to sound while they come, in constant memory.

When a chunk of sound is due, and from what it is computed, is a function of the
tokens alone: so streamed sound does not depend on how the tokens come. Whole
utterances are rendered once all tokens are there, in windows as long as the
model was trained on.

Shape letters: n samples, s tokens, r latents per token, c latent channels.
"""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from s02jax.synthesis.render.chunks import (
  STREAMED,
  ChunkVocoder,
  FlowChunk,
  FlowSolver,
  SoundChunk,
  streamed_size,
  whole_size,
)
from s02jax.synthesis.voice import Voice

Key = TypeVar("Key", bound=Hashable)


class Tail:
  """Growing array that keeps its newest rows and drops older ones.

  Attributes:
    begin: number of the oldest row kept.
  """

  def __init__(self, rows: np.ndarray):
    self._rows = rows
    self.begin = 0

  @property
  def end(self) -> int:
    """Number of rows ever appended."""
    return self.begin + len(self._rows)

  def append(self, rows: np.ndarray) -> None:
    """Adds rows at the end."""
    self._rows = np.concatenate([self._rows, rows])

  def forget(self, before: int) -> None:
    """Drops the rows of numbers below `before`."""
    if before > self.begin:
      self._rows = self._rows[before - self.begin :].copy()
      self.begin = before

  def __getitem__(self, numbers: slice) -> np.ndarray:
    """Rows by number; none below `begin`."""
    return self._rows[numbers.start - self.begin : numbers.stop - self.begin]


class RenderStream:
  """Rendering state of one utterance.

  Tokens and latents are numbered from the beginning of the voice's prompt.
  """

  def __init__(
    self,
    renderer: "Renderer",
    voice: Voice,
    *,
    seed: int,
    whole: bool,
    steps: int | None = None,
    guidance: float | None = None,
    strengths: np.ndarray | Sequence[float] = (),
  ):
    """Starts behind the voice's prompt.

    Args:
      renderer: that is to render the stream.
      voice: of the utterance.
      seed: 32 bits, of the noise.
      whole: wait for all tokens and render them in the longest windows.
      steps: of the Euler solver; None is what the model is made for.
      guidance: of flow matching; 1 is none, None what the model is made for.
      strengths: of the adapters; none: the base alone.

    Raises:
      UserError: guidance of a model that takes none.
    """
    prompt, channels = voice.prompt, renderer.flow.channels
    self._renderer, self.whole = renderer, whole
    self._window = renderer.flow.windows[-1] if whole else STREAMED[-1]
    self._settings: dict[str, Any] = dict(
      vector=voice.flow_vector,
      seed=seed,
      strengths=strengths,
      **renderer.flow.settings(steps, guidance),
    )
    tokens = prompt.tokens if prompt else np.zeros(0)
    latents = prompt.latents if prompt else np.zeros((0, channels))
    self._tokens = Tail(np.asarray(tokens, np.int32))
    self._latents = Tail(np.asarray(latents, np.float32))
    self._first_token = len(tokens)  # of the utterance, behind the prompt
    self._solved = len(tokens)  # tokens that have latents
    self._vocoded = len(latents)  # latents that have sound
    self._complete = False
    self._made: list[np.ndarray] = []  # latents of the utterance

  def append(self, tokens: np.ndarray) -> None:
    """Adds tokens int32 [s] that will not be taken back."""
    self._tokens.append(np.asarray(tokens, np.int32))

  def finish(self) -> None:
    """Declares that no token follows."""
    self._complete = True

  @property
  def _next_end(self) -> int:
    """End of the chunk that is to be solved next, if tokens reach it."""
    if self.whole:
      return self._solved + whole_size(self._solved, self._window)
    return self._solved + streamed_size(self._solved - self._first_token)

  @property
  def missing(self) -> int:
    """Number of tokens that must come before another chunk can be streamed."""
    right = self._renderer.flow.reach[1]
    return max(self._next_end + right - self._tokens.end, 0)

  @property
  def silent(self) -> bool:
    """Whether no chunk has been solved yet."""
    return self._solved == self._first_token

  @property
  def exhausted(self) -> bool:
    """Whether every token has its latents and none follows."""
    return self._complete and self._solved == self._tokens.end

  @property
  def held(self) -> int:
    """Number of tokens and latents that are kept in memory."""
    return sum(tail.end - tail.begin for tail in (self._tokens, self._latents))

  def flow_chunk(self) -> FlowChunk | None:
    """Chunk whose latents can be solved now, or None."""
    end = self._tokens.end
    if self._complete and self._solved == end:
      return None
    if not self._complete and (self.whole or self.missing):
      return None
    (left, right), r = self._renderer.flow.reach, self._ratio
    stop = min(self._next_end, end)
    begin = max(0, stop - self._window)
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
    """Latents per token, r."""
    return self._renderer.flow.latents_per_token

  def add_latents(self, latents: np.ndarray) -> None:
    """Adds the latents [size · r, c] of the chunk from `flow_chunk`."""
    left = self._renderer.flow.reach[0]
    self._latents.append(latents)
    self._made.append(latents)
    self._solved += len(latents) // self._ratio
    self._tokens.forget(self._solved - self._window - left)

  @property
  def made(self) -> np.ndarray:
    """Standardised latents [l, c] of the utterance so far."""
    empty = np.zeros((0, self._renderer.flow.channels), np.float32)
    return np.concatenate([empty, *self._made])

  def sound_chunk(self) -> SoundChunk | None:
    """Latents that can become sound now, or None."""
    left, right = self._renderer.vocoder.reach
    end = self._latents.end
    stop = end if self.exhausted else end - right
    if stop <= self._vocoded:
      return None
    around = slice(max(0, self._vocoded - left), min(stop + right, end))
    latents = self._latents[around] * self._renderer.std + self._renderer.mean
    return SoundChunk(
      latents=latents,
      before=self._vocoded - around.start,
      size=stop - self._vocoded,
    )

  def mark_vocoded(self, chunk: SoundChunk) -> None:
    """Notes that the chunk from `sound_chunk` has become sound."""
    self._vocoded += chunk.size
    left = self._renderer.vocoder.reach[0]
    context = self._window * self._ratio
    self._latents.forget(
      min(self._vocoded - left, self._solved * self._ratio - context)
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Renderer:
  """Flow matching and vocoder, and the statistics of the latents between."""

  flow: FlowSolver  # tokens to standardised latents
  vocoder: ChunkVocoder  # latents to sound
  mean: np.ndarray  # float32 [c], of the latents
  std: np.ndarray  # float32 [c], of the latents

  def advance(
    self, streams: Mapping[Key, RenderStream]
  ) -> dict[Key, np.ndarray]:
    """Solves at most one chunk of each stream, and makes its sound.

    Args:
      streams: under keys of the caller's choice.

    Returns:
      New sound float32 [n] by key, of the streams that have any.
    """
    due = {k: c for k, s in streams.items() if (c := s.flow_chunk())}
    for key, latents in zip(due, self.flow(list(due.values())), strict=True):
      streams[key].add_latents(latents)
    ready = {k: c for k, s in streams.items() if (c := s.sound_chunk())}
    waves = self.vocoder(list(ready.values()))
    for key, chunk in ready.items():
      streams[key].mark_vocoded(chunk)
    return dict(zip(ready, waves, strict=True))
