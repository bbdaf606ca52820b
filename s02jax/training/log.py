"""Metrics of a step while the next one runs; profiles; FLOPs of a batch."""

import logging
import pathlib
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from s02jax import hardware, stages
from s02jax.core.config import build
from s02jax.data import loader
from s02jax.stages import train_state as ts
from s02jax.training import clock as clock_lib
from s02jax.training import metrics
from s02jax.training.feed import Feed
from s02jax.training.programs import shapes_of


class Log:
  """Reads the metrics of a step while the device takes the next."""

  def __init__(
    self,
    config: ConfigDict,
    feed: Feed,
    writer: metrics.Writer,
    goodput: clock_lib.Goodput,
    clock: clock_lib.Clock,
    skipped: int,
  ):
    """`skipped`: steps so far that were not finite."""
    optimizer = build(ts.OptimizerConfig, config.optimizer, "config.optimizer")
    self._rate = ts.schedule(optimizer, config.steps)
    self._config = config
    self._rows = feed.rows
    self._unreadable = feed.unreadable
    self._writer = writer
    self._goodput = goodput
    self._meter = metrics.Meter(hardware.peak_flops(), clock)
    self._skipped = skipped
    self._pending: tuple[int, stages.Metrics, metrics.Counts] | None = None

  def begin(self, step: int) -> None:
    """Notes the start, so that it counts even if nothing follows."""
    self._writer.put("goodput.json", self._goodput.read(step))

  def add(
    self, step: int, values: stages.Metrics, counts: metrics.Counts
  ) -> None:
    """Takes the metrics of a step under way; reads those of the one before."""
    self.catch_up()
    self._pending = step, values, counts

  def catch_up(self) -> None:
    """Waits for the last step to end, and writes what it has to say."""
    if self._pending is None:
      return
    (step, values, counts), self._pending = self._pending, None
    read = {k: float(v) for k, v in jax.device_get(values).items()}
    self._meter.add(counts)
    self._writer.advance(step)
    if read["skipped"] > self._skipped:
      self._skipped = int(read["skipped"])
      self._writer.append("skipped.jsonl", step, self._whereabouts(step))
    if is_due(step, self._config.log_every, self._config.steps):
      read["learning_rate"] = float(np.asarray(self._rate(step - 1)))
      read["unreadable"] = float(self._unreadable.add(0))
      self._writer.write(step, read | self._meter.read())
      self._writer.put("goodput.json", self._goodput.read(step))

  def _whereabouts(self, step: int) -> dict[str, Any]:
    """Rows and records of a step."""
    size = self._config.batch_size
    rows = range((step - 1) * size, step * size)
    records = [loader.records_of(self._rows, row) for row in rows]
    return {"rows": list(rows), "records": records}

  def end(self, step: int) -> None:
    """Says what the time of the run went into."""
    values = self._goodput.read(step)
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


class Profile:
  """Traces the steps that config.profile names."""

  def __init__(self, config: ConfigDict, folder: pathlib.Path):
    self._first = config.profile.start
    self._last = config.profile.start + config.profile.steps
    self._folder = folder
    self._tracing = False

  def before(self, step: int) -> None:
    """Starts or ends the trace where `step` steps have been taken."""
    inside = self._first <= step < self._last
    if inside and not self._tracing:
      jax.profiler.start_trace(str(self._folder))
      self._tracing = True
    elif self._tracing and not inside:
      self._stop()

  def _stop(self) -> None:
    jax.profiler.stop_trace()
    self._tracing = False
    logging.info("profile: %s", self._folder)

  def __enter__(self) -> "Profile":
    return self

  def __exit__(self, *_: Any) -> None:
    if self._tracing:
      self._stop()


class Flops:
  """FLOPs of a train step, asked of the stage once per shape and phase."""

  def __init__(self, stage: stages.Stage):
    self._stage = stage
    self._known = {}

  def __call__(self, batch: stages.Batch, step: int) -> float:
    shapes = shapes_of(batch)
    key = shapes, sum(step >= start for start in self._stage.starts)
    if key not in self._known:
      abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch
      )
      self._known[key] = float(self._stage.flops(abstract, step))
    return self._known[key]


def is_due(step: int, every: int, last: int) -> bool:
  return step == last or (every > 0 and step % every == 0)
