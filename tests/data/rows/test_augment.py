"""Augmented references: the same voice, length and power, another recording."""

import numpy as np
import pytest

from s02jax.data.rows import augment

RATE = 16000
EFFECTS = (augment.room, augment.equaliser, augment.telephone, augment.noise)


def hum(seconds=1.0):
  """Harmonics of 120 Hz, louder towards the end."""
  at = np.arange(int(seconds * RATE)) / RATE
  parts = [np.sin(2 * np.pi * 120 * k * at) / k for k in range(1, 20)]
  return (0.1 * at / seconds * np.sum(parts, 0)).astype(np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_length_power_and_range_are_kept(seed):
  wave = hum()
  heard = augment.augment(wave, RATE, np.random.default_rng(seed))
  assert heard.shape == wave.shape and heard.dtype == np.float32
  assert np.abs(heard).max() <= 1.0
  rms = np.sqrt(np.mean(np.square(heard)))
  assert rms == pytest.approx(np.sqrt(np.mean(np.square(wave))), rel=0.05)


@pytest.mark.parametrize("effect", EFFECTS)
def test_an_effect_changes_the_sound_and_keeps_what_is_said(effect):
  wave = hum()
  for seed in range(5):
    heard = effect(wave, RATE, np.random.default_rng(seed))
    likeness = np.corrcoef(wave, heard)[0, 1]
    assert heard.shape == wave.shape
    assert 0.3 < likeness < 0.99999


@pytest.mark.parametrize("n", [1, 7, 500])
def test_short_and_silent_waves_stay_finite(n):
  for wave in (np.zeros(n, np.float32), hum()[-n:]):
    for seed in range(10):
      heard = augment.augment(wave, RATE, np.random.default_rng(seed))
      assert heard.shape == (n,) and np.isfinite(heard).all()


def test_the_draw_alone_decides():
  one, two, other = (
    augment.augment(hum(), RATE, np.random.default_rng(s)) for s in (3, 3, 4)
  )
  np.testing.assert_array_equal(one, two)
  assert not np.array_equal(one, other)
