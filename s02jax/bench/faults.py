"""Faults of storage and of nodes, made on purpose in a training's processes.

  python -m s02jax.bench.faults FAULT FILE train …

Runs `s02 train …` in which one thing goes wrong: a read or a restore fails, or
the disk is full. FILE holds how many more times it shall, so that what comes
after is without fault; it says as well whether the fault was met. The lock of a
node that died is held by another process, `HeldLock`.
"""

import dataclasses
import errno
import fcntl
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from s02jax.bench.resilience import LIMIT, Launcher, TrainingJob, last_step
from s02jax.core.errors import PASSING, STOPPED
from s02jax.training.checkpoint import PAUSES
from s02jax.training.same_run import LOCK

_MODULE = "s02jax.bench.faults"
_lock = threading.Lock()


def wrapped(line: list[str], fault: str, file: pathlib.Path) -> list[str]:
  """Command line of a process of `s02 train` in which a fault happens.

  Args:
    line: command line without it, with the words `-m s02jax`.
    fault: key of FAULTS.
    file: number of times that it shall happen.
  """
  place = line.index("s02jax")
  return [*line[:place], _MODULE, fault, str(file), *line[place + 1 :]]


def left(file: pathlib.Path) -> int:
  """Number of times that a fault shall still happen."""
  return int(file.read_text())


def _take(file: pathlib.Path) -> bool:
  """Whether the fault happens now; counts it."""
  with _lock, file.open("r+") as opened:
    fcntl.flock(opened, fcntl.LOCK_EX)  # processes of a job share the file
    more = int(opened.read())
    if more:
      opened.seek(0)
      opened.truncate()
      opened.write(str(more - 1))
    return more > 0


def _failing(
  function: Callable[..., Any], file: pathlib.Path, error: OSError
) -> Callable[..., Any]:
  """A function that fails as often as the file says."""

  def run(*args: Any, **kwargs: Any) -> Any:
    if _take(file):
      raise error
    return function(*args, **kwargs)

  return run


def _read(file: pathlib.Path) -> None:
  """Reads of records fail, as from a file server that is away."""
  from s02jax.data.shards import Shards

  error = OSError(errno.EIO, os.strerror(errno.EIO), "a record")
  Shards.read = _failing(Shards.read, file, error)


def _restore(file: pathlib.Path) -> None:
  """Checkpoints cannot be read, as where an object store does not answer."""
  from s02jax.training.checkpoint import Checkpoints

  error = OSError("UNAVAILABLE: the object store does not answer")
  check = Checkpoints._check_structure
  Checkpoints._check_structure = _failing(check, file, error)


def _full(file: pathlib.Path) -> None:
  """Checkpoints cannot be written, because the disk is full."""
  from s02jax.training.checkpoint import Checkpoints

  error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
  Checkpoints.save = _failing(Checkpoints.save, file, error)


FAULTS = {"read": _read, "restore": _restore, "full": _full}


class HeldLock:
  """Lock of a working directory, held by a process that is then killed."""

  def __init__(self, path: pathlib.Path):
    """Starts a process that takes the lock, and waits until it has it.

    Args:
      path: of the file that is locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    holds = (
      "import fcntl, sys, time; file = open(sys.argv[1], 'a'); "
      "fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True); "
      "time.sleep(3600)"
    )
    self._process = subprocess.Popen(
      [sys.executable, "-c", holds, str(path)], stdout=subprocess.PIPE
    )
    assert self._process.stdout is not None
    self._process.stdout.readline()

  def die(self) -> None:
    """Kills the process that holds the lock."""
    self._process.kill()
    self._process.communicate()


# ---------------------------------------------------------- one job with faults

# Steps that a start takes before it is stopped, and seconds that a dead node
# holds the lock.
_STEPS, _HELD = 6, 10.0


def provoke(
  flags: Sequence[str],
  workdir: pathlib.Path,
  launcher: Launcher,
  logs: pathlib.Path,
  tell: Callable[[str], None],
) -> list[dict[str, Any]]:
  """Begins a training with every fault, one start after another.

  A read that fails twice on one process is tried again and changes nothing; a
  restore that fails at every try of a start ends with PASSING; a full disk ends
  the start with a sentence; the lock of a node that died is waited for.

  Args:
    flags: of `s02 train`, with --workdir.
    workdir: folder of the run.
    launcher: starts the processes.
    logs: folder of the logs.
    tell: gets a line for people after each start.

  Returns:
    Records of the starts, as those of `resilience.disturb`.
  """
  n, tries = launcher.processes, 1 + len(PAUSES)
  plan = [
    ("a read fails on one process", "read", 2, (n - 1,), {STOPPED}),
    *2 * [("a restore fails", "restore", n * tries, range(n), {PASSING})],
    ("a full disk", "full", n, range(n), {2}),
    ("the lock of a dead node", "", 0, (), {STOPPED}),
  ]
  events = []
  for number, (kind, fault, times, chosen, codes) in enumerate(plan):
    file = logs / f"fault-{number}.left"
    logs.mkdir(parents=True, exist_ok=True)
    file.write_text(str(times))
    with_fault = dataclasses.replace(
      launcher, commands=_commands(launcher, fault, file, tuple(chosen))
    )
    held = None if fault else HeldLock(workdir / LOCK)
    with TrainingJob(flags, with_fault, logs / f"fault-{number}") as job:
      events.append(_start(job, workdir, held, launcher.grace) | {"kind": kind})
    found = set(events[-1]["codes"])
    events[-1]["as_expected"] = found == codes and not left(file)
    tell(
      f"{kind}: codes {events[-1]['codes']}, step {events[-1]['step']}"
      + ("" if events[-1]["as_expected"] else f", NOT {codes}")
    )
  return events


def _commands(
  launcher: Launcher, fault: str, file: pathlib.Path, chosen: tuple[int, ...]
) -> Callable[[int, Sequence[str]], list[list[str]]]:
  """Command lines of a launcher, with a fault in the chosen processes."""
  return lambda processes, flags: [
    wrapped(line, fault, file) if i in chosen else line
    for i, line in enumerate(launcher.commands(processes, flags))
  ]


def _start(
  job: TrainingJob, workdir: pathlib.Path, held: HeldLock | None, grace: float
) -> dict[str, Any]:
  """Lets a job take some steps, then stops it, unless it ends by itself."""
  if held is not None:
    time.sleep(_HELD)
    held.die()
  before = last_step(workdir)
  while not job.ended():
    now = last_step(workdir, job.began)
    if now and now >= before + _STEPS:
      job.signal(signal.SIGTERM, (0,))
      break
    time.sleep(0.02)
  began = time.monotonic()
  in_time = job.wait(max(grace, LIMIT))
  return {
    "processes": [],
    "step": last_step(workdir),
    "codes_before": [None],
    "seconds": round(time.monotonic() - began, 2),
    "in_time": in_time,
    "codes": job.codes(),
  }


def main() -> None:
  """Runs `s02` with a fault; see the module docstring."""
  fault, file = sys.argv[1:3]
  FAULTS[fault](pathlib.Path(file))
  sys.argv[1:3] = []
  runpy.run_module("s02jax", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
  main()
