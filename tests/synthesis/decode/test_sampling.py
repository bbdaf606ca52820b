"""Sampling of classes: temperature, top-k, top-p, repetition penalty."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s02jax.synthesis.decode import sampling
from s02jax.synthesis.decode.cache import Sampling


@pytest.fixture(scope="module")
def logits():
  return 2 * jax.random.normal(jax.random.PRNGKey(7), (4, 9))


@jax.jit
def draw(logits, keys, settings, repeated):
  return sampling.sample(logits, keys, settings, repeated)


def many(logits, settings, draws=4000):
  """Frequencies of the classes of one row of logits."""
  rows = jnp.tile(logits[None], (draws, 1))
  keys = jax.random.split(jax.random.PRNGKey(0), draws)
  drawn = draw(rows, keys, settings, jnp.zeros(rows.shape, bool))
  return np.bincount(np.asarray(drawn), minlength=logits.shape[0]) / draws


def test_frequencies_follow_the_tempered_softmax(logits):
  for temperature in (0.5, 1.0, 2.0):
    expected = np.asarray(jax.nn.softmax(logits[0] / temperature))
    found = many(logits[0], Sampling(temperature=temperature))
    error = 4000 * ((found - expected) ** 2 / expected).sum()
    assert error < 26.1  # chi-square, 8 degrees of freedom, p = 0.001


@pytest.mark.parametrize(
  "settings",
  [
    Sampling(temperature=0.0),
    Sampling(temperature=1e-4),
    Sampling(temperature=1.0, top_k=1),
    Sampling(temperature=1.0, top_p=0.0),
  ],
)
def test_limits_of_the_settings_are_greedy(logits, settings):
  assert many(logits[0], settings, 64)[int(logits[0].argmax())] == 1


def test_top_k_and_top_p_keep_the_fewest_that_suffice(logits):
  for k in (1, 3, 9, 0, 50):
    kept = np.isfinite(sampling.restrict(logits, k, 1.0))
    assert (kept.sum(1) == (k if 0 < k < 9 else 9)).all()
  for p in (0.2, 0.6, 0.95, 1.0):
    kept = np.isfinite(sampling.restrict(logits, 0, p))
    mass = np.asarray(jax.nn.softmax(logits))
    for row in range(4):
      inside = mass[row][kept[row]]
      assert inside.sum() >= p - 1e-6
      assert inside.sum() - inside.min() < p
      assert inside.min() >= mass[row][~kept[row]].max(initial=0)


def test_settings_may_differ_from_row_to_row(logits):
  kept = np.isfinite(sampling.restrict(logits, jnp.asarray([1, 2, 3, 0]), 1.0))
  np.testing.assert_array_equal(kept.sum(1), [1, 2, 3, 9])


def test_repetition_penalty_lowers_only_what_was_said():
  logits = jnp.asarray([[-1.0, 2.0, 4.0, 3.0, 0.5, -2.0]])
  repeated = jnp.asarray([[True, True, False, False, False, False]])
  lowered = sampling.penalise(logits, repeated, 2.0)
  np.testing.assert_allclose(lowered, [[-2.0, 1.0, 4.0, 3.0, 0.5, -2.0]])
  np.testing.assert_array_equal(
    sampling.penalise(logits, repeated, 1.0), logits
  )
