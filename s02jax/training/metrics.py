"""Metrics of a run: rates, metrics.jsonl, TensorBoard and the progress bar.

`<workdir>/metrics.jsonl`: one object a line. `{"step": 20, "loss": …}` is a
training step; keys of an evaluation begin with its split, `unseen/loss`, and
those of a benchmark, which come some steps later, with `benchmark/`.
`<workdir>/tensorboard/` has the same. A terminal gets a progress bar, a log
one line per logged step. `<workdir>/goodput.json` has the time of all starts of
the run by phase. In a job of several processes `data_wait` and `step_seconds`
are the greatest of all, and `slowest` says whose wait for data that is.
"""

import dataclasses
import json
import logging
import math
import pathlib
import socket
import sys
from collections.abc import Mapping
from typing import Any

import jax
import tensorboardX
import tqdm

from s02jax.core.files import write_json, write_text
from s02jax.training import hosts
from s02jax.training.clock import Clock

# Names of the metrics that the console shows, in this order, where present.
SHOWN = ("loss", "grad_norm", "rows_per_second", "data_wait", "mfu")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
  """Size of one step's batch, over all processes."""

  rows: int
  audio_seconds: float  # seconds of speech
  padding: float  # share of the batch, 0 to 1
  flops: float  # model FLOPs of the step


_SUMMED = ("steps", *(field.name for field in dataclasses.fields(Counts)))


class Meter:
  """Throughput between two lines of the log."""

  def __init__(self, peak: float | None, clock: Clock):
    """Begins at zero.

    Args:
      peak: FLOP/s of all devices together; None where unknown.
      clock: clock of the loop.
    """
    self._peak = peak
    self._clock = clock
    self._reset()

  def _reset(self) -> None:
    """Begins a new interval."""
    self._before = self._clock.read()
    self._sums = dict.fromkeys(_SUMMED, 0.0)

  def add(self, counts: Counts) -> None:
    """Adds one step that has ended."""
    self._sums["steps"] += 1
    for name, value in dataclasses.asdict(counts).items():
      self._sums[name] += value

  def read(self) -> dict[str, float]:
    """Rates and shares since the last call, in time of steps and data alone."""
    now = self._clock.read()
    wait, stepping = (now[k] - self._before[k] for k in ("data", "step"))
    seconds = max(wait + stepping, 1e-9)
    sums = self._sums
    self._reset()
    values = {
      "rows_per_second": sums["rows"] / seconds,
      "audio_seconds_per_second": sums["audio_seconds"] / seconds,
      "padding": sums["padding"] / max(sums["steps"], 1),
      "data_wait": wait / seconds,
      "step_seconds": seconds / max(sums["steps"], 1),
    }
    if self._peak is not None:
      values["mfu"] = sums["flops"] / seconds / self._peak
    return values


# Measurements of which the greatest is the job's.
WORST = ("data_wait", "step_seconds")
_TOLD = "s02jax/measured/"


class Slowest:
  """Measurements of the host that has the worst of them.

  A step ends for all hosts together, so one host that reads slowly slows all of
  them, and its own record is the only one that says why. Every process tells
  the others what it measured, in the job's key-value store and without waiting
  for anybody: what is read is the newest that each has told.
  """

  def __init__(self) -> None:
    self._store = hosts.store()
    self._me = jax.process_index()
    self._host = socket.gethostname()

  def among(
    self, mine: Mapping[str, float]
  ) -> tuple[dict[str, float], str | None]:
    """Replaces the WORST measurements by the greatest of all processes.

    Args:
      mine: measurements of this process since its last call.

    Returns:
      All measurements, and the process and host that waits longest for data;
      on other processes than the first its own, and None.
    """
    if self._store is None:
      return dict(mine), None
    told = {name: mine[name] for name in WORST} | {"host": self._host}
    self._store.key_value_set(
      f"{_TOLD}{self._me}", json.dumps(told), allow_overwrite=True
    )
    if self._me:  # process 0 alone writes the metrics
      return dict(mine), None
    found = {
      int(key.rpartition("/")[2]): json.loads(value)
      for key, value in self._store.key_value_dir_get(_TOLD)
    }
    worst = {name: max(x[name] for x in found.values()) for name in WORST}
    who = max(found, key=lambda process: found[process]["data_wait"])
    return dict(mine) | worst, f"process {who} ({found[who]['host']})"


class MetricsWriter:
  """Writer of a run's metrics, which does nothing but on the main process."""

  def __init__(
    self, workdir: str | pathlib.Path, start_step: int, steps: int, main: bool
  ):
    """Opens the files, and drops what they say of steps after `start_step`.

    Args:
      workdir: folder of the run, which exists.
      start_step: steps already taken.
      steps: number of steps of the whole run.
      main: whether this process writes.
    """
    self._main = main
    if not main:
      return
    self._folder = pathlib.Path(workdir)
    path = self._folder / "metrics.jsonl"
    roll_back(path, start_step)
    roll_back(self._folder / "skipped.jsonl", start_step)
    self._file = path.open("a", encoding="utf-8")
    self._board = tensorboardX.SummaryWriter(
      str(self._folder / "tensorboard"), purge_step=start_step + 1
    )
    terminal = sys.stderr.isatty()
    self._bar = tqdm.tqdm(
      total=steps, initial=start_step, unit="step", disable=not terminal
    )

  def advance(self, step: int) -> None:
    """Moves the progress bar to `step`."""
    if self._main:
      self._bar.update(step - self._bar.n)

  def append(self, name: str, step: int, values: Mapping[str, Any]) -> None:
    """Adds a line with the step and values to a file of the run."""
    if self._main:
      with (self._folder / name).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step} | dict(values)) + "\n")

  def put(self, name: str, values: Mapping[str, Any]) -> None:
    """Replaces a JSON file of the run."""
    if self._main:
      write_json(self._folder / name, values)

  def write(
    self, step: int, values: Mapping[str, float], slowest: str | None = None
  ) -> None:
    """Writes one line of metrics; a value that is not finite becomes null.

    Args:
      step: steps taken.
      values: metrics by name.
      slowest: process that waits longest for data, where there are several.
    """
    if not self._main:
      return
    values = {name: float(value) for name, value in values.items()}
    finite = {k: v for k, v in values.items() if math.isfinite(v)}
    record: dict[str, Any] = {k: finite.get(k) for k in values}
    record = {"step": step} | record
    if slowest is not None:
      record["slowest"] = slowest
    self._file.write(json.dumps(record) + "\n")
    self._file.flush()
    for name, value in finite.items():
      self._board.add_scalar(name, value, step)
    self._show(step, values, slowest)

  def _show(
    self, step: int, values: Mapping[str, float], slowest: str | None
  ) -> None:
    """Shows metrics on the progress bar, or logs them where there is none."""
    names = [name for name in SHOWN if name in values]
    names += [name for name in values if "/" in name]
    line = "  ".join(f"{name} {values[name]:.4g}" for name in names)
    if slowest is not None:
      line += f"  slowest to read: {slowest}"
    if self._bar.disable:
      logging.info("step %d  %s", step, line)
    else:
      self._bar.set_postfix_str(line)

  def __enter__(self) -> "MetricsWriter":
    return self

  def __exit__(self, *_: Any) -> None:
    if self._main:
      self._bar.close()
      self._board.close()
      self._file.close()


def roll_back(path: pathlib.Path, step: int) -> None:
  """Drops the lines after `step`, and a last line cut short, from a .jsonl."""
  if not path.exists():
    return
  kept = [
    line
    for line in path.read_text(encoding="utf-8").splitlines()
    if _step_of(line) <= step
  ]
  write_text(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
  """Step of a line of JSON; infinite for anything else."""
  try:
    return json.loads(line)["step"]
  except (ValueError, KeyError, TypeError):
    return math.inf
