"""Wall time of a run: phases, goodput over all its starts, profiler traces."""

import contextlib
import json
import logging
import pathlib
import time
from collections.abc import Generator, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

# Phases of a run. The last one is work after the newest checkpoint of a run
# that was killed: it had to be done again.
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
  """Host time of one start, split into PHASES; exactly one runs at a time.

  Attributes:
    phase: name of the present phase.
    since: `time.perf_counter()` when it began.
  """

  def __init__(self, began: float | None = None):
    """Starts the clock in the phase "start".

    Args:
      began: `time.perf_counter()` of the process's start; now where absent.
    """
    self.phase = "start"
    self.since = time.perf_counter() if began is None else began
    self._seconds = dict.fromkeys(PHASES, 0.0)

  def enter(self, phase: str) -> None:
    """Ends the present phase and begins another."""
    now = time.perf_counter()
    self._seconds[self.phase] += now - self.since
    self.phase, self.since = phase, now

  @contextlib.contextmanager
  def during(self, phase: str) -> Generator[None]:
    """Context whose time counts as `phase`; the former phase goes on after."""
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


class Goodput:
  """Seconds and shares of every phase, summed over all starts of a run."""

  def __init__(
    self,
    workdir: str | pathlib.Path,
    clock: Clock,
    start_step: int,
    checkpointed: Mapping[str, Any] | None,
  ):
    """Continues the sums of earlier starts; what they did in vain is "lost".

    Args:
      workdir: folder of the run, with its goodput.json.
      clock: clock of this start.
      start_step: steps already taken.
      checkpointed: result of `read` saved in the restored checkpoint, if any.
    """
    self._clock = clock
    self._earlier = _no_goodput() | dict(checkpointed or {})
    last = _read_json(pathlib.Path(workdir) / "goodput.json")
    if last and last["step"] > start_step:
      again = last["wall_seconds"] - self._earlier["wall_seconds"]
      self._earlier["seconds"] = dict(self._earlier["seconds"])
      self._earlier["seconds"]["lost"] += max(again, 0.0)
      self._earlier["starts"] = last["starts"]
    elif last:
      self._earlier = last

  def read(self, step: int) -> dict[str, Any]:
    """JSON values of goodput.json after `step` steps."""
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


def _no_goodput() -> dict[str, Any]:
  """Goodput before the first start."""
  return {
    "starts": 0,
    "wall_seconds": 0.0,
    "seconds": dict.fromkeys(PHASES, 0.0),
  }


def _read_json(path: pathlib.Path) -> dict[str, Any] | None:
  """Content of a JSON file; None where there is no such file."""
  return json.loads(path.read_text("utf-8")) if path.exists() else None


class Profile:
  """JAX profiler trace of the steps that config.profile names."""

  def __init__(self, config: ConfigDict, folder: pathlib.Path):
    """Stores the range of steps; only process 0 has one.

    Args:
      config: config.profile: `start`, a step, and `steps`, their number.
      folder: folder that the trace is written to.
    """
    self._first = config.start
    steps = config.steps if jax.process_index() == 0 else 0
    self._last = config.start + steps
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
    """Ends the trace and writes it."""
    jax.profiler.stop_trace()
    self._tracing = False
    logging.info("profile: %s", self._folder)

  def __enter__(self) -> "Profile":
    return self

  def __exit__(self, *_: Any) -> None:
    if self._tracing:
      self._stop()
