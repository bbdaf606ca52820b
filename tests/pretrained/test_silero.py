"""Speech detector Silero: its network, its segments, speech told from noise."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from s02jax.audio import loudness
from s02jax.core.errors import UserError
from s02jax.pretrained import silero
from s02jax.pretrained.signal import JUDGE_RATE as RATE
from tests.spoken import SENTENCES, VOICES, noise, spoken

needs_weights = pytest.mark.skipif(
  not silero.is_installed(), reason=silero.MISSING
)


def level(wave) -> np.ndarray:
  return loudness.trim_and_level(np.asarray(wave, np.float32), RATE, RATE)


@needs_weights
@pytest.mark.parametrize("name", VOICES)
def test_every_voice_speaks(name):
  assert not silero.nobody_speaks(level(spoken(SENTENCES[0], VOICES[name])))


def chord(seconds=5) -> np.ndarray:
  """Three notes that swell."""
  t = np.arange(seconds * RATE) / RATE
  notes = sum(np.sin(2 * np.pi * hz * t) for hz in (220, 277, 330))
  return notes * (1 + np.sin(4 * np.pi * t))


@needs_weights
@pytest.mark.parametrize("wave", [noise(5 * RATE), chord(), np.zeros(RATE)])
def test_noise_music_and_silence_do_not_speak(wave):
  assert silero.nobody_speaks(level(wave))


@needs_weights
def test_segments_are_where_somebody_speaks():
  first, second = (level(spoken(s, VOICES["ann"])) for s in SENTENCES[:2])
  quiet = 1e-3 * noise(2 * RATE)
  wave = np.concatenate([quiet, first, quiet, second, quiet])
  found = silero.Silero().segments(wave)
  begin = 2 + len(first) / RATE + 2
  heard = [
    (2, 2 + len(first) / RATE),
    (begin, begin + len(second) / RATE),
  ]
  for start, stop in heard:
    inside = [(a, b) for a, b in found if b > start and a < stop]
    assert inside[0][0] == pytest.approx(start, abs=0.25)
    assert inside[-1][1] == pytest.approx(stop, abs=0.35)
  assert sum(b - a for a, b in found) <= sum(b - a for a, b in heard) + 0.3


@needs_weights
def test_the_network_is_its_equations_written_out():
  state = silero.weights()
  wave = level(spoken(SENTENCES[0]))[: 20 * silero.FRAME]
  hidden, cell, want = np.zeros(128), np.zeros(128), []
  for frame in range(20):
    end = (frame + 1) * silero.FRAME
    x = np.pad(wave, (64, 0))[end - 512 : end + 64].astype(np.float64)
    x = np.concatenate([x, x[-2:-66:-1]])  # mirrored at its end
    basis = state["stft_conv"][0][:, 0]
    x = np.stack([basis @ x[i : i + 256] for i in range(0, 385, 128)], axis=1)
    x = np.hypot(x[:129], x[129:])
    for name, stride in (("1", 1), ("2", 2), ("3", 2), ("4", 1)):
      weight, bias = state[f"conv{name}"]
      x = np.pad(x, ((0, 0), (1, 1)))
      columns = [
        np.einsum("oik,ik->o", weight, x[:, i : i + 3]) + bias
        for i in range(0, x.shape[1] - 2, stride)
      ]
      x = np.maximum(np.stack(columns, axis=1), 0)
    w_in, w_hidden, bias = state["lstm_cell"]
    i, f, g, o = (w_in @ x[:, 0] + w_hidden @ hidden + bias).reshape(4, 128)
    cell = cell / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
    hidden = np.tanh(cell) / (1 + np.exp(-o))
    weight, bias = state["final_conv"]
    logit = weight[0, :, 0] @ np.maximum(hidden, 0) + bias[0]
    want.append(1 / (1 + np.exp(-logit)))
  assert_allclose(silero.Silero().probabilities(wave), want, atol=1e-4)


@needs_weights
@pytest.mark.parametrize("samples", [0, 1, 511, 512, 513, 16_000])
def test_every_frame_has_a_probability(samples):
  found = silero.Silero().probabilities(noise(samples))
  assert found.shape == (-(-samples // silero.FRAME),)
  assert np.all((found >= 0) & (found <= 1))


@needs_weights
def test_a_batch_gives_what_frames_give_alone(monkeypatch):
  wave = spoken(SENTENCES[0])
  whole = silero.Silero().probabilities(wave)
  monkeypatch.setattr(silero, "_BATCH", 7)
  assert_allclose(silero.Silero().probabilities(wave), whole, atol=1e-5)


def frames(*runs) -> np.ndarray:
  """Probabilities: pairs of a value and how many frames it lasts."""
  return np.concatenate([np.full(count, value) for value, count in runs])


@pytest.mark.parametrize(
  "probabilities,want",
  [
    (frames((0, 50)), []),
    (frames((0, 10), (1, 20), (0, 10)), [(0.29, 0.99)]),
    (frames((1, 20)), [(0, 0.64)]),
    (frames((0, 9), (1, 5), (0, 9)), []),  # too short
    (frames((1, 20), (0, 2), (1, 20)), [(0, 1.344)]),  # too short a pause
    (frames((1, 20), (0.4, 9), (1, 20)), [(0, 1.568)]),  # in doubt it goes on
    (frames((1, 20), (0, 9), (1, 20)), [(0, 0.67), (0.898, 1.568)]),
    (frames((0.4, 9), (0.2, 9)), []),  # in doubt nothing begins
  ],
)
def test_frames_become_segments(probabilities, want):
  seconds = len(probabilities) * silero.FRAME_SECONDS
  assert_allclose(
    np.array(silero.segments(probabilities, seconds)).reshape(-1, 2),
    np.array(want).reshape(-1, 2),
    atol=1e-6,
  )


def test_segments_are_in_order_and_do_not_overlap(random):
  for _ in range(50):
    probabilities = np.repeat(random.random(40), random.integers(1, 12, 40))
    seconds = len(probabilities) * silero.FRAME_SECONDS
    found = np.array(silero.segments(probabilities, seconds)).ravel()
    assert_array_equal(found, np.sort(found))
    assert np.all((found >= 0) & (found <= seconds))


def test_missing_weights_are_a_sentence(monkeypatch):
  monkeypatch.setattr(silero, "_path", lambda: None)
  silero.weights.cache_clear()
  with pytest.raises(UserError, match="pip install --no-deps silero-vad"):
    silero.Silero()
  assert not silero.is_installed()
