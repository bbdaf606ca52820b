"""Chunks of an utterance on their way to sound, batched to few static shapes.

`synthesis/render/flow.py` and `synthesis/render/codecs.py` compute on them, or
the same functions out of an export.

Shape letters: b batch, s tokens of the window, r latents per token, l latents,
c latent channels, e speaker vector, n samples.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from s02jax.synthesis.batching import counts, groups, pad, stack

CONTEXT = 25  # tokens whose latents a chunk sees
FIRST, LARGEST = 6, 50  # tokens of the first chunk and of later ones
WINDOWS = (3 * FIRST, CONTEXT + LARGEST)  # tokens a window has room for
FEWEST = 32  # latents that a window of the vocoder has room for, at least


def chunk_size(start: int) -> int:
  """Tokens of the chunk that begins at a token of the utterance."""
  return max(FIRST, min(2 * start, LARGEST))


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowChunk:
  """What one chunk of an utterance is solved from."""

  tokens: np.ndarray  # int32, those of the window and of the reach around it
  before: int  # of these in front of the window; fewer than the reach: a start
  size: int  # tokens of the chunk itself, at the window's end
  known: np.ndarray  # float32 [k r, c], latents of the window before the chunk
  first: int  # frame number of the window's first latent
  vector: np.ndarray  # float32 [e]
  seed: int  # 32 bits, of the utterance's noise
  steps: int  # of the solver
  guidance: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoundChunk:
  """Latents to be heard, among those that they are heard with."""

  latents: np.ndarray  # float32 [l, c]
  before: int  # latents in front of the first to be heard; few at a start
  size: int  # latents to be heard


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowSolver:
  """Tokens to latents; latents are standardised."""

  reach: tuple[int, int]  # tokens before and behind that a condition sees
  latents_per_token: int
  channels: int
  run: Callable[..., Any]  # `flow.flow_chunk` of a model, arrays by name

  def __call__(self, chunks: Sequence[FlowChunk]) -> list[np.ndarray]:
    """Latents float32 [size · r, c] of each chunk."""
    r = self.latents_per_token
    results: list[Any] = [None] * len(chunks)
    shapes = [(self._window(chunk), chunk.steps) for chunk in chunks]
    for indices, rows, (window, steps) in groups(shapes):
      chosen = [chunks[i] for i in indices]
      arrays = self._arrays(chosen, rows, window)
      solved = np.array(self.run(**arrays, steps=np.int32(steps)))
      for i, chunk, row in zip(indices, chosen, solved, strict=False):
        begin = len(chunk.known)
        results[i] = row[begin : begin + chunk.size * r]
    return results

  def _window(self, chunk: FlowChunk) -> int:
    """Tokens of the least window with room for the chunk."""
    size = len(chunk.known) // self.latents_per_token + chunk.size
    return next(w for w in WINDOWS if w >= size)

  def _arrays(self, chunks, rows: int, window: int) -> dict[str, np.ndarray]:
    """A batch, padded to [rows, window]."""
    r, (left, right) = self.latents_per_token, self.reach
    tokens = np.zeros((rows, left + window + right), np.int32)
    mask = np.zeros(tokens.shape, bool)
    for row, chunk in enumerate(chunks):
      begin = left - chunk.before
      place = slice(begin, begin + len(chunk.tokens))
      tokens[row, place], mask[row, place] = chunk.tokens, True
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
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vocoder:
  """Latents to sound."""

  reach: tuple[int, int]  # latents before and behind that a sample hears
  hop: int  # samples of a latent
  channels: int
  run: Callable[..., Any]  # `codec.vocode_chunk` of a model: z and mask

  def __call__(self, chunks: Sequence[SoundChunk]) -> list[np.ndarray]:
    """Sound float32 [size · hop] of each chunk, equal to the whole's."""
    left, right = self.reach
    results: list[Any] = [None] * len(chunks)
    sizes = [
      max(FEWEST, 1 << (chunk.size - 1).bit_length()) for chunk in chunks
    ]
    for indices, rows, size in groups(sizes):
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
