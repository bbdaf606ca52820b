"""Log of the training steps, one step behind the device.

Reading metrics waits for the step that computes them. So the loop dispatches
step n and only then reads those of n - 1: the device never waits for the host.
"""

import logging
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from s02jax import hardware, stages
from s02jax.core.config import build
from s02jax.data import loader
from s02jax.stages.train_state import OptimizerConfig, schedule
from s02jax.training.clock import Clock, Goodput
from s02jax.training.feed import Feed
from s02jax.training.metrics import Counts, Meter, MetricsWriter, Slowest


def is_due(step: int, every: int, last: int) -> bool:
  """Whether something done each `every` steps, and at the end, comes now."""
  return step == last or (every > 0 and step % every == 0)


class Log:
  """Writes a step's metrics while the device takes the next step."""

  def __init__(
    self,
    config: ConfigDict,
    feed: Feed,
    writer: MetricsWriter,
    goodput: Goodput,
    clock: Clock,
    skipped: int,
  ):
    """Prepares the schedule of the learning rate and the meter of rates.

    Args:
      config: resolved config of the run.
      feed: source of the batches, which names their rows and records.
      writer: files of the run.
      goodput: time over all starts.
      clock: clock of this start.
      skipped: steps so far that were not finite.
    """
    optimizer = build(OptimizerConfig, config.optimizer, "config.optimizer")
    self._rate = schedule(optimizer, config.steps)
    self._config = config
    self._rows = feed.rows
    self._unreadable = feed.unreadable
    self._writer = writer
    self._goodput = goodput
    self._meter = Meter(hardware.peak_flops(), clock)
    self._slowest = Slowest()
    self._who: str | None = None
    self._skipped = skipped
    self._pending: tuple[int, stages.Metrics, Counts] | None = None

  def begin(self, step: int) -> None:
    """Writes goodput.json, so that a start counts even if nothing follows."""
    self._writer.put("goodput.json", self._spent(step))

  def add(self, step: int, values: stages.Metrics, counts: Counts) -> None:
    """Keeps the metrics of a step under way; reads those of the one before."""
    self.catch_up()
    self._pending = step, values, counts

  def catch_up(self) -> None:
    """Waits for the last step given to `add`, and writes its metrics."""
    if self._pending is None:
      return
    (step, values, counts), self._pending = self._pending, None
    read = {k: float(v) for k, v in jax.device_get(values).items()}
    self._meter.add(counts)
    self._writer.advance(step)
    if read["skipped"] > self._skipped:
      self._skipped = int(read["skipped"])
      self._writer.append("skipped.jsonl", step, self._rows_of(step))
    if is_due(step, self._config.log_every, self._config.steps):
      read["learning_rate"] = float(np.asarray(self._rate(step - 1)))
      read["unreadable"] = float(self._unreadable.read())
      rates, self._who = self._slowest.among(self._meter.read())
      self._writer.write(step, read | rates, self._who)
      self._writer.put("goodput.json", self._spent(step))

  def _spent(self, step: int) -> dict[str, Any]:
    """Content of goodput.json, with the host that waits longest for data."""
    values = self._goodput.read(step)
    return values if self._who is None else values | {"slowest": self._who}

  def _rows_of(self, step: int) -> dict[str, Any]:
    """Row numbers of a step, and the records in each."""
    size = self._config.batch_size
    rows = range((step - 1) * size, step * size)
    records = [loader.records_of(self._rows, row) for row in rows]
    return {"rows": list(rows), "records": records}

  def end(self, step: int) -> None:
    """Writes goodput.json, and logs the shares of the run's time."""
    values = self._spent(step)
    self._writer.put("goodput.json", values)
    shares = ", ".join(
      f"{phase} {share:.1%}"
      for phase, share in values["shares"].items()
      if share >= 0.0005
    )
    logging.info(
      "goodput: %.1f s in %d starts: %s",
      values["wall_seconds"],
      values["starts"],
      shares,
    )
