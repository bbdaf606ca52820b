"""Wall time of a run by phase, over all of its starts (goodput)."""

import contextlib
import json
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

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
