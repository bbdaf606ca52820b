"""Mixture of languages: seeded, complete, in the shares asked for."""

import numpy as np
import pytest

from s02jax.data.mixture import EpochCache, Mixture


def mixture(alpha: float) -> tuple[np.ndarray, Mixture]:
  language = np.repeat([0, 1, 2], [700, 200, 100])
  samples = np.full(1000, 100)
  return language, Mixture(np.arange(1000), language, samples, 0, alpha)


def test_mixture_as_is_takes_every_record_once_per_epoch():
  _, mix = mixture(1.0)
  epochs = [mix.epoch(e) for e in range(3)]
  for epoch in epochs:
    assert np.array_equal(np.sort(epoch), np.arange(1000))
  assert not np.array_equal(epochs[0], epochs[1])
  assert [mix[i] for i in (0, 999, 1000)] == [
    epochs[0][0],
    epochs[0][999],
    epochs[1][0],
  ]


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_mixture_shares_follow_hours(alpha):
  language, mix = mixture(alpha)
  hours = np.array([700, 200, 100.0]) ** alpha
  counts = np.bincount(language[mix.epoch(0)], minlength=3)
  np.testing.assert_allclose(counts / 1000, hours / hours.sum(), atol=0.002)
  # Over epochs the records of a language are used evenly.
  every = np.concatenate([mix.epoch(e) for e in range(8)])
  for k in range(3):
    uses = np.bincount(every, minlength=1000)[language == k]
    assert uses.max() - uses.min() <= 1


def test_epoch_cache_calls_once_and_forgets():
  calls = []
  cache = EpochCache(lambda k: calls.append(k) or k, size=2)
  assert [cache(k) for k in (0, 1, 0, 2, 0, 1)] == [0, 1, 0, 2, 0, 1]
  assert calls == [0, 1, 2, 1]
