"""Incremental rendering with tiny random models."""

import dataclasses

import numpy as np
import pytest

from s02jax.synthesis.render.streams import RenderStream, Tail
from tests import tiny


def test_a_tail_knows_its_rows_by_number():
  tail = Tail(np.arange(3))
  tail.append(np.arange(3, 9))
  tail.forget(5)
  tail.forget(2)
  assert (tail.begin, tail.end) == (5, 9)
  np.testing.assert_array_equal(tail[slice(6, 9)], [6, 7, 8])


TOKENS = np.random.default_rng(0).integers(0, 64, 120).astype(np.int32)


def stream_of(synthesizer, voice, tokens=None) -> RenderStream:
  """Fresh stream of a voice, or one with all of its tokens."""
  stream = RenderStream(
    synthesizer.renderer, voice, seed=3, steps=2, guidance=2.0
  )
  if tokens is not None:
    stream.append(tokens)
    stream.finish()
  return stream


@pytest.mark.parametrize("which", [0, 1])
def test_sound_is_the_same_however_tokens_come(synthesizer, voices, which):
  """Sound equals that of all latents decoded at once, borders included."""
  latents = []
  flow = synthesizer.flow.solver

  class Spy(type(flow)):
    def __call__(self, chunks):
      solved = super().__call__(chunks)
      latents.extend(solved)
      return solved

  spy = Spy(**{f.name: getattr(flow, f.name) for f in dataclasses.fields(flow)})
  renderer = dataclasses.replace(synthesizer.renderer, flow=spy)

  def made(burst):
    latents.clear()
    stream, parts = stream_of(synthesizer, voices[which]), []
    for i in range(0, len(TOKENS), burst):
      stream.append(TOKENS[i : i + burst])
      parts += renderer.advance({0: stream}).values()
    stream.finish()
    while not stream.exhausted:
      parts += renderer.advance({0: stream}).values()
    return np.concatenate(parts)

  one, all_at_once = made(5), made(len(TOKENS))
  np.testing.assert_array_equal(one, all_at_once)
  prompt = voices[which].prompt
  before = [] if prompt is None else [prompt.latents]
  whole = np.concatenate(before + latents)
  m = synthesizer.renderer
  (wave,) = synthesizer.vae.decode([whole * m.std + m.mean])
  np.testing.assert_allclose(one, wave[-len(one) :], atol=1e-5)
  assert len(one) == len(TOKENS) * tiny.SAMPLES


def test_memory_does_not_grow_with_the_text(synthesizer, voices):
  stream, sizes = stream_of(synthesizer, voices[0]), []
  flow = synthesizer.flow.config
  for _ in range(40):
    stream.append(TOKENS[:25])
    if (chunk := stream.flow_chunk()) is not None:
      shape = (chunk.size * flow.latents_per_token, flow.channels)
      stream.add_latents(np.zeros(shape, np.float32))
    if (chunk := stream.sound_chunk()) is not None:
      stream.mark_vocoded(chunk)
    sizes.append(stream.held)
  assert max(sizes[20:]) <= max(sizes[:20])
