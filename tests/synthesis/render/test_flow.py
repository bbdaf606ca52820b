"""Flow matching by chunks: reach, windows, guidance."""

import dataclasses

import jax
import numpy as np

from s02jax.synthesis.render.chunks import FlowChunk
from s02jax.synthesis.render.streams import RenderStream

TOKENS = np.random.default_rng(0).integers(0, 64, 120).astype(np.int32)


def first_chunk(synthesizer, voice, tokens) -> FlowChunk:
  """First chunk of an utterance of these tokens."""
  stream = RenderStream(
    synthesizer.renderer, voice, seed=3, steps=2, guidance=2.0, whole=False
  )
  stream.append(tokens)
  stream.finish()
  chunk = stream.flow_chunk()
  assert chunk is not None
  return chunk


def test_conditions_of_a_chunk_are_those_of_the_whole(synthesizer):
  """Look-ahead and left reach suffice, and the left reach is needed."""
  flow = synthesizer.flow
  (left, right), r = flow.config.reach, flow.config.latents_per_token

  @jax.jit
  def condition(tokens):
    return flow.model.apply(
      flow.variables,
      tokens[None],
      np.ones((1, len(tokens)), bool),
      np.ones((1, flow.config.speaker_dim), np.float32),
      method="condition",
    )[0]

  whole = np.array(condition(TOKENS))[40 * r : 60 * r]
  part = condition(TOKENS[40 - left : 60 + right])
  np.testing.assert_allclose(part[left * r : (left + 20) * r], whole, atol=1e-5)
  less = condition(TOKENS[44 - left : 60 + right])
  less = less[(left - 4) * r : (left + 16) * r]
  assert np.abs(less - whole).max() > 1e-4


def test_a_first_chunk_is_the_whole_solve_of_its_window(synthesizer, voices):
  """Window size and batch do not matter; guidance and prompt do."""
  chunk = first_chunk(synthesizer, voices[1], TOKENS[:3])
  assert chunk.size == 3
  flow = synthesizer.flow.solver
  (alone,) = flow([chunk])
  many = flow([chunk] * 5)
  for other in many:
    np.testing.assert_allclose(other, alone, atol=1e-5)
  (wide,) = dataclasses.replace(flow, windows=(75,))([chunk])
  np.testing.assert_allclose(wide, alone, atol=1e-5)
  for change in (
    {"guidance": 1.0},
    {"known": chunk.known + 0.1},
    {"seed": 4},
    {"first": 2},
  ):
    (other,) = flow([dataclasses.replace(chunk, **change)])
    assert np.abs(other - alone).max() > 1e-3


def test_guidance_of_one_ignores_the_unconditional_branch(synthesizer, voices):
  """In a single step, guidance 1 is midway between 0 and 2."""
  chunk = first_chunk(synthesizer, voices[0], TOKENS[:6])
  none, one, two = synthesizer.flow.solver(
    [
      dataclasses.replace(chunk, steps=1, guidance=guidance)
      for guidance in (0.0, 1.0, 2.0)
    ]
  )
  np.testing.assert_allclose(one, (none + two) / 2, atol=1e-4)
  assert np.abs(one - none).max() > 1e-2
