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


def stream_of(synthesizer, voice, tokens=None, whole=False) -> RenderStream:
  """Fresh stream of a voice, or one with all of its tokens."""
  stream = RenderStream(
    synthesizer.renderer, voice, seed=3, steps=2, guidance=2.0, whole=whole
  )
  if tokens is not None:
    stream.append(tokens)
    stream.finish()
  return stream


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("which", [0, 1])
def test_sound_is_the_same_however_tokens_come(
  synthesizer, voices, which, whole
):
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
    stream = stream_of(synthesizer, voices[which], whole=whole)
    parts = []
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


def test_a_whole_utterance_is_one_chunk_behind_its_whole_prompt(
  synthesizer, voices
):
  """A whole stream waits for all tokens and equals one solve of them."""
  flow = synthesizer.flow.solver
  most, voice = flow.windows[-1], voices[1]
  prompt = voice.prompt
  tokens = TOKENS[: most - len(prompt.tokens)]
  stream = stream_of(synthesizer, voice, whole=True)
  stream.append(tokens)
  assert stream.flow_chunk() is None
  stream.finish()
  chunk = stream.flow_chunk()
  assert chunk.size == len(tokens) and chunk.first == 0
  np.testing.assert_array_equal(chunk.known, prompt.latents)
  both = np.concatenate([prompt.tokens, tokens])
  np.testing.assert_array_equal(chunk.tokens, both)
  (latents,) = flow([chunk])
  synthesizer.renderer.advance({0: stream})
  np.testing.assert_array_equal(stream.made, latents)
  assert stream.exhausted


def test_what_no_window_holds_is_solved_behind_half_a_window(
  synthesizer, voices
):
  most = synthesizer.flow.solver.windows[-1]
  tokens = np.resize(TOKENS, 3 * most)
  stream = stream_of(synthesizer, voices[0], tokens, whole=True)
  r, sizes = synthesizer.flow.config.latents_per_token, []
  while (chunk := stream.flow_chunk()) is not None:
    known = len(chunk.known) // r
    assert known + chunk.size <= most
    assert not sizes or known >= most // 2
    sizes.append(chunk.size)
    stream.add_latents(np.zeros((chunk.size * r, chunk.known.shape[1])))
  assert sizes[0] == most and sum(sizes) == len(tokens)


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
