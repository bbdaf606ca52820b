"""Loader of a host's batches: threads prepare them, its state is one integer.

Row j of batch s is row `s·B + j` of the run, and a host prepares those j that
its devices hold: another number of hosts reads the same rows. A row that
cannot be read is tried again, then replaced by the next of its batch. Where
several hosts hold the same row, they replace it alike: all do where any of them
cannot read it, by the next row that every one of them can read.
"""

import datetime
import json
import logging
import os
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Set

import grain
import numpy as np

from s02jax.core.errors import PassingError
from s02jax.data.rows import Planned, Row, Rows, records_of

Batch = dict[str, np.ndarray]  # arrays of rows, stacked
# Agreement of the hosts that hold the same rows: (step, try, places that are
# read, those of them that failed here) -> places that failed on any host that
# holds them, each with the number of the first such host.
Agree = Callable[[int, int, Sequence[int], Set[int]], dict[int, int]]

# Grain would add sentences of its own to the message of an error.
grain.config.update("py_traceback_filtering", "off")

# Errors that the readers of files, records and audio raise; a wrong program,
# or a corpus that is no corpus, raises something else.
UNREADABLE = (OSError, RuntimeError)
# A file system may be away for a moment: seconds before each further try.
PAUSES = (0.1, 1.0, 5.0)
# Least rows that the share of unreadable ones is taken of, so that a first
# unreadable row does not count as all of them.
LEAST = 1000


class Unreadable:
  """Ledger of rows that this host could not read; stops at too many.

  Every line of the file is a JSON object: split, row, records, host, time,
  error. A run that goes on from a checkpoint adds to it, so that a row may be
  there again.
  """

  def __init__(
    self, path: pathlib.Path, share: float, count: Callable[[int], object]
  ):
    """Makes an empty ledger; the file is made by the first unreadable row.

    Args:
      path: file of the ledger, the same for all hosts.
      share: largest share of rows that may be unreadable.
      count: called with the number of further unreadable rows.
    """
    self._path = path
    self._share = share
    self._count = count
    self._lock = threading.Lock()
    self._taken = self._found = 0

  def taken(self, rows: int) -> None:
    """Counts rows that were asked for, readable or not."""
    with self._lock:
      self._taken += rows

  def add(self, rows: Rows, split: str, index: int, error: Exception) -> None:
    """Writes a line about a row that could not be read.

    Raises:
      PassingError: too large a share of the rows could not be read.
    """
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    line = {
      "split": split,
      "row": index,
      "records": records_of(rows, index),
      "host": socket.gethostname(),
      "time": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
      "error": reason,
    }
    logging.warning("row %d of %s cannot be read: %s", index, split, reason)
    self._count(1)
    with self._lock:
      _append(self._path, json.dumps(line) + "\n")
      self._found += 1
      found, of = self._found, max(self._taken, LEAST)
    if found > self._share * of:
      raise PassingError(
        f"{found} of {of} rows could not be read, more than "
        f"config.unreadable_share, {self._share:g}; the last was row {index} "
        f"of {split} ({reason}), all are in {self._path}."
      )


def _append(path: pathlib.Path, line: str) -> None:
  """Appends a line in one write, so that hosts do not mix their lines."""
  file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
  try:
    os.write(file, line.encode())
  finally:
    os.close(file)


def alone(
  step: int, number: int, places: Sequence[int], failed: Set[int]
) -> dict[int, int]:
  """Agreement (`Agree`) of a host that shares no row with another."""
  del step, number, places
  return dict.fromkeys(sorted(failed), 0)


class _Batches:
  """Batches of one host as a sequence over the steps of the run."""

  def __init__(
    self,
    rows: Rows,
    num_steps: int,
    mine: np.ndarray | None,
    split: str,
    unreadable: Unreadable | None,
    agree: Agree,
    me: int,
  ):
    self._rows = rows
    self._num_steps = num_steps
    self._mine = np.arange(rows.batch_size) if mine is None else mine
    self._split = split
    self._unreadable = unreadable
    self._agree = agree
    self._me = me

  def __len__(self) -> int:
    return self._num_steps

  def __getitem__(self, index: int) -> Batch:
    mine = self._mine.tolist()
    if self._unreadable is not None:
      self._unreadable.taken(len(mine))
    found = self._readable(int(index), mine)
    return {
      key: np.stack([found[place][key] for place in mine])
      for key in found[mine[0]]
    }

  def _readable(self, step: int, mine: list[int]) -> dict[int, Row]:
    """Rows by place: each the first from its own on that its hosts can read."""
    size, start = self._rows.batch_size, step * self._rows.batch_size
    found: dict[int, Row] = {}
    missing, first = mine, _lookup(self._rows, [start + j for j in mine])
    for k in range(size):
      failed: dict[int, Exception] = {}
      for place in missing:
        try:
          index = start + (place + k) % size
          read = self._rows.__getitem__ if k else first
          found[place] = _retried(read, index)
        except UNREADABLE as error:
          if self._unreadable is None:
            raise
          failed[place] = error
      nowhere = self._agree(step, k, missing, failed.keys())
      if k == 0 and self._unreadable is not None:
        self._report(start, nowhere, failed)
      missing = sorted(nowhere)
      if not missing:
        return found
    raise PassingError(
      f"no row from {start} to {start + size - 1} of {self._split} can be read."
    )

  def _report(
    self, start: int, nowhere: dict[int, int], failed: dict[int, Exception]
  ) -> None:
    """Notes the rows that are replaced, each by one of its hosts."""
    assert self._unreadable is not None
    for place, host in nowhere.items():
      if host == self._me:
        error = failed[place]
        self._unreadable.add(self._rows, self._split, start + place, error)


def _lookup(rows: Rows, indices: list[int]) -> Callable[[int], Row]:
  """Reader of these rows, whose records are looked up all at once."""
  if not isinstance(rows, Planned):
    return rows.__getitem__
  planned = dict(zip(indices, rows.plan(indices), strict=True))
  return lambda index: rows.make(index, planned[index])


def _retried(read: Callable[[int], Row], index: int) -> Row:
  """Reads a row; tries again where the file system may be to blame."""
  for pause in PAUSES:
    try:
      return read(index)
    except OSError:
      time.sleep(pause)
  return read(index)


def make_dataset(
  rows: Rows,
  num_steps: int,
  mine: np.ndarray | None = None,
  threads: int = 2,
  split: str = "train",
  unreadable: Unreadable | None = None,
  agree: Agree = alone,
  me: int = 0,
) -> grain.IterDataset:
  """Grain dataset of one host's batches; arguments as of `make_loader`."""
  options = grain.ReadOptions(
    num_threads=threads, prefetch_buffer_size=2 * threads
  )
  source = _Batches(rows, num_steps, mine, split, unreadable, agree, me)
  return grain.MapDataset.source(source).to_iter_dataset(options)


def make_loader(
  rows: Rows,
  start_step: int,
  num_steps: int,
  mine: np.ndarray | None = None,
  threads: int = 2,
  split: str = "train",
  unreadable: Unreadable | None = None,
  agree: Agree = alone,
  me: int = 0,
) -> Iterator[Batch]:
  """Iterator over a host's batches of the steps `start_step` … `num_steps` − 1.

  Args:
    rows: rows of the stage.
    start_step: first step.
    num_steps: steps of the whole run.
    mine: int[k], places in each batch that this host fills, all where absent;
      see `s02jax.sharding.local_rows`.
    threads: threads that prepare batches, a few of them ahead.
    split: split of the corpus, named in reports.
    unreadable: ledger of rows that cannot be read and are replaced; without
      it such a row raises its error.
    agree: agreement of the hosts that hold the same rows.
    me: number of this host in what `agree` returns.

  Returns:
    A Grain iterator of dicts of arrays [len(mine), …]; its `get_state()` holds
    the next step and nothing else.
  """
  iterator = iter(
    make_dataset(rows, num_steps, mine, threads, split, unreadable, agree, me)
  )
  iterator.set_state({"next_index": start_step})
  return iterator
