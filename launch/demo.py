"""Demo from nothing to a page: corpus, four stages, bundle, report.

  python -m launch.demo [--size demo] [--workdir runs/demo] [--manifest FILE]

Every phase is a command a person could type, started here one after another and
logged to WORKDIR/logs. A phase that is done says so and costs nothing, so an
interrupted run goes on where it was. The audio tokenizer and the Flow-VAE do
not need each other, nor do the AR model and flow matching: on a CPU of several
cores each pair trains side by side, every stage on its own share of the cores.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from s02jax.bundle import MODELS
from s02jax.core import files
from s02jax.core.errors import UserError, run

# Options of `s02 corpus espeak` and size of the text vocabulary, by size.
CORPORA = {
  "test": dict(
    languages="en,es", words=8, speakers=8, clips_per_speaker=4, vocab_size=300
  ),
  "demo": dict(
    languages="en,es,de",
    words=32,
    speakers=300,
    clips_per_speaker=16,
    vocab_size=345,
  ),
  "mini": dict(
    languages="en,es,de",
    words=40,
    speakers=600,
    clips_per_speaker=16,
    vocab_size=345,
  ),
}


@dataclasses.dataclass(frozen=True)
class Command:
  """One command of the demo."""

  name: str  # name of its log and of its phase
  argv: tuple[str, ...]  # after `python -m`


class Phases:
  """Runner of commands that keeps their seconds across interruptions."""

  def __init__(self, workdir: pathlib.Path):
    self.workdir = workdir
    self.file = workdir / "phases.json"
    self.seconds = (
      json.loads(self.file.read_text()) if self.file.exists() else {}
    )

  def run(self, *commands: Command) -> None:
    """Runs the commands at the same time, each on its share of the cores."""
    start = time.time()
    cores = sorted(os.sched_getaffinity(0))
    share = max(1, len(cores) // len(commands))
    processes = [
      self._start(command, cores[i * share : (i + 1) * share] or cores)
      for i, command in enumerate(commands)
    ]
    try:
      failed = _first_failure(commands, processes)
    finally:  # nobody is left behind, whatever ended the waiting
      for process in processes:
        process.terminate()
        process.wait()
    took = time.time() - start
    name = " + ".join(c.name for c in commands)
    self.seconds[name] = round(self.seconds.get(name, 0.0) + took, 1)
    self._save()
    if failed:
      raise UserError(self._complaint(failed))
    print(f"  {name}: {took:.0f} s", flush=True)

  def _start(self, command: Command, cores: list[int]) -> subprocess.Popen:
    log = self.workdir / "logs" / f"{command.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # a child inherits it
    try:
      with open(log, "a") as file:
        return subprocess.Popen(
          [sys.executable, "-m", *command.argv],
          stdout=file,
          stderr=subprocess.STDOUT,
        )
    finally:
      os.sched_setaffinity(0, mine)

  def _complaint(self, command: Command) -> str:
    log = self.workdir / "logs" / f"{command.name}.log"
    lines = log.read_text(errors="replace").splitlines()
    last = lines[-1] if lines else "it printed nothing"
    return f"{command.name} failed: {last} (all of it is in {log})"

  def _save(self) -> None:
    files.write_json(self.file, self.seconds)


def _first_failure(
  commands: tuple[Command, ...], processes: list[subprocess.Popen]
) -> Command | None:
  """Waits for all commands; returns the first that fails, at once."""
  while True:
    codes = [process.poll() for process in processes]
    for command, code in zip(commands, codes, strict=True):
      if code:
        return command
    if None not in codes:
      return None
    time.sleep(0.1)


def corpus_commands(args, corpus: pathlib.Path) -> list[Command]:
  """Commands that build the corpus and its text model."""
  if args.manifest:
    build = ["manifest", args.manifest, "--rate", "16000"]
    build += ["--allow_empty_text"]
    vocab_size = args.vocab_size
  else:
    settings = dict(CORPORA[args.size])
    vocab_size = settings.pop("vocab_size")
    build = ["espeak", "--rate", "16000", "--seed", "0"]
    for name, value in settings.items():
      build += [f"--{name}", str(value)]
  text = ["--corpus", str(corpus), "--vocab_size", str(vocab_size)]
  return [
    Command("corpus", ("s02jax", "corpus", *build, "--out", str(corpus))),
    Command("text", ("s02jax", "text", *text)),
  ]


def train_command(args, stage: str, corpus: pathlib.Path) -> Command:
  """Command that trains one stage."""
  overrides = [
    f"--config.{o.removeprefix(stage + '.')}"
    for o in args.set
    if o.startswith(f"{stage}.")
  ]
  return Command(
    stage,
    (
      *("s02jax", "train"),
      f"--config=configs/{stage}.py:{args.size}",
      f"--config.corpus={corpus}",
      f"--workdir={args.workdir / stage}",
      *overrides,
    ),
  )


def phases_of(
  args: argparse.Namespace, times: pathlib.Path
) -> Iterator[tuple[Command, ...]]:
  """Yields the phases of the demo: commands that run at the same time.

  Args:
    args: the demo's own arguments.
    times: file of the seconds that each phase took, for the report.
  """
  corpus, bundle = args.workdir / "corpus", args.workdir / "bundle"
  source = ("--corpus", str(corpus))

  def trained(names: Sequence[str]) -> Iterator[tuple[Command, ...]]:
    commands = [train_command(args, name, corpus) for name in names]
    yield from [tuple(commands)] if side_by_side() else zip(commands)

  def workdirs(names: Sequence[str]) -> list[str]:
    return [x for n in names for x in (f"--{n}", str(args.workdir / n))]

  audio_stages, token_stages = MODELS[:2], MODELS[2:]
  for command in corpus_commands(args, corpus):
    yield (command,)
  yield from trained(audio_stages)
  words = (*source, *workdirs(audio_stages))
  yield (Command("extract", ("s02jax", "extract", *words)),)
  yield from trained(token_stages)
  words = (*source, *workdirs(MODELS), "--out", str(bundle))
  yield (Command("bundle", ("s02jax", "bundle", *words)),)
  words = (
    *source,
    *("--bundle", str(bundle), "--out", str(args.workdir / "report")),
    *("--phases", str(times)),
    *_report_options(args),
    *("--runs", *(str(args.workdir / name) for name in MODELS)),
  )
  yield (Command("report", ("s02jax", "report", *words)),)


def _report_options(args: argparse.Namespace) -> list[str]:
  options = ["--items", str(args.items)] if args.items else []
  if args.size != "test":
    # Models as small as these speak more clearly from likely tokens.
    options += ["--temperature", "0.3"]
    if not args.manifest:  # the requirements are those of the embedded corpus
      options += ["--bars", args.size]
  return options


def _parse(argv: list[str]) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add(
    "--size",
    choices=tuple(CORPORA),
    default="demo",
    help="size of the configs (%(default)s)",
  )
  add(
    "--workdir",
    type=pathlib.Path,
    default="runs/demo",
    help="folder of everything it makes (%(default)s)",
  )
  add("--manifest", help="own recordings instead of espeak")
  add(
    "--vocab_size",
    type=int,
    default=1024,
    help="ids of the text model, with --manifest (%(default)s)",
  )
  add("--items", type=int, help="items per split in the report (the report's)")
  add(
    "--set",
    action="append",
    default=[],
    metavar="STAGE.FIELD=VALUE",
    help="override of a stage's config, e.g. ar.steps=500",
  )
  args = parser.parse_args(argv)
  for override in args.set:
    if override.split(".")[0] not in MODELS:
      raise UserError(
        f"--set {override}: it must begin with one of {', '.join(MODELS)}."
      )
  return args


def main(argv: list[str]) -> None:
  """Runs every phase; see the module docstring."""
  args = _parse(argv)
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the children
  start = time.time()
  args.workdir.mkdir(parents=True, exist_ok=True)
  phases = Phases(args.workdir)
  installation = installation_seconds()
  if installation is not None:
    phases.seconds.setdefault("installation", installation)
  print(f"Size {args.size} in {args.workdir}; logs in {args.workdir}/logs.")
  for commands in phases_of(args, phases.file):
    phases.run(*commands)
  print(f"All phases: {time.time() - start:.0f} s in this call.")
  print(f"Open {(args.workdir / 'report' / 'index.html').resolve()}")


def installation_seconds() -> float | None:
  """Seconds that `make` took to install; None in other environments."""
  try:
    return float((pathlib.Path(sys.prefix) / "ready").read_text())
  except (OSError, ValueError):
    return None


def side_by_side() -> bool:
  """True on a CPU of several cores: stages then share the cores."""
  import jax

  return jax.default_backend() == "cpu" and len(os.sched_getaffinity(0)) > 1


if __name__ == "__main__":
  sys.exit(run(main))
