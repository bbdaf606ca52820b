"""`s02 sweep`: trains the runs of a sweep by any launcher, and compares them.

  s02 sweep --sweep configs/sweeps/NAME.py:SIZE --workdir DIR \\
    [--config.field=value ...] [--launcher local] [[--] options of the launcher]

Each run lies in DIR/NAME, a name made of its overrides alone. Finished runs
are skipped and begun ones go on, so the same command does what is missing.
Fields given here hold for all runs. `--dry-run` prints what would run.

slurm and jobset take all runs at once and train later: `--collect` gathers
what there is by then. DIR gets results.jsonl, results.md and results.png.
"""

import argparse
import importlib
import pathlib
from collections.abc import Sequence

from s02jax.core.errors import UserError
from s02jax.experiments import sweep_table
from s02jax.experiments.sweep import LAUNCHERS, Run, claim, launch_all, read


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="s02 sweep",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  parser.add_argument("--sweep", required=True, help="FILE.py or FILE.py:SIZE")
  parser.add_argument("--workdir", type=pathlib.Path, required=True)
  parser.add_argument(
    "--launcher", choices=LAUNCHERS, default="local", help="(%(default)s)"
  )
  parser.add_argument(
    "--collect", action="store_true", help="launch nothing, gather results"
  )
  return parser


def main(argv: list[str]) -> int:
  """The verb."""
  fields = [word for word in argv if word.startswith("--config.")]
  others = [word for word in argv if word not in (*fields, "--")]
  args, rest = _parser().parse_known_args(others)
  launcher = importlib.import_module(f"launch.{args.launcher}")
  for field in fields:
    if "=" not in field:
      raise UserError(f"{field}: give it as {field}=VALUE.")
  runs = read(args.sweep, args.workdir, fields)
  if args.collect:
    return _collect(args.workdir, runs)
  options = launcher.parser().parse_args(rest)
  if getattr(options, "name", None):
    raise UserError(
      f"--name {options.name}: leave it out of a sweep, whose runs are named "
      "after a folder each."
    )
  if options.dry_run:
    return launch_all(runs, launcher, options)
  claim(args.workdir, args.sweep)
  code = launch_all(runs, launcher, options)
  if launcher.DETACHED:
    print("Handed over; --collect gathers the results when they have trained.")
    return code
  return code or _collect(args.workdir, runs)


def _collect(workdir: pathlib.Path, runs: Sequence[Run]) -> int:
  rows = [
    sweep_table.row(r.name, r.overrides, r.workdir, r.step(), r.steps)
    for r in runs
  ]
  sweep_table.write_all(workdir, rows)
  return 0
