"""What a run writes for people and programs while it trains.

`<workdir>/metrics.jsonl`: one object a line. `{"step": 20, "loss": …}` is a
training step; keys of an evaluation begin with its split, `unseen/loss`, and
those of a benchmark, which come some steps later, with `benchmark/`.
`<workdir>/tensorboard/` has the same. A terminal gets a progress bar, a log
one line per logged step. `<workdir>/goodput.json` says what the time of all
starts of the run went into.
"""

import contextlib
import dataclasses
import json
import logging
import math
import os
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import tensorboardX
import tqdm

from s02jax.chips import PEAK_FLOPS

# Shown on the console, in this order, where present.
SHOWN = ("loss", "grad_norm", "rows_per_second", "data_wait", "mfu")


def peak_flops() -> float | None:
  """Peak of all devices in FLOP/s; None where it is not known.

  On the CPU it is measured: a matrix product, about 0.3 s.
  """
  if jax.default_backend() == "cpu":
    return product_flops()
  each = PEAK_FLOPS.get(jax.devices()[0].device_kind)
  return None if each is None else each * jax.device_count()


def product_flops() -> float:
  """FLOP/s of the fastest matrix product seen, on all devices together.

  float32 on the cores that this process may use, bfloat16 elsewhere.
  """
  cpu = jax.default_backend() == "cpu"
  # On a CPU no power of two: rows that far apart share few sets of its caches.
  n, dtype = (1040, np.float32) if cpu else (8192, jax.numpy.bfloat16)
  x = jax.device_put(np.ones((n, n), dtype), jax.local_devices()[0])
  product = jax.jit(lambda a: a @ a).lower(x).compile()
  product(x).block_until_ready()
  best, began = math.inf, time.perf_counter()
  while time.perf_counter() - began < 0.2:
    start = time.perf_counter()
    product(x).block_until_ready()
    best = min(best, time.perf_counter() - start)
  # Fake devices share the cores of their process.
  parts = jax.process_count() if cpu else jax.device_count()
  return parts * 2 * n**3 / best


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
  """What one step took in."""

  rows: int
  audio_seconds: float
  padding: float  # share of the batch, 0 to 1
  flops: float


_SUMMED = ("steps", *(field.name for field in dataclasses.fields(Counts)))


# What the time of a run can go into; the last is what came after the newest
# checkpoint of a run that was killed, and had to be done again.
PHASES = (
  "start",
  "compile",
  "data",
  "step",
  "checkpoint",
  "restore",
  "evaluate",
  "lost",
)


class Clock:
  """Splits the host's time into PHASES; it is always in exactly one.

  Attributes:
    phase: the present one.
    since: `time.perf_counter()` when it began.
  """

  def __init__(self, began: float | None = None):
    """`began`: `time.perf_counter()` of the start; now where absent."""
    self.phase = "start"
    self.since = time.perf_counter() if began is None else began
    self._seconds = dict.fromkeys(PHASES, 0.0)

  def enter(self, phase: str) -> None:
    """Ends the present phase and begins another."""
    now = time.perf_counter()
    self._seconds[self.phase] += now - self.since
    self.phase, self.since = phase, now

  @contextlib.contextmanager
  def during(self, phase: str) -> Iterator[None]:
    """In `phase` inside, then back."""
    before = self.phase
    self.enter(phase)
    try:
      yield
    finally:
      self.enter(before)

  def read(self) -> dict[str, float]:
    """Seconds of every phase until now."""
    self.enter(self.phase)
    return dict(self._seconds)


class Meter:
  """Counts what went through between two lines of the log."""

  def __init__(self, peak: float | None, clock: Clock):
    """`peak`: FLOP/s of all devices together, None where unknown."""
    self._peak = peak
    self._clock = clock
    self._reset()

  def _reset(self) -> None:
    self._before = self._clock.read()
    self._sums = dict.fromkeys(_SUMMED, 0.0)

  def add(self, counts: Counts) -> None:
    """Counts one step that has ended."""
    self._sums["steps"] += 1
    for name, value in dataclasses.asdict(counts).items():
      self._sums[name] += value

  def read(self) -> dict[str, float]:
    """Rates and shares since the last call; of stepping and its data alone."""
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
    }
    if self._peak is not None:
      values["mfu"] = sums["flops"] / seconds / self._peak
    return values


class Goodput:
  """What the time of a run went into, over all of its starts."""

  def __init__(
    self,
    workdir: str | pathlib.Path,
    clock: Clock,
    start_step: int,
    checkpointed: Mapping[str, Any] | None,
  ):
    """Goes on from what earlier starts of the run wrote.

    Args:
      workdir: of the run.
      clock: of this start.
      start_step: steps already taken.
      checkpointed: what `read` gave at the restored checkpoint, if any.
    """
    self._clock = clock
    self._earlier = _zero_goodput() | dict(checkpointed or {})
    last = _read_json(pathlib.Path(workdir) / "goodput.json")
    if last and last["step"] > start_step:
      again = last["wall_seconds"] - self._earlier["wall_seconds"]
      self._earlier["seconds"] = dict(self._earlier["seconds"])
      self._earlier["seconds"]["lost"] += max(again, 0.0)
      self._earlier["starts"] = last["starts"]
    elif last:
      self._earlier = last

  def read(self, step: int) -> dict[str, Any]:
    """Seconds and shares of every phase, for a JSON file."""
    now = self._clock.read()
    seconds = {k: self._earlier["seconds"][k] + now[k] for k in PHASES}
    wall = sum(seconds.values())
    return {
      "step": step,
      "starts": self._earlier["starts"] + 1,
      "wall_seconds": wall,
      "seconds": seconds,
      "shares": {k: s / max(wall, 1e-9) for k, s in seconds.items()},
    }


def _zero_goodput() -> dict[str, Any]:
  return {
    "starts": 0,
    "wall_seconds": 0.0,
    "seconds": dict.fromkeys(PHASES, 0.0),
  }


def _read_json(path: pathlib.Path) -> dict[str, Any] | None:
  return json.loads(path.read_text("utf-8")) if path.exists() else None


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a file that has its name only when it is whole."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name}.part")
  temporary.write_text(text, encoding="utf-8")
  os.replace(temporary, path)


def write_json(path: pathlib.Path, values: Mapping[str, Any]) -> None:
  """The same, of an object."""
  write_text(path, json.dumps(values, indent=2) + "\n")


class Writer:
  """Appends metrics to a run's files; does nothing on other processes."""

  def __init__(
    self, workdir: str | pathlib.Path, start_step: int, steps: int, main: bool
  ):
    """Opens the files, without what lies after `start_step`.

    Args:
      workdir: an existing folder.
      start_step: steps already taken.
      steps: of the whole run.
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
    """Adds a line of the step to a file of the run."""
    if self._main:
      with (self._folder / name).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step} | dict(values)) + "\n")

  def put(self, name: str, values: Mapping[str, Any]) -> None:
    """Replaces a JSON file of the run."""
    if self._main:
      write_json(self._folder / name, values)

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """Writes one line; a value that is not finite becomes null."""
    if not self._main:
      return
    values = {name: float(value) for name, value in values.items()}
    finite = {k: v for k, v in values.items() if math.isfinite(v)}
    record = {"step": step} | {k: finite.get(k) for k in values}
    self._file.write(json.dumps(record) + "\n")
    self._file.flush()
    for name, value in finite.items():
      self._board.add_scalar(name, value, step)
    self._show(step, values)

  def _show(self, step: int, values: Mapping[str, float]) -> None:
    names = [name for name in SHOWN if name in values]
    names += [name for name in values if "/" in name]
    line = "  ".join(f"{name} {values[name]:.4g}" for name in names)
    if self._bar.disable:
      logging.info("step %d  %s", step, line)
    else:
      self._bar.set_postfix_str(line)

  def __enter__(self) -> "Writer":
    return self

  def __exit__(self, *_: Any) -> None:
    if self._main:
      self._bar.close()
      self._board.close()
      self._file.close()


def roll_back(path: pathlib.Path, step: int) -> None:
  """Drops the lines after `step`, and a last line cut short."""
  if not path.exists():
    return
  kept = [
    line
    for line in path.read_text(encoding="utf-8").splitlines()
    if _step_of(line) <= step
  ]
  write_text(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
  try:
    return json.loads(line)["step"]
  except (ValueError, KeyError, TypeError):
    return math.inf
