"""Recordings are trimmed and levelled; silence stays as it is."""

import numpy as np
import pyloudnorm
import pytest

from s02jax.audio import loudness

RATE = 16_000


def test_a_quiet_recording_between_silences_is_trimmed_and_levelled(random):
  speech = 0.01 * random.normal(size=2 * RATE)
  quiet = np.zeros(3 * RATE)
  wave = np.concatenate([quiet, speech, quiet]).astype(np.float32)
  found = loudness.trim_and_level(wave, RATE, RATE)
  assert 2.0 <= len(found) / RATE < 2.2
  measured = pyloudnorm.Meter(RATE).integrated_loudness(found)
  assert measured == pytest.approx(loudness.LOUDNESS, abs=0.5)


@pytest.mark.parametrize("value", [0.0, 1e-5, np.nan])
def test_what_is_no_sound_stays_as_it_is(value):
  wave = np.full(RATE, value, np.float32)
  np.testing.assert_array_equal(loudness.trim_and_level(wave, RATE, RATE), wave)


def test_nothing_stays_nothing():
  assert len(loudness.trim_and_level(np.zeros(0, np.float32), RATE, RATE)) == 0
