"""Sampling of classes: temperature, top-k, top-p, repetitions."""

import dataclasses

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
def draw(logits, keys, settings, history):
  return sampling.sample(logits, keys, settings, history)


NOTHING = (-1, -1, -1, -1)


def many(logits, settings, draws=4000, history=NOTHING):
  """Frequencies of the classes of one row of logits behind a history."""
  rows = jnp.tile(logits[None], (draws, 1))
  keys = jax.random.split(jax.random.PRNGKey(0), draws)
  said = jnp.tile(jnp.asarray([history], jnp.int32), (draws, 1))
  drawn = draw(rows, keys, settings, said)
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


def test_what_is_said_too_often_is_drawn_again_from_all_classes(logits):
  mass = np.asarray(jax.nn.softmax(logits[0]))
  first = int(mass.argmax())
  said = (-1, first, -1, first)
  aware = Sampling(temperature=1.0, top_k=1, repetition_window=4)

  def found(share, window=4, history=said):
    settings = dataclasses.replace(
      aware, repetition_share=share, repetition_window=window
    )
    return many(logits[0], settings, history=history)

  # Two of four are no more than a half, but more than a quarter.
  assert found(0.5)[first] == 1 and found(1.0)[first] == 1
  again = found(0.25)
  error = 4000 * ((again - mass) ** 2 / mass).sum()
  assert error < 26.1  # chi-square, 8 degrees of freedom, p = 0.001
  # Of the last token alone all are the same; of other classes none is.
  assert found(0.99, window=1)[first] < 1
  assert found(0.0, history=(1 - first,) * 4 if first < 2 else (0,) * 4)[first]


def test_a_redraw_of_one_row_leaves_the_others(logits):
  keys = jax.random.split(jax.random.PRNGKey(0), 4)
  settings = Sampling(temperature=1.0, top_k=2, repetition_share=0.1)
  nothing = jnp.full((4, 10), -1, jnp.int32)
  alone = draw(logits, keys, settings, nothing)
  looped = nothing.at[2].set(alone[2])
  together = draw(logits, keys, settings, looped)
  np.testing.assert_array_equal(np.delete(together, 2), np.delete(alone, 2))
