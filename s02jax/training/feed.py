"""Batches of this process's rows, placed on the mesh."""

import logging
import pathlib
from collections.abc import Iterator

import jax
import numpy as np
from ml_collections import ConfigDict

from s02jax import sharding, stages
from s02jax.data import loader
from s02jax.stages import train_state as ts
from s02jax.training import hosts, metrics

# ------------------------------------------------------------------- pieces


class Feed:
  """The rows of this process, as batches on the mesh.

  A batch comes with what the log counts and the device never sees.
  """

  def __init__(
    self,
    config: ConfigDict,
    stage: stages.Stage,
    mesh: jax.sharding.Mesh,
    workdir: pathlib.Path,
  ):
    """Raises UserError where rows and devices do not fit, or there are none."""
    self._config = config
    self._mine = sharding.local_rows(mesh, config.batch_size)
    ts.check_microbatches(config.accumulate, config.batch_size)
    self._sharding = sharding.batch_sharding(mesh)
    self.rows = self._rows(stage, "train")
    self._eval_rows = {
      split: self._rows(stage, split)
      for split in config.eval_splits
      if config.eval_batches > 0
    }
    self.eval_splits = tuple(self._eval_rows)
    self.unreadable = hosts.Total("unreadable")
    self._ledger = loader.Unreadable(
      workdir / "unreadable.jsonl", config.unreadable_share, self.unreadable.add
    )
    for reason, count in self.rows.excluded.items():
      if count:
        logging.info("data: %d records left out: %s", count, reason)

  def _rows(self, stage: stages.Stage, split: str) -> stages.Rows:
    config = self._config
    return stage.rows(config.corpus, split, config.batch_size, config.seed)

  def training(self, first: int) -> Iterator[tuple[stages.Batch, dict]]:
    """Batches of the steps from `first` on."""
    return self._batches(self.rows, "train", first, self._config.steps)

  def evaluation(self, split: str) -> Iterator[tuple[stages.Batch, dict]]:
    """The evaluation batches of a split."""
    rows = self._eval_rows[split]
    return self._batches(rows, split, 0, self._config.eval_batches)

  def _batches(
    self, rows: stages.Rows, split: str, first: int, last: int
  ) -> Iterator[tuple[stages.Batch, dict]]:
    threads = self._config.threads
    for batch in loader.make_loader(
      rows, first, last, self._mine, threads, split, self._ledger
    ):
      host = {name: batch.pop(name) for name in ("audio_seconds", "padding")}
      yield {name: self._place(x) for name, x in batch.items()}, host

  def _place(self, value: np.ndarray) -> jax.Array:
    return sharding.global_array(
      self._sharding, value, self._mine, self._config.batch_size
    )

  def counts(self, host: dict[str, np.ndarray], flops: float) -> metrics.Counts:
    """What a batch holds, on all processes if they are like this one."""
    rows = self._config.batch_size
    seconds = float(host["audio_seconds"].sum()) * rows / len(self._mine)
    return metrics.Counts(
      rows=rows,
      audio_seconds=seconds,
      padding=float(host["padding"].mean()),
      flops=flops,
    )
