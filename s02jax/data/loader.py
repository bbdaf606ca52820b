"""Batches on the host, prepared by threads; the whole state is one integer.

Row j of a host's part of batch s is row `s·B + k·(B/n) + j` of the run, for
the k-th of n parts: another number of hosts reads the same rows.
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

  def __init__(self, rows: Rows, num_steps: int, part: int, parts: int):
    self._rows = rows
    self._num_steps = num_steps
    self._size = rows.batch_size // parts
    self._first = part * self._size

  def __len__(self) -> int:
    return self._num_steps

  def __getitem__(self, index: int) -> Batch:
    start = int(index) * self._rows.batch_size + self._first
    rows = [self._rows[start + j] for j in range(self._size)]
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def make_dataset(
  rows: Rows,
  num_steps: int,
  process_index: int = 0,
  process_count: int = 1,
  threads: int = 2,
) -> grain.IterDataset:
  """The batches of one host as a Grain dataset; arguments as below."""
  source = _Batches(rows, num_steps, process_index, process_count)
  options = grain.ReadOptions(
    num_threads=threads, prefetch_buffer_size=2 * threads
  )
  return grain.MapDataset.source(source).to_iter_dataset(options)


def make_loader(
  rows: Rows,
  start_step: int,
  num_steps: int,
  process_index: int = 0,
  process_count: int = 1,
  threads: int = 2,
) -> Iterator[Batch]:
  """Host batches of the steps `start_step` to `num_steps` − 1.

  Args:
    rows: the stage's rows.
    start_step: first step.
    num_steps: steps of the whole run.
    process_index: which part of each batch this host brings.
    process_count: into how many parts batches are split; divides batch_size.
    threads: that prepare batches, a few of them ahead.

  Returns:
    A Grain iterator of dicts of arrays [batch_size / process_count, …]; its
    `get_state()` holds the next step and nothing else.
  """
  iterator = iter(
    make_dataset(rows, num_steps, process_index, process_count, threads)
  )
  iterator.set_state({"next_index": start_step})
  return iterator
