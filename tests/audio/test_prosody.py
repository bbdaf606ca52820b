"""Measured prosody: pitch, range, pace and loudness of made-up sounds."""

import numpy as np
import pytest

from s02jax.audio import prosody


def buzz(hertz, seconds=1.0, rate=16000, loudness=0.1):
  """Sawtooth at a pitch that may be an array over time."""
  pitch = np.broadcast_to(hertz, int(seconds * rate))
  turns = np.cumsum(pitch) / rate
  return (loudness * 2 * (turns % 1 - 0.5)).astype(np.float32)


@pytest.mark.parametrize("hertz", [80.0, 131.0, 220.0, 340.0])
@pytest.mark.parametrize("rate", [16000, 24000])
def test_pitch_is_found_within_a_third_of_a_semitone(hertz, rate):
  found = prosody.measure(buzz(hertz, rate=rate), rate, "abc")
  assert abs(12 * np.log2(found.hertz / hertz)) < 0.35
  assert found.width < 0.7


def test_width_pace_and_loudness():
  sweep = 150 * 2 ** np.linspace(0, 1, 32000)  # an octave in two seconds
  found = prosody.measure(buzz(sweep, 2.0), 16000, "ten letters")
  assert found.width == pytest.approx(0.8 * 12, abs=1.0)
  assert found.pace == pytest.approx(10 / 2, rel=0.05)
  louder = prosody.measure(buzz(sweep, 2.0, loudness=0.2), 16000, "a")
  assert louder.loudness - found.loudness == pytest.approx(6.02, abs=0.2)


def test_noise_and_silence_have_no_prosody(random):
  noise = 0.1 * random.normal(size=16000).astype(np.float32)
  for wave in (noise, np.zeros(16000, np.float32), np.zeros(10, np.float32)):
    assert prosody.measure(wave, 16000, "a") is None


def test_the_nearest_centroid_names_the_label():
  measured = [np.array([0.0, 1.0]), np.array([2.0, 1.0]), np.array([9.0, 9.0])]
  means = prosody.centroids(measured, ["a", "a", "b"])
  np.testing.assert_allclose(means["a"], [1, 1])
  assert prosody.nearest(np.array([2.0, 2.0]), means, np.ones(2)) == "a"
  # In units of the spread, the second figure hardly counts.
  assert prosody.nearest(np.array([8.0, 0.0]), means, np.array([1, 99])) == "b"
