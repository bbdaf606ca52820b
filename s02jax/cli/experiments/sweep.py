"""Train the runs of a sweep by any launcher, and compare them.

  s02 sweep --sweep configs/sweeps/ar_rate_width.py:demo --workdir DIR \\
    [--config.field=value ...] [--launcher local] [[--] options of the launcher]

Each run lies in DIR/NAME, a name made of its overrides alone. Finished runs
are skipped and begun ones go on, so the same command does what is missing.
Fields given here hold for all runs. `--dry-run` prints what would run;
`python -m launch.LAUNCHER --help` says what else a launcher takes.

slurm and jobset take all runs at once and train later: `--collect` gathers
what there is by then. DIR gets results.jsonl, results.md and results.png.
"""

import argparse
import functools
import logging
import pathlib
from collections.abc import Sequence

from launch import jobset, local, slurm, tpu_vm
from s02jax import cli
from s02jax.cli import options
from s02jax.core.errors import UserError
from s02jax.experiments import sweep_table
from s02jax.experiments.sweep import Run, claim, launch_all, read

LAUNCHERS = {"local": local, "slurm": slurm, "jobset": jobset, "tpu_vm": tpu_vm}


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("sweep", __doc__, allow_abbrev=False)
  parser.add_argument(
    "--sweep", required=True, metavar="FILE[:SIZE]", help="file of the sweep"
  )
  parser.add_argument(
    "--workdir", type=pathlib.Path, required=True, help="folder of all runs"
  )
  parser.add_argument(
    "--launcher", choices=LAUNCHERS, default="local", help="where it trains"
  )
  parser.add_argument(
    "--collect", action="store_true", help="launch nothing, gather results"
  )
  parser.add_argument_group(
    "config", "--config.FIELD=VALUE    a field of the config, for all runs"
  )
  return parser


def main(argv: list[str]) -> int:
  """Launches the runs, or gathers their results; returns the exit code."""
  logging.basicConfig(format="%(message)s")
  fields, others = options.config_fields(argv)
  args, rest = _parser().parse_known_args([w for w in others if w != "--"])
  launcher = LAUNCHERS[args.launcher]
  runs = read(args.sweep, args.workdir, fields)
  if args.collect:
    return _collect(args.workdir, runs)
  choices = launcher.parser().parse_args(rest)
  if getattr(choices, "name", None):
    raise UserError(
      f"--name {choices.name}: leave it out of a sweep, whose runs are named "
      "after a folder each."
    )
  launch = functools.partial(launcher.launch, choices)
  if choices.dry_run:
    return launch_all(runs, launch, cli.tell)
  claim(args.workdir, args.sweep)
  code = launch_all(runs, launch, cli.tell)
  if launcher.DETACHED:
    print("Handed over; --collect gathers the results when they have trained.")
    return code
  return code or _collect(args.workdir, runs)


def _collect(workdir: pathlib.Path, runs: Sequence[Run]) -> int:
  results = [
    sweep_table.read(r.name, r.overrides, r.workdir, r.step(), r.steps)
    for r in runs
  ]
  sweep_table.write_all(workdir, results, cli.tell)
  return 0
