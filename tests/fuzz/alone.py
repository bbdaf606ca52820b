"""Checks of many seeds in a process of its own, whose memory is measured.

It may crash without ending the tests. Free of JAX and pytest.
"""

import dataclasses
import importlib
import pathlib
import resource
import time
import traceback
import warnings

HANGS = 20  # seconds of this process that no check takes


@dataclasses.dataclass(frozen=True)
class Report:
  """Outcome of a run."""

  read: int  # inputs that were accepted
  refused: int  # inputs that were refused in a sentence
  faults: tuple[str, ...]  # tracebacks, silent losses, hangs
  megabytes: float  # most memory that the process held


def run(module: str, first: int, count: int) -> Report:
  """Runs `check` of a module for the seeds from `first` on.

  Args:
    module: name of a module here, whose `check(seed)` returns a fault, "" for
      an input that was rightly refused, or None for one that was read.
    first: seed to begin with.
    count: number of seeds.
  """
  warnings.simplefilter("error")
  check = importlib.import_module(f"tests.fuzz.{module}").check
  outcomes, faults = [], []
  for seed in range(first, first + count):
    started = time.process_time()
    try:
      outcomes.append(check(seed))
      if outcomes[-1]:
        faults.append(f"{seed} {outcomes[-1]}")
    except Exception:
      faults.append(f"{seed} {traceback.format_exc()}")
    if time.process_time() - started > HANGS:
      faults.append(f"{seed} hangs")
  return Report(
    read=outcomes.count(None),
    refused=outcomes.count(""),
    faults=tuple(faults),
    megabytes=_most_megabytes(),
  )


def _most_megabytes() -> float:
  """Most memory that this process held, without what it was started from.

  Linux hands the figure of getrusage on to a program that a process becomes.
  """
  status = pathlib.Path("/proc/self/status")
  if not status.is_file():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  (line,) = (x for x in status.read_text().splitlines() if "VmHWM" in x)
  return int(line.split()[1]) / 1024
