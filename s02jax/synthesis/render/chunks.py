"""Chunks of utterances, batched into few static shapes for the models.

The models' functions are those of `synthesis/render/flow.py` and
`synthesis/render/codecs.py`, or the same functions from an export.

Shape letters: b batch, s tokens of the window, r latents per token, l latents,
c latent channels, e speaker vector, n samples.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from s02jax.core.errors import UserError
from s02jax.synthesis.batching import counts, group_equal, pad, stack

# Streaming: tokens of the first chunk and of later ones, and of the windows, in
# which known latents stand before the chunk.
FIRST, LARGEST = 6, 50
STREAMED = (3 * FIRST, 75)
WHOLE = 128  # tokens of the least window of whole utterances, which double
BUDGET = 8 * 1024  # most tokens of a batch of several windows
FEWEST = 32  # latents of the vocoder's smallest window
# Solver of a model that was not distilled, unless a request says otherwise.
STEPS, GUIDANCE = 16, 1.5


def windows(longest: int) -> tuple[int, ...]:
  """Sizes in tokens of the windows of a model, streamed and whole.

  Args:
    longest: tokens of the longest rows that the model was trained on.
  """
  sizes = list(STREAMED)
  size = WHOLE
  while size <= longest:
    sizes.append(size)
    size *= 2
  return tuple(sizes)


def streamed_size(start: int) -> int:
  """Most tokens of the streamed chunk that begins at token `start`."""
  return max(FIRST, min(2 * start, LARGEST))


def whole_size(known: int, window: int) -> int:
  """Most tokens of a chunk of a whole utterance behind `known` tokens.

  What is known fills half of the window at most, so that an utterance that the
  rest has room for is one chunk.
  """
  return window - min(known, window // 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowChunk:
  """Input of flow matching for one chunk: a window of tokens and latents."""

  tokens: np.ndarray  # int32, those of the window and of the reach around it
  before: int  # tokens in front of the window; less than the reach at a start
  size: int  # tokens of the chunk itself, at the window's end
  known: np.ndarray  # float32 [k r, c], latents of the window before the chunk
  first: int  # frame number of the window's first latent
  vector: np.ndarray  # float32 [e], the speaker's
  seed: int  # 32 bits, of the utterance's noise
  steps: int  # of the Euler solver
  guidance: float  # weight of the condition; 1 is no guidance
  # float [e], of the adapters; none: the base alone
  strengths: np.ndarray | Sequence[float] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoundChunk:
  """Input of the vocoder for one chunk: latents and those around them."""

  latents: np.ndarray  # float32 [l, c], of the chunk and of the reach around
  before: int  # latents in front of the chunk; less than the reach at a start
  size: int  # latents of the chunk itself


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowSolver:
  """Batched flow matching: chunks of tokens to standardised latents."""

  reach: tuple[int, int]  # tokens before and behind that a condition sees
  latents_per_token: int  # latents of one token, r
  channels: int  # channels of a latent, c
  windows: tuple[int, ...]  # sizes in tokens, see `windows`
  run: Callable[..., Any]  # `flow.flow_chunk` of a model, arrays by name
  adapters: int = 0  # that a chunk may mix
  # Steps and guidance of requests that say none; a guidance of None is that of
  # a distilled model, which takes none.
  steps: int = STEPS
  guidance: float | None = GUIDANCE

  def settings(
    self, steps: int | None, guidance: float | None
  ) -> dict[str, Any]:
    """Steps and guidance of a chunk, where None is what the model is made for.

    Raises:
      UserError: guidance of a model that takes none.
    """
    if self.guidance is None and guidance is not None:
      raise UserError(
        f"guidance is {guidance}; the flow matching of this bundle is"
        " distilled and takes none: leave it out."
      )
    told = self.guidance if guidance is None else guidance
    return {
      "steps": self.steps if steps is None else steps,
      "guidance": 1.0 if told is None else told,
    }

  def __call__(self, chunks: Sequence[FlowChunk]) -> list[np.ndarray]:
    """Solves chunks; latents float32 [size · r, c] of each."""
    r = self.latents_per_token
    results: list[Any] = [None] * len(chunks)
    shapes = [(self._window(chunk), chunk.steps) for chunk in chunks]
    most = {window: BUDGET // window for window in self.windows}
    for indices, rows, (window, steps) in group_equal(
      shapes, lambda shape: most[shape[0]]
    ):
      chosen = [chunks[i] for i in indices]
      arrays = self._arrays(chosen, rows, window)
      solved = np.array(self.run(**arrays, steps=np.int32(steps)))
      for i, chunk, row in zip(indices, chosen, solved, strict=False):
        begin = len(chunk.known)
        results[i] = row[begin : begin + chunk.size * r]
    return results

  def _window(self, chunk: FlowChunk) -> int:
    """Size in tokens of the least window with room for the chunk."""
    size = len(chunk.known) // self.latents_per_token + chunk.size
    return next(w for w in self.windows if w >= size)

  def _arrays(self, chunks, rows: int, window: int) -> dict[str, np.ndarray]:
    """Batch of chunks as arrays by name, padded to [rows, window]."""
    r, (left, right) = self.latents_per_token, self.reach
    tokens = np.zeros((rows, left + window + right), np.int32)
    mask = np.zeros(tokens.shape, bool)
    for row, chunk in enumerate(chunks):
      begin = left - chunk.before
      place = slice(begin, begin + len(chunk.tokens))
      tokens[row, place], mask[row, place] = chunk.tokens, True
    strengths = np.zeros((rows, self.adapters), np.float32)
    for row, chunk in zip(strengths, chunks, strict=False):
      row[: len(chunk.strengths)] = chunk.strengths
    known = [chunk.known for chunk in chunks]
    lengths = [len(x.known) + x.size * r for x in chunks]
    return {
      "tokens": tokens,
      "token_mask": mask,
      "speaker": stack([x.vector for x in chunks], rows),
      "known": pad(known, rows, window * r),
      "known_lengths": counts(known, rows),
      "lengths": stack([np.int32(n) for n in lengths], rows),
      "first": stack([np.int32(x.first) for x in chunks], rows),
      "seeds": stack([np.uint32(x.seed) for x in chunks], rows),
      "guidance": stack([np.float32(x.guidance) for x in chunks], rows),
      "strengths": strengths,
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChunkVocoder:
  """Batched vocoder: chunks of latents to sound."""

  reach: tuple[int, int]  # latents before and behind that a sample depends on
  hop: int  # samples of a latent
  channels: int  # channels of a latent, c
  run: Callable[..., Any]  # `codecs.vocode_chunk` of a model: z and mask

  def __call__(self, chunks: Sequence[SoundChunk]) -> list[np.ndarray]:
    """Vocodes chunks; sound float32 [size · hop] of each.

    It equals that part of the sound of all latents at once.
    """
    left, right = self.reach
    results: list[Any] = [None] * len(chunks)
    sizes = [
      max(FEWEST, 1 << (chunk.size - 1).bit_length()) for chunk in chunks
    ]
    for indices, rows, size in group_equal(sizes):
      z = np.zeros((rows, left + size + right, self.channels), np.float32)
      mask = np.zeros(z.shape[:2], bool)
      for row, i in enumerate(indices):
        begin = left - chunks[i].before
        place = slice(begin, begin + len(chunks[i].latents))
        z[row, place], mask[row, place] = chunks[i].latents, True
      waves = np.array(self.run(z, mask))
      for row, i in zip(waves, indices, strict=False):
        results[i] = row[: chunks[i].size * self.hop]
    return results
