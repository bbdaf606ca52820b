"""Batches of this process's rows, placed on the mesh."""

import logging
import pathlib
from collections.abc import Iterator

import jax
import numpy as np
from ml_collections import ConfigDict

from s02jax import sharding, stages
from s02jax.data import loader
from s02jax.data.rows import NoRows
from s02jax.data.same_rows import SameRows
from s02jax.stages.train_state import check_microbatches
from s02jax.training import hosts
from s02jax.training.metrics import Counts

# Values of a row that the log counts and the device never sees.
HOST_VALUES = ("audio_seconds", "padding")


class Feed:
  """Source of the training and evaluation batches of one process.

  A batch is a pair: arrays on the mesh, and HOST_VALUES [local rows] as numpy.

  Attributes:
    rows: training rows.
    eval_splits: splits that have evaluation batches; those of
      config.eval_splits without a usable record are left out with a note.
    unreadable: count of rows that were replaced, over all processes.
  """

  def __init__(
    self,
    config: ConfigDict,
    stage: stages.Stage,
    mesh: jax.sharding.Mesh,
    workdir: pathlib.Path,
  ):
    """Opens the rows of all splits.

    Args:
      config: resolved config of the run.
      stage: stage that makes the rows.
      mesh: devices that the batches are placed on.
      workdir: folder of the run, which gets unreadable.jsonl.

    Raises:
      UserError: rows and devices do not fit together, or there are no rows.
    """
    self._config = config
    self._local = sharding.local_rows(mesh, config.batch_size)
    check_microbatches(config.accumulate, config.batch_size)
    self._sharding = sharding.batch_sharding(mesh)
    self._same_rows = SameRows(
      hosts.store(),
      jax.process_index(),
      sharding.shared_rows(mesh, config.batch_size),
    )
    self.rows = self._rows(stage, "train")
    self._eval_rows = self._rows_of_splits(stage)
    self.eval_splits = tuple(self._eval_rows)
    self.unreadable = hosts.Total("unreadable")
    self._ledger = loader.Unreadable(
      workdir / "unreadable.jsonl", config.unreadable_share, self.unreadable.add
    )
    for reason, count in self.rows.excluded.items():
      if count:
        logging.info("data: %d records left out: %s", count, reason)

  def _rows(self, stage: stages.Stage, split: str) -> stages.Rows:
    """Rows of one split."""
    config = self._config
    return stage.rows(config.corpus, split, config.batch_size, config.seed)

  def _rows_of_splits(self, stage: stages.Stage) -> dict[str, stages.Rows]:
    """Rows of the splits for evaluation, of those that have any."""
    found = {}
    if self._config.eval_batches < 1:
      return found
    for split in self._config.eval_splits:
      try:
        found[split] = self._rows(stage, split)
      except NoRows as error:  # such as no speaker to spare
        logging.info("evaluation leaves %s out: %s", split, error)
    return found

  def training(self, first: int) -> Iterator[tuple[stages.Batch, dict]]:
    """Batches of the steps after the first `first` of them."""
    return self._batches(self.rows, "train", first, self._config.steps)

  def evaluation(self, split: str) -> Iterator[tuple[stages.Batch, dict]]:
    """Evaluation batches of a split; the same ones every time."""
    rows = self._eval_rows[split]
    return self._batches(rows, split, 0, self._config.eval_batches)

  def _batches(
    self, rows: stages.Rows, split: str, first: int, last: int
  ) -> Iterator[tuple[stages.Batch, dict]]:
    """Batches `first` to `last` - 1 of a split."""
    threads = self._config.threads
    for batch in loader.make_loader(
      rows,
      first,
      last,
      self._local,
      threads,
      split,
      self._ledger,
      self._same_rows.for_loader(),
      jax.process_index(),
    ):
      host = {name: batch.pop(name) for name in HOST_VALUES}
      yield {name: self._place(x) for name, x in batch.items()}, host

  def _place(self, value: np.ndarray) -> jax.Array:
    """Global array whose rows of this process are `value` [local rows, ...]."""
    return sharding.global_array(
      self._sharding, value, self._local, self._config.batch_size
    )

  def counts(self, host: dict[str, np.ndarray], flops: float) -> Counts:
    """Content of a batch over all processes, judged by this one's rows.

    Args:
      host: HOST_VALUES of the batch.
      flops: FLOPs of its train step.
    """
    rows = self._config.batch_size
    seconds = float(host["audio_seconds"].sum()) * rows / len(self._local)
    return Counts(
      rows=rows,
      audio_seconds=seconds,
      padding=float(host["padding"].mean()),
      flops=flops,
    )
