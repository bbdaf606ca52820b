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


@pytest.mark.parametrize("silence", [0.0, 0.03, 0.08, 0.5])
def test_what_is_cut_off_fades_into_silence(random, silence):
  speech = 0.1 * random.normal(size=RATE)
  quiet = np.zeros(int(silence * RATE))
  wave = np.concatenate([speech, quiet]).astype(np.float32)
  closed = loudness.close(wave, RATE)
  assert len(closed) == max(int(1.08 * RATE), len(wave))
  assert not closed[RATE + len(quiet) :].any()
  same = RATE - int(0.02 * RATE)
  np.testing.assert_array_equal(closed[:same], wave[:same])
  assert np.abs(closed[RATE - 10 : RATE]).max() < 0.3
  np.testing.assert_array_equal(loudness.close(closed, RATE), closed)
  np.testing.assert_array_equal(
    loudness.trim(closed, RATE), closed[: int(1.08 * RATE)]
  )


@pytest.mark.parametrize("n", [0, 5, RATE])
def test_what_has_no_end_is_not_closed(n):
  wave = np.zeros(n, np.float32)
  assert loudness.close(wave, RATE) is wave
