"""Batching: few shapes, every item once, in order."""

import numpy as np
import pytest

from s02jax.synthesis.batching import (
  BATCH_SIZES,
  batch_size,
  map_batches,
  plan_batches,
  round_up,
)


@pytest.mark.parametrize("n", [0, 1, 32, 33, 48, 49, 100, 1000])
def test_round_up_is_near_and_of_few_values(n):
  size = round_up(n, 32)
  assert size >= max(n, 32)
  assert size <= max(32, 1.5 * n)
  assert len({round_up(i, 32) for i in range(1, 2000)}) <= 14


def test_plan_covers_each_item_once_in_allowed_shapes():
  lengths = np.random.default_rng(0).integers(1, 400, 77)
  seen = []
  for indices, rows, length in plan_batches(lengths, 32, 2048):
    assert rows in BATCH_SIZES
    assert len(indices) <= rows
    assert rows == 1 or rows * length <= 2048
    assert lengths[indices].max() <= length
    seen += indices.tolist()
  assert sorted(seen) == list(range(77))


@pytest.mark.parametrize("waiting", range(1, 80))
def test_batches_are_at_least_half_full(waiting):
  rows = batch_size(waiting)
  assert rows in BATCH_SIZES
  assert min(waiting, rows) * 2 >= rows


def test_map_batches_keeps_the_order():
  arrays = [np.full(n, n, np.float32) for n in (70, 3, 33, 5, 64, 1)]
  sums = map_batches(
    lambda batch: batch.values.sum(1), arrays, unit=32, budget=128
  )
  assert [float(x) for x in sums] == [n * n for n in (70, 3, 33, 5, 64, 1)]
