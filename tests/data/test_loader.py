"""The loader: the same rows for any number of hosts, one integer of state."""

import grain
import numpy as np
import pytest

from s02jax.data.loader import make_dataset, make_loader
from tests.toy_stage import ToyRows

STEPS = 7


def batches(*args, **kwargs) -> list[dict[str, np.ndarray]]:
  return list(make_loader(ToyRows(8, 0, -1), *args, **kwargs))


def equal(a, b) -> None:
  assert a.keys() == b.keys()
  for key in a:
    np.testing.assert_array_equal(a[key], b[key])


def test_batches_are_the_rows_in_order():
  rows = ToyRows(8, 0, -1)
  for step, batch in enumerate(batches(0, STEPS)):
    for j in range(8):
      equal({k: v[j] for k, v in batch.items()}, rows[step * 8 + j])


@pytest.mark.parametrize("hosts", [1, 2, 4])
@pytest.mark.parametrize("start", [0, 3])
def test_any_number_of_hosts_reads_the_same_rows(hosts, start):
  whole = batches(0, STEPS)[start:]
  parts = [
    batches(start, STEPS, mine) for mine in np.split(np.arange(8), hosts)
  ]
  assert all(len(part) == STEPS - start for part in parts)
  for step, expected in enumerate(whole):
    joined = {
      key: np.concatenate([part[step][key] for part in parts])
      for key in expected
    }
    equal(joined, expected)


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_do_not_change_the_order(threads):
  for a, b in zip(
    batches(0, STEPS), batches(0, STEPS, threads=threads), strict=True
  ):
    equal(a, b)


def test_the_state_is_the_next_step():
  loader = make_loader(ToyRows(8, 0, -1), 2, STEPS)
  next(loader)
  assert loader.get_state() == {"next_index": 3}


def test_grain_agrees_that_it_resumes():
  dataset = make_dataset(ToyRows(8, 0, -1), 3)
  grain.experimental.assert_equal_output_after_checkpoint(dataset)
