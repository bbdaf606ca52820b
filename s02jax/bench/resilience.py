"""`s02 bench resilience`: a run that is killed again and again loses nothing.

  s02 bench resilience --kills 20 --workdir DIR [--processes 2] [--seed 0] \\
    [-- --config configs/STAGE.py:SIZE --config.corpus=DIR ...]

The same training runs twice: once undisturbed, once with signals at seeded
random moments, started again after each. What is compared is the final state,
bit for bit. Moments lie while the processes start, and at random steps of the
run. Signals are a SIGTERM to one process (all save and stop), a kill -9 of one
(the others must end by themselves) and a kill -9 of all. Without a config, the
audio tokenizer trains on a few made-up words.

Writes DIR/resilience.json (or --json) and DIR/logs; the exit code is 1 where a
bit differs, a process outlives a killed one by more than a minute, or takes
longer to save than launchers wait.
"""

import dataclasses
import json
import pathlib
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from launch import common, local
from s02jax.cli import bench, corpus, text
from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.training import checkpoint

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
class Kill:
  """One signal, as it was planned."""

  kind: str
  signal: signal.Signals
  processes: tuple[int, ...]  # that get it
  step: int  # logged when it comes; 0: while the processes start
  delay: float  # seconds after that


def plan(kills: int, processes: int, steps: int, seed: int) -> list[Kill]:
  """What is done to a run of `steps`, in order; pure in its arguments."""
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


class Job:
  """The processes of one start of a training."""

  def __init__(
    self, training: Sequence[str], processes: int, logs: pathlib.Path
  ):
    """Starts them; each writes to a file of its own in `logs`."""
    logs.mkdir(parents=True, exist_ok=True)
    self.began = time.time_ns()
    self._files: list[IO[bytes]] = []
    self._processes: list[subprocess.Popen] = []
    for i, line in enumerate(local.commands(processes, training)):
      self._files.append((logs / f"process-{i}.log").open("wb"))
      self._processes.append(
        subprocess.Popen(line, stdout=self._files[-1], stderr=subprocess.STDOUT)
      )

  def codes(self) -> list[int | None]:
    """Exit codes; None of a process that runs."""
    return [process.poll() for process in self._processes]

  def ended(self) -> bool:
    """Whether any process has."""
    return any(code is not None for code in self.codes())

  def signal(self, number: signal.Signals, processes: Sequence[int]) -> None:
    """Sends a signal to some."""
    for i in processes:
      self._processes[i].send_signal(number)

  def wait(self, seconds: float | None = None) -> bool:
    """Waits for all to end; whether they did in time."""
    last = None if seconds is None else time.monotonic() + seconds
    while None in self.codes():
      if last is not None and time.monotonic() > last:
        return False
      time.sleep(0.02)
    return True

  def __enter__(self) -> "Job":
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
    since: nanoseconds, as a file system counts them.
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


def disturb(job: Job, kill: Kill, workdir: pathlib.Path) -> dict[str, Any]:
  """Waits for the moment, sends the signal, waits for the end of all."""
  while last_step(workdir, job.began) < kill.step and not job.ended():
    time.sleep(0.02)
  time.sleep(kill.delay)
  before = job.codes()
  job.signal(kill.signal, kill.processes)
  began = time.monotonic()
  killed = kill.signal == signal.SIGKILL
  in_time = job.wait(LIMIT if killed else common.GRACE)
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
  training: Sequence[str], processes: int, logs: pathlib.Path
) -> float:
  """Runs a training to its end; returns the seconds.

  Raises:
    UserError: it failed.
  """
  began = time.monotonic()
  with Job(training, processes, logs) as job:
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
  first, second = (_leaves(checkpoint.load(path)[1]) for path in (a, b))
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


def _leaves(tree: Any, prefix: str = "") -> dict[str, np.ndarray]:
  if isinstance(tree, dict):
    parts = tree.items()
  elif isinstance(tree, (list, tuple)):
    parts = enumerate(tree)
  else:
    return {} if tree is None else {prefix: np.asarray(tree)}
  out = {}
  for name, part in parts:
    out |= _leaves(part, f"{prefix}/{name}" if prefix else str(name))
  return out


def default_training(workdir: pathlib.Path, kills: int) -> list[str]:
  """Flags of a run on made-up words, made where they are missing."""
  words = workdir / "corpus"
  if not (words / "text.model").exists():
    flags = [f"--{name}={value}" for name, value in _SPEECH.items()]
    corpus.main(["espeak", f"--out={words}", *flags])
    text.main(["--corpus", str(words), "--vocab_size", "310"])
  config = pathlib.Path(__file__).parents[2] / "configs/audio_tokenizer.py"
  return [
    f"--config={config}:test",
    f"--config.corpus={words}",
    f"--config.steps={max(40, 8 * kills)}",
    "--config.batch_size=8",
    "--config.checkpoint_every=5",
  ]


def measure(
  training: Sequence[str],
  workdir: pathlib.Path,
  kills: int,
  processes: int,
  seed: int,
) -> dict[str, Any]:
  """Runs the training twice; returns what happened.

  Args:
    training: arguments of `s02 train`, without --workdir.
    workdir: where both runs and their logs go.
    kills: signals in the second run.
    processes: of each run.
    seed: of the signals.
  """
  training = [*training, "--config.log_every=1", "--config.eval_every=0"]
  whole, killed = workdir / "undisturbed", workdir / "killed"
  steps = common.check([*training, f"--workdir={whole}"]).config.steps
  for path in (whole, killed):
    if path.exists():
      raise UserError(f"{path} is there already; choose another --workdir.")
  took = finish(
    [*training, f"--workdir={whole}"], processes, workdir / "logs/undisturbed"
  )
  print(f"undisturbed: {steps} steps in {took:.1f} s", flush=True)
  again = [*training, f"--workdir={killed}"]
  events = []
  for n, kill in enumerate(plan(kills, processes, steps, seed)):
    with Job(again, processes, workdir / f"logs/{n}") as job:
      events.append(disturb(job, kill, killed))
    print(_line(n, events[-1]), flush=True)
  last = finish(again, processes, workdir / "logs/last")
  return {
    "kills": sum(not _failed(event) for event in events),
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
  """Whether a process ended before anything was done to it."""
  return any(code is not None for code in event["codes_before"])


def good(found: dict[str, Any]) -> bool:
  """Whether nothing was lost, and everything ended when it should."""
  whole = not found["state"]["unequal"] and found["losses_equal"]
  return whole and all(
    event["in_time"] and not _failed(event) for event in found["events"]
  )


def summary(found: dict[str, Any]) -> str:
  """One sentence."""
  state = found["state"]
  equal = len(state["unequal"])
  told = (
    f"{equal} of {state['arrays']} arrays differ: {state['unequal'][:4]}"
    if equal
    else f"all {state['values']:,} values of the final state are bit-equal"
  )
  slowest = max((event["seconds"] for event in found["events"]), default=0.0)
  losses = "equal" if found["losses_equal"] else "DIFFERENT"
  return (
    f"{found['kills']} kills of {found['processes']} processes: {told}; losses "
    f"of every step {losses}; slowest end {slowest:.1f} s"
  )


def main(argv: list[str]) -> int:
  """`s02 bench resilience`."""
  parser = bench.parser("resilience", __doc__)
  parser.add_argument("--kills", type=common.positive, default=20)
  parser.add_argument("--processes", type=common.positive, default=2)
  parser.add_argument("--workdir", type=pathlib.Path, required=True)
  parser.add_argument("--seed", type=int, default=0, help="of the signals (0)")
  before, training = common.split(argv)
  args = parser.parse_args(before)
  workdir = args.workdir.absolute()
  workdir.mkdir(parents=True, exist_ok=True)
  found = measure(
    training or default_training(workdir, args.kills),
    workdir,
    args.kills,
    args.processes,
    args.seed,
  )
  files.write_json(args.json or workdir / "resilience.json", found)
  print(summary(found))
  return 0 if good(found) else 1
