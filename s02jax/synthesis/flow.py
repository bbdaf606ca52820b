"""Tokens and voices to latents: flow matching at inference, chunk by chunk.

A chunk is solved behind a context of latents that are known: the end of the
voice's prompt, then what was solved before. Its conditions are those of the
whole utterance exactly, since it brings all the tokens that their convolutions
reach; its noise is a function of the frame's number. A whole utterance is the
same chunks one after the other.

Shape letters: b batch, i tokens of the conditions' reach and the window, s
tokens of the window, r latents per token, l = s · r latents, c latent channels,
e speaker vector.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from s02jax.config import build
from s02jax.models.convnext import lengths_to_mask
from s02jax.models.flow_matching import FlowMatching, FlowMatchingConfig
from s02jax.synthesis import solver
from s02jax.synthesis.batching import counts, groups, pad, stack
from s02jax.synthesis.speaker import SpeakerVectors

CONTEXT = 25  # tokens whose latents a chunk sees
FIRST, LARGEST = 6, 50  # tokens of the first chunk and of later ones
WINDOWS = (3 * FIRST, CONTEXT + LARGEST)  # tokens a window has room for


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


@functools.partial(jax.jit, static_argnames=("model",))
def flow_chunk(
  model: FlowMatching,
  variables,
  tokens: Int[Array, "b i"],
  token_mask: Bool[Array, "b i"],
  speaker: Float[Array, "b e"],
  known: Float[Array, "b l c"],
  known_lengths: Int[Array, "b"],
  lengths: Int[Array, "b"],
  first: Int[Array, "b"],
  seeds: Int[Array, "b"],
  guidance: Float[Array, "b"],
  steps: Int[Array, ""],
) -> Float[Array, "b l c"]:
  """Solves the windows' latents; static in the shapes alone.

  Args:
    model: whose `config.reach` is (left, right).
    variables: of it.
    tokens: left + s + right of them, the window in the middle.
    token_mask: tokens that exist.
    speaker: vectors v.
    known: latents of the context, anything behind them.
    known_lengths: how many are known.
    lengths: latents of each window, the known ones included.
    first: frame number of each window's first latent.
    seeds: uint32, of the noise.
    guidance: of each row; 1 is none.
    steps: of the Euler solver.
  """
  c = model.config
  left = c.reach[0] * c.latents_per_token
  condition = model.apply(
    variables, tokens, token_mask, speaker, method="condition"
  )[:, left : left + known.shape[1]]
  mask = lengths_to_mask(lengths, known.shape[1])
  known_mask = lengths_to_mask(known_lengths, known.shape[1])
  keys = jax.vmap(jax.random.key)(seeds)
  noise = solver.start_noise(keys, first, *known.shape[1:])
  twice = jax.tree.map(
    lambda x: jnp.concatenate([x, x]),
    {
      "condition": condition,
      "speaker": speaker,
      "prompt": known,
      "prompt_mask": known_mask,
      "mask": mask,
    },
  )

  def velocity(x, t, keep):
    return model.apply(variables, x, t, keep=keep, **twice, method="velocity")

  # In training x_t of the prompt lies on the straight line from its noise to
  # its latents, and its velocity is not learned: the solver keeps it there.
  path = solver.follow(
    solver.guide(velocity, guidance), noise, known, known_mask
  )
  return solver.euler(path, noise, steps)


class FlowDecoder:
  """The flow-matching model of a bundle; latents are standardised."""

  def __init__(self, config: Mapping[str, Any], variables: Mapping[str, Any]):
    """Takes the stage's resolved config and its inference parameters."""
    self.config = build(FlowMatchingConfig, config["model"], "model")
    self._variables = jax.tree.map(jnp.asarray, variables)
    self._model = FlowMatching(self.config)
    self.speakers = SpeakerVectors(self._model, self._variables, config["mel"])

  def __call__(self, chunks: Sequence[FlowChunk]) -> list[np.ndarray]:
    """Latents float32 [size · r, c] of each chunk."""
    r = self.config.latents_per_token
    results: list[Any] = [None] * len(chunks)
    shapes = [(self._window(chunk), chunk.steps) for chunk in chunks]
    for indices, rows, (window, steps) in groups(shapes):
      chosen = [chunks[i] for i in indices]
      solved = np.array(
        flow_chunk(
          self._model,
          self._variables,
          **self._arrays(chosen, rows, window),
          steps=np.int32(steps),
        )
      )
      for i, chunk, row in zip(indices, chosen, solved, strict=False):
        begin = len(chunk.known)
        results[i] = row[begin : begin + chunk.size * r]
    return results

  def _window(self, chunk: FlowChunk) -> int:
    """Tokens of the least window with room for the chunk."""
    size = len(chunk.known) // self.config.latents_per_token + chunk.size
    return next(w for w in WINDOWS if w >= size)

  def _arrays(self, chunks, rows: int, window: int) -> dict[str, np.ndarray]:
    """A batch, padded to [rows, window]."""
    c = self.config
    left, right = c.reach
    tokens = np.zeros((rows, left + window + right), np.int32)
    mask = np.zeros(tokens.shape, bool)
    for row, chunk in enumerate(chunks):
      begin = left - chunk.before
      place = slice(begin, begin + len(chunk.tokens))
      tokens[row, place], mask[row, place] = chunk.tokens, True
    known = [chunk.known for chunk in chunks]
    lengths = [len(x.known) + x.size * c.latents_per_token for x in chunks]
    return {
      "tokens": tokens,
      "token_mask": mask,
      "speaker": stack([x.vector for x in chunks], rows),
      "known": pad(known, rows, window * c.latents_per_token),
      "known_lengths": counts(known, rows),
      "lengths": stack([np.int32(n) for n in lengths], rows),
      "first": stack([np.int32(x.first) for x in chunks], rows),
      "seeds": stack([np.uint32(x.seed) for x in chunks], rows),
      "guidance": stack([np.float32(x.guidance) for x in chunks], rows),
    }
