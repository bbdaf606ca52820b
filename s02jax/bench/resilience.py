"""Training under signals: a run that is killed again and again loses nothing.

The same training runs twice: once undisturbed, once with signals at seeded
random moments, started again after each. The final states are compared bit for
bit.
"""

import dataclasses
import json
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

import numpy as np

from s02jax.core import trees
from s02jax.core.errors import UserError
from s02jax.training import arguments, checkpoint

# Seconds that the others may take to end after one was killed.
LIMIT = 60.0
# Share of the signals that come while the processes start.
_EARLY = 0.2
# Signals, and whether one process gets them or all.
_KINDS = (
  ("SIGTERM to one", signal.SIGTERM, False),
  ("SIGKILL to one", signal.SIGKILL, False),
  ("SIGKILL to all", signal.SIGKILL, True),
)
_SPEECH = {
  "languages": "en",
  "words": 8,
  "speakers": 6,
  "clips_per_speaker": 6,
  "seen_speakers": 2,
  "unseen_speakers": 2,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Launcher:
  """Launcher of a training job: its processes and how they start."""

  processes: int  # processes of a job
  # command line of each process, from their number and the training's flags
  commands: Callable[[int, Sequence[str]], list[list[str]]]
  grace: float  # seconds that a job gets to save after a SIGTERM


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kill:
  """One signal, as it was planned."""

  kind: str  # name of the signal and of who gets it
  signal: signal.Signals
  processes: tuple[int, ...]  # numbers of the processes that get it
  step: int  # step in the log when it is sent; 0: while the processes start
  delay: float  # seconds between that moment and the signal


def plan(kills: int, processes: int, steps: int, seed: int) -> list[Kill]:
  """Signals for a run of `steps`, in order; pure in its arguments."""
  draw = random.Random(seed)
  # Not in the last tenth, so that the run is there to be killed.
  at = sorted(draw.randrange(1, max(steps * 9 // 10, 2)) for _ in range(kills))
  out = []
  for step in at:
    # Processes that have yet to meet wait longer for each other.
    early = draw.random() < _EARLY
    kind, number, everyone = _KINDS[-1] if early else draw.choice(_KINDS)
    chosen = range(processes) if everyone else [draw.randrange(processes)]
    out.append(
      Kill(
        kind=kind,
        signal=number,
        processes=tuple(chosen),
        step=0 if early else step,
        delay=draw.uniform(0, 8.0 if early else 0.2),
      )
    )
  return out


class TrainingJob:
  """Processes of one start of a training."""

  def __init__(
    self, flags: Sequence[str], launcher: Launcher, logs: pathlib.Path
  ):
    """Starts the processes; each writes to a file of its own in `logs`."""
    logs.mkdir(parents=True, exist_ok=True)
    self.began = time.time_ns()
    self._files: list[IO[bytes]] = []
    self._processes: list[subprocess.Popen] = []
    for i, line in enumerate(launcher.commands(launcher.processes, flags)):
      self._files.append((logs / f"process-{i}.log").open("wb"))
      self._processes.append(
        subprocess.Popen(line, stdout=self._files[-1], stderr=subprocess.STDOUT)
      )

  def codes(self) -> list[int | None]:
    """Exit code of each process; None where it still runs."""
    return [process.poll() for process in self._processes]

  def ended(self) -> bool:
    """True where any process has ended."""
    return any(code is not None for code in self.codes())

  def signal(self, number: signal.Signals, processes: Sequence[int]) -> None:
    """Sends a signal to the processes of these numbers."""
    for i in processes:
      self._processes[i].send_signal(number)

  def wait(self, seconds: float | None = None) -> bool:
    """Waits for all processes; False where `seconds` are over first."""
    last = None if seconds is None else time.monotonic() + seconds
    while None in self.codes():
      if last is not None and time.monotonic() > last:
        return False
      time.sleep(0.02)
    return True

  def __enter__(self) -> "TrainingJob":
    return self

  def __exit__(self, *_: Any) -> None:
    for process in self._processes:
      process.kill()
      process.wait()
    for file in self._files:
      file.close()


def last_step(workdir: pathlib.Path, since: int = 0) -> int:
  """Newest step in metrics.jsonl; 0 where none was written after `since`.

  Args:
    workdir: folder of the run.
    since: nanoseconds since the epoch, as a file system counts them.
  """
  path = workdir / "metrics.jsonl"
  if not path.exists() or path.stat().st_mtime_ns <= since:
    return 0
  for line in reversed(path.read_text("utf-8").splitlines()):
    try:
      return int(json.loads(line)["step"])
    except (ValueError, KeyError):  # being written
      continue
  return 0


def disturb(
  job: TrainingJob, kill: Kill, workdir: pathlib.Path, grace: float
) -> dict[str, Any]:
  """Waits for the moment, sends the signal, waits for the end of all.

  Args:
    job: running training.
    kill: signal and its moment.
    workdir: folder of the run.
    grace: seconds that the job gets to save after a SIGTERM.

  Returns:
    A record of what happened, as it is in resilience.json.
  """
  while last_step(workdir, job.began) < kill.step and not job.ended():
    time.sleep(0.02)
  time.sleep(kill.delay)
  before = job.codes()
  job.signal(kill.signal, kill.processes)
  began = time.monotonic()
  killed = kill.signal == signal.SIGKILL
  in_time = job.wait(LIMIT if killed else grace)
  return {
    "kind": kill.kind,
    "processes": list(kill.processes),
    "step": last_step(workdir),
    "codes_before": before,
    "seconds": round(time.monotonic() - began, 2),
    "in_time": in_time,
    "codes": job.codes(),
  }


def finish(
  flags: Sequence[str], launcher: Launcher, logs: pathlib.Path
) -> float:
  """Runs a training to its end; returns the seconds.

  Raises:
    UserError: the training failed.
  """
  began = time.monotonic()
  with TrainingJob(flags, launcher, logs) as job:
    while not (job.ended() and any(job.codes())) and None in job.codes():
      time.sleep(0.05)
    job.wait(LIMIT)
    if any(job.codes()):
      raise UserError(
        f"a run that nobody disturbed ended with {job.codes()}; see {logs}."
      )
  return time.monotonic() - began


def differences(a: pathlib.Path, b: pathlib.Path) -> dict[str, Any]:
  """Compares the newest states of two runs, bit for bit."""
  first, second = (_arrays(checkpoint.load(path)[1]) for path in (a, b))
  unequal = sorted(
    name
    for name in first.keys() | second.keys()
    if name not in first
    or name not in second
    or first[name].tobytes() != second[name].tobytes()
  )
  return {
    "arrays": len(first),
    "values": int(sum(x.size for x in first.values())),
    "unequal": unequal,
  }


def _arrays(state: Any) -> dict[str, np.ndarray]:
  return {name: np.asarray(x) for name, x in trees.named(state).items()}


def default_training(workdir: pathlib.Path, kills: int) -> list[str]:
  """Flags of a training on made-up words, in WORKDIR/corpus.

  Raises:
    UserError: the corpus could not be built.
  """
  words = workdir / "corpus"
  if not (words / "text.model").exists():
    flags = [f"--{name}={value}" for name, value in _SPEECH.items()]
    _verb("corpus", "espeak", f"--out={words}", *flags)
    _verb("text", f"--corpus={words}", "--vocab_size=310")
  config = pathlib.Path(__file__).parents[2] / "configs/audio_tokenizer.py"
  return [
    f"--config={config}:test",
    f"--config.corpus={words}",
    f"--config.steps={max(40, 8 * kills)}",
    "--config.batch_size=8",
    "--config.checkpoint_every=5",
  ]


def _verb(*words: str) -> None:
  """Runs `s02 WORDS` in a process of its own; UserError where it fails."""
  command = [sys.executable, "-m", "s02jax", *words]
  if subprocess.run(command).returncode:
    raise UserError(f"`s02 {words[0]}` failed; see what it printed above.")


def measure(
  flags: Sequence[str],
  workdir: pathlib.Path,
  launcher: Launcher,
  kills: int,
  seed: int,
  tell: Callable[[str], None],
  first: Callable[..., list[dict[str, Any]]] | None = None,
) -> dict[str, Any]:
  """Runs the training twice; returns what happened, for resilience.json.

  Args:
    flags: arguments of `s02 train`, without --workdir.
    workdir: folder of both runs and their logs.
    launcher: starts the processes of a run.
    kills: signals in the second run.
    seed: seed of the signals.
    tell: gets a line for people after each start.
    first: starts of the second run before the signals, as `faults.provoke`.

  Raises:
    UserError: flags that `s02 train` would not take, a run that is there
      already, or one that failed undisturbed.
  """
  flags = [*flags, "--config.log_every=1", "--config.eval_every=0"]
  processes = launcher.processes
  whole, killed = workdir / "undisturbed", workdir / "killed"
  steps = arguments.parse([*flags, f"--workdir={whole}"]).config.steps
  for path in (whole, killed):
    if path.exists():
      raise UserError(f"{path} is there already; choose another --workdir.")
  took = finish(
    [*flags, f"--workdir={whole}"], launcher, workdir / "logs/undisturbed"
  )
  tell(f"undisturbed: {steps} steps in {took:.1f} s")
  again = [*flags, f"--workdir={killed}"]
  events = []
  if first is not None:
    events += first(again, killed, launcher, workdir / "logs", tell)
  for n, kill in enumerate(plan(kills, processes, steps, seed)):
    with TrainingJob(again, launcher, workdir / f"logs/{n}") as job:
      events.append(disturb(job, kill, killed, launcher.grace))
    tell(_line(n, events[-1]))
  last = finish(again, launcher, workdir / "logs/last")
  return {
    "kills": sum(
      not _failed(event) and "as_expected" not in event for event in events
    ),
    "processes": processes,
    "steps": steps,
    "undisturbed_seconds": round(took, 1),
    "last_start_seconds": round(last, 1),
    "events": events,
    "losses_equal": _losses(whole) == _losses(killed),
    "state": differences(whole, killed),
  }


def _losses(workdir: pathlib.Path) -> list[tuple[int, float]]:
  lines = (workdir / "metrics.jsonl").read_text("utf-8").splitlines()
  records = map(json.loads, lines)
  return [(r["step"], r["loss"]) for r in records if "loss" in r]


def _line(number: int, event: dict[str, Any]) -> str:
  told = ", ".join(map(str, event["codes"]))
  note = "" if event["in_time"] else "  TOO LATE"
  note += "  FAILED BEFORE" if _failed(event) else ""
  return (
    f"{number + 1:>3}  {event['kind']:<15} step {event['step']:>6}  "
    f"{event['seconds']:>6.1f} s to the end, codes {told}{note}"
  )


def _failed(event: dict[str, Any]) -> bool:
  """True where a process ended before it got the signal."""
  return any(code is not None for code in event["codes_before"])


def good(found: dict[str, Any]) -> bool:
  """True where nothing was lost and every process ended in time."""
  whole = not found["state"]["unequal"] and found["losses_equal"]
  return whole and all(
    event["in_time"] and not _failed(event) and event.get("as_expected", True)
    for event in found["events"]
  )


def summary(found: dict[str, Any]) -> str:
  """Outcome of `measure` in one sentence."""
  state = found["state"]
  equal = len(state["unequal"])
  told = (
    f"{equal} of {state['arrays']} arrays differ: {state['unequal'][:4]}"
    if equal
    else f"all {state['values']:,} values of the final state are bit-equal"
  )
  slowest = max((event["seconds"] for event in found["events"]), default=0.0)
  losses = "equal" if found["losses_equal"] else "DIFFERENT"
  faults = [e["as_expected"] for e in found["events"] if "as_expected" in e]
  met = f"{sum(faults)} of {len(faults)} faults, " if faults else ""
  return (
    f"{met}{found['kills']} kills of {found['processes']} processes: {told}; "
    f"losses of every step {losses}; slowest end {slowest:.1f} s"
  )
