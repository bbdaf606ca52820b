"""Proof that a run that is killed again and again loses nothing.

  s02 bench resilience --kills 20 --workdir DIR [--processes 2] [--seed 0] \\
    [--faults] [-- --config configs/STAGE.py:SIZE --config.corpus=DIR ...]

The same training runs twice: once undisturbed, once with signals at seeded
random moments, started again after each. What is compared is the final state,
bit for bit. Moments lie while the processes start, and at random steps of the
run. Signals are a SIGTERM to one process (all save and stop), a kill -9 of one
(the others must end by themselves) and a kill -9 of all. Without a config, the
audio tokenizer trains on a few made-up words. With --faults the second run
begins with a read that fails on one process, restores that fail twice, a disk
that is full, and a node that died holding the lock of the folder.

Writes DIR/resilience.json (or --json) and DIR/logs; the exit code is 1 where a
bit differs, a process outlives a killed one by more than a minute, or takes
longer to save than launchers wait.
"""

import pathlib

from launch import common, local
from s02jax import cli
from s02jax.bench import faults, resilience
from s02jax.cli import bench
from s02jax.core import files


def main(argv: list[str]) -> int:
  """Trains twice and prints whether the two runs are equal."""
  parser = bench.parser("resilience", __doc__)
  add = parser.add_argument
  add("--kills", type=common.positive, default=20, help="signals to send")
  add("--processes", type=common.positive, default=2, help="processes of a run")
  add(
    "--workdir",
    type=pathlib.Path,
    required=True,
    help="folder of both runs and their logs",
  )
  add("--seed", type=int, default=0, help="seed of the signals")
  add("--faults", action="store_true", help="faults of storage first")
  before, flags = common.split(argv)
  args = parser.parse_args(before)
  workdir = args.workdir.absolute()
  workdir.mkdir(parents=True, exist_ok=True)
  flags = flags or resilience.default_training(workdir, args.kills)
  common.check([*flags, f"--workdir={workdir}"])
  found = resilience.measure(
    flags,
    workdir,
    resilience.Launcher(
      processes=args.processes, commands=local.commands, grace=common.GRACE
    ),
    kills=args.kills,
    seed=args.seed,
    tell=cli.tell,
    first=faults.provoke if args.faults else None,
  )
  files.write_json(args.json or workdir / "resilience.json", found)
  print(resilience.summary(found))
  return 0 if resilience.good(found) else 1
