"""Batches on the host, prepared by threads; the whole state is one integer.

Row j of batch s is row `s·B + j` of the run, and a host prepares those j that
its devices hold: another number of hosts reads the same rows.
"""

from collections.abc import Iterator
from typing import Protocol

import grain
import numpy as np

Batch = dict[str, np.ndarray]


class Rows(Protocol):
  """Rows of one stage: pure in the index, one shape per global batch."""

  batch_size: int

  def __getitem__(self, index: int) -> Batch: ...


class _Batches:
  """The batches of one host, by step."""

  def __init__(self, rows: Rows, num_steps: int, mine: np.ndarray | None):
    self._rows = rows
    self._num_steps = num_steps
    self._mine = np.arange(rows.batch_size) if mine is None else mine

  def __len__(self) -> int:
    return self._num_steps

  def __getitem__(self, index: int) -> Batch:
    start = int(index) * self._rows.batch_size
    rows = [self._rows[start + j] for j in self._mine.tolist()]
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def make_dataset(
  rows: Rows,
  num_steps: int,
  mine: np.ndarray | None = None,
  threads: int = 2,
) -> grain.IterDataset:
  """The batches of one host as a Grain dataset; arguments as below."""
  options = grain.ReadOptions(
    num_threads=threads, prefetch_buffer_size=2 * threads
  )
  source = _Batches(rows, num_steps, mine)
  return grain.MapDataset.source(source).to_iter_dataset(options)


def make_loader(
  rows: Rows,
  start_step: int,
  num_steps: int,
  mine: np.ndarray | None = None,
  threads: int = 2,
) -> Iterator[Batch]:
  """Host batches of the steps `start_step` to `num_steps` − 1.

  Args:
    rows: the stage's rows.
    start_step: first step.
    num_steps: steps of the whole run.
    mine: rows of each batch that this host brings, all where absent; see
      `s02jax.sharding.local_rows`.
    threads: that prepare batches, a few of them ahead.

  Returns:
    A Grain iterator of dicts of arrays [len(mine), …]; its `get_state()` holds
    the next step and nothing else.
  """
  iterator = iter(make_dataset(rows, num_steps, mine, threads))
  iterator.set_state({"next_index": start_step})
  return iterator
