"""Speaker judge GE2E: windows, network, voices told apart."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from s02jax.evaluation.report import workers
from s02jax.pretrained import ge2e
from tests.spoken import SENTENCES, VOICES, spoken


@pytest.fixture(scope="module")
def embed():
  """Embeds in a worker process: threads of linear algebra would contend."""
  with workers.pool(1) as pool:
    yield lambda waves: pool.submit(ge2e.embed, waves).result()


def test_embeddings_are_unit_vectors_and_silence_is_none(embed):
  a, quiet = embed([spoken(SENTENCES[0]), np.zeros(16000, np.float32)])
  assert_allclose(np.linalg.norm(a), 1.0, rtol=1e-6)
  assert np.all(a >= 0)
  assert not np.any(quiet)
  assert_array_equal(ge2e.nearest_of(np.stack([a, quiet]), a[None]), [0, -1])


@pytest.mark.parametrize("seconds", [1, 10])
def test_padding_with_zeros_is_not_heard(embed, seconds):
  wave, silence = spoken(SENTENCES[0]), np.zeros(16000 * seconds, np.float32)
  bare, behind, before = embed(
    [wave, np.append(wave, silence), np.append(silence, wave)]
  )
  assert bare @ behind > 0.995
  assert bare @ before > 0.995


def test_a_batch_gives_what_each_clip_gives_alone(embed):
  waves = [
    spoken(s, v) for s, v in zip(SENTENCES[:4], VOICES.values(), strict=True)
  ]
  waves.append(waves[0][:8000])
  together = embed(waves)
  alone = np.concatenate([embed([wave]) for wave in waves])
  assert_allclose(together, alone, atol=2e-6)


def test_halves_of_one_voice_are_nearer_than_two_voices(embed):
  first = [
    np.concatenate([spoken(s, v) for s in SENTENCES[:2]])
    for v in VOICES.values()
  ]
  second = [
    np.concatenate([spoken(s, v) for s in SENTENCES[2:4]])
    for v in VOICES.values()
  ]
  a, b = embed(first), embed(second)
  assert_array_equal(ge2e.nearest_of(a, b), range(4))
  cosine = a @ b.T
  assert np.diag(cosine).min() > (cosine - np.eye(4)).max()


def test_one_window_is_the_recurrence_written_out():
  layers, weight, bias = ge2e.weights()
  wave = spoken(SENTENCES[0])[:25600]
  x = ge2e.mel(wave)[:160].astype(np.float64)
  for w_in, w_hidden, b in layers:
    hidden, cell, out = np.zeros(256), np.zeros(256), []
    for frame in x:
      gates = w_in @ frame + w_hidden @ hidden + b
      i, f, g, o = gates.reshape(4, 256)
      cell = cell / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
      hidden = np.tanh(cell) / (1 + np.exp(-o))
      out.append(hidden)
    x = np.array(out)
  raw = np.maximum(weight @ x[-1] + bias, 0)
  (found,) = ge2e.encode(ge2e.mel(wave)[None, :160])
  assert_allclose(found, raw / np.linalg.norm(raw), atol=1e-6)


@pytest.mark.parametrize(
  ("seconds", "starts"),
  [(0.3, [0]), (1.6, [0]), (2.3, [0, 77]), (2.0, [0, 77]), (1.8, [0])],
)
def test_windows_cover_the_clip_and_a_short_rest_is_dropped(seconds, starts):
  samples = int(16000 * seconds)
  found = ge2e.windows(samples)
  assert found == [s for s in starts if s == 0 or samples - s * 160 >= 19200]
