"""`s02 ablate`: trains an ablation's variants, prints the paper's table.

  s02 ablate resynthesis --corpus DIR --out DIR [--size demo]
  s02 ablate latents --corpus DIR --base DIR --out DIR [--vaes DIR]
  s02 ablate speaker-conditioning --corpus DIR --base DIR --out DIR

The variants are in configs/ablations/NAME.py: one config, one budget, and what
is changed. Finished runs are skipped and begun ones go on, so the same command
does what is missing. `--config.field=value` holds for all variants.

The stages that are not varied are those of --base, a folder with their
workdirs, as the demo leaves it.

OUT/runs has a workdir for each variant; OUT/table.md and OUT/table.json hold
our figures with the paper's beside them.
"""

import argparse
import dataclasses
import os
import pathlib
import shlex

from s02jax.core import startup
from s02jax.core.errors import UserError
from s02jax.experiments import ablation_table, sweep
from s02jax.experiments.ablation import SUBJECTS, Job, compare, load, names

# --------------------------------------------------------------------- door


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="s02 ablate",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  folder = pathlib.Path
  parser.add_argument("name", choices=names(), help="which ablation")
  parser.add_argument(
    "--corpus", type=folder, required=True, help="folder of `s02 corpus`"
  )
  parser.add_argument(
    "--out", type=folder, required=True, help="folder for runs and table"
  )
  parser.add_argument(
    "--base", type=folder, help="folder with workdirs of the other stages"
  )
  parser.add_argument(
    "--vaes", type=folder, help="OUT of `resynthesis`, for `latents`"
  )
  parser.add_argument("--size", default="demo", help="of the configs (demo)")
  parser.add_argument("--cases", type=int, help="clips that are judged")
  parser.add_argument(
    "--workers",
    type=int,
    default=os.cpu_count() or 1,
    help="processes for the judges",
  )
  return parser


def main(argv: list[str]) -> None:
  """The verb."""
  fields = [word for word in argv if word.startswith("--config.")]
  args = _parser().parse_args([word for word in argv if word not in fields])
  for field in fields:
    if "=" not in field:
      raise UserError(f"{field}: give it as {field}=VALUE.")
  if args.workers < 1 or (args.cases is not None and args.cases < 1):
    raise UserError("--cases and --workers must be at least 1.")
  startup.set_up()
  name = args.name.replace("-", "_")
  ablation = load(name, args.size)
  if args.cases is not None:
    ablation = dataclasses.replace(ablation, cases=args.cases)
  args.out.mkdir(parents=True, exist_ok=True)
  sweep.claim(args.out, f"{name}.py:{args.size}")
  job = Job(
    ablation=ablation,
    corpus=args.corpus,
    out=args.out,
    fields=fields,
    base=args.base,
    vaes=args.vaes,
  )
  table = compare(job, SUBJECTS[name](job), args.workers)
  command = shlex.join(["s02", "ablate", *argv])
  ablation_table.write(args.out, {"command": command} | table)
