"""Figures: means, shares and their intervals."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from s02jax.evaluation.figure import Figure, item_mean, ratio, share


def test_shares_have_an_interval_that_holds_them():
  figure = share([True, None, False, True])
  assert figure.n == 3
  assert_allclose(figure.value, 2 / 3)
  assert 0 < figure.low < figure.value < figure.high < 1
  assert share([True] * 5).high == 1
  assert share([]) == Figure(value=None, n=0)


def test_the_interval_is_that_of_the_mean():
  random = np.random.default_rng(3)
  values = random.normal(2.0, 1.0, 400)
  figure = item_mean([[v] for v in values])
  half = 1.96 * values.std() / np.sqrt(len(values))
  assert figure.value == pytest.approx(values.mean())
  assert figure.low == pytest.approx(values.mean() - half, abs=half / 5)
  assert figure.high == pytest.approx(values.mean() + half, abs=half / 5)
  assert figure == item_mean([[v] for v in values])
  assert figure.low != item_mean([[v] for v in values], seed=1).low


def test_the_interval_covers_the_truth_as_often_as_it_says():
  random = np.random.default_rng(5)
  hits = 0
  for trial in range(120):
    items = random.normal(0.0, 1.0, (40, 1)) + random.normal(0, 0.5, (40, 2))
    figure = item_mean(items.tolist(), seed=trial)
    hits += figure.low <= 0.0 <= figure.high
  assert 105 <= hits <= 119  # 95 % of 120 is 114


def test_seeds_of_an_item_are_not_items():
  """Forty copies of a clip say no more about the set than one."""
  random = np.random.default_rng(4)
  values = random.normal(0.0, 1.0, 30)
  once = item_mean([[v] for v in values])
  often = item_mean([[v] * 40 for v in values])
  assert often.n == once.n == 30
  assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.15)
  # But seeds that differ widen it.
  apart = item_mean([[v - 6, v + 6] for v in values])
  assert apart.high - apart.low > 2 * (once.high - once.low)


def test_items_with_fewer_seeds_count_the_same():
  figure = item_mean([[0.0] * 4, [1.0]] * 40)
  assert figure.value == pytest.approx(0.5)
  assert 0.35 < figure.low < 0.45
  assert 0.55 < figure.high < 0.65


def test_one_item_has_no_interval():
  figure = ratio([[1.0]], [[4.0]])
  assert (figure.value, figure.n) == (0.25, 1)
  assert figure.low is None
  assert figure.high is None
