"""Train an ablation's variants and print the paper's table beside ours.

  s02 ablate resynthesis --corpus DIR --out DIR [--size demo]
  s02 ablate latents --corpus DIR --base DIR --out DIR [--vaes DIR]
  s02 ablate speaker-conditioning --corpus DIR --base DIR --out DIR
  s02 ablate emotion-reference --corpus DIR --base DIR --out DIR
  s02 ablate solver-steps --corpus DIR --base DIR --out DIR

The variants are in configs/ablations/NAME.py: one config, one budget, and what
is changed. Finished runs are skipped and begun ones go on, so the same command
does what is missing. `--config.field=value` holds for all variants.

The stages that are not varied are those of --base, a folder with their
workdirs, as the demo leaves it.

OUT/runs has a workdir for each variant; OUT/table.md and OUT/table.json hold
our figures with the paper's beside them, on speakers that no stage has heard,
or on new sentences of the others where a corpus has no such speaker.
"""

import argparse
import dataclasses
import os
import pathlib
import shlex
from collections.abc import Sequence

from data_pipelines import extract, solving
from launch import local
from s02jax import cli
from s02jax.cli import options
from s02jax.core import startup
from s02jax.core.errors import UserError
from s02jax.experiments import ablation_table, sweep
from s02jax.experiments.ablation import (
  SUBJECTS,
  AblationJob,
  Tools,
  compare,
  load,
  names,
)
from s02jax.training import arguments


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("ablate", __doc__, allow_abbrev=False)
  folder = pathlib.Path
  add = parser.add_argument
  add("name", choices=names(), help="which ablation")
  add("--corpus", type=folder, required=True, help="folder of `s02 corpus`")
  add("--out", type=folder, required=True, help="folder for runs and table")
  add("--base", type=folder, help="folder with workdirs of the other stages")
  add("--vaes", type=folder, help="OUT of `resynthesis`, for `latents`")
  add("--size", default="demo", help="size of the configs")
  add("--cases", type=int, help="clips to judge (those of the ablation)")
  add(
    "--workers",
    type=int,
    default=os.cpu_count() or 1,
    help="processes for the judges",
  )
  parser.add_argument_group(
    "config", "--config.FIELD=VALUE    a field of the config, for all variants"
  )
  return parser


def main(argv: list[str]) -> None:
  """Trains the variants, judges them, writes and prints the table."""
  fields, others = options.config_fields(argv)
  args = _parser().parse_args(others)
  if args.workers < 1 or (args.cases is not None and args.cases < 1):
    raise UserError("--cases and --workers must be at least 1.")
  startup.set_up()
  name = args.name.replace("-", "_")
  ablation = load(name, args.size)
  if args.cases is not None:
    ablation = dataclasses.replace(ablation, cases=args.cases)
  args.out.mkdir(parents=True, exist_ok=True)
  sweep.claim(args.out, f"{name}.py:{args.size}")
  job = AblationJob(
    ablation=ablation,
    tools=Tools(
      launch=_launch,
      extract=extract.extract,
      extract_speakers=extract.extract_speaker_vectors,
      solve=_solve,
      tell=cli.tell,
    ),
    corpus=args.corpus,
    out=args.out,
    fields=fields,
    base=args.base,
    vaes=args.vaes,
  )
  table = compare(job, SUBJECTS[name](job), args.workers)
  command = shlex.join(["s02", "ablate", *argv])
  text = ablation_table.write(args.out, {"command": command} | table)
  print(f"{text}{args.out / 'table.md'}")


def _solve(words: Sequence[str]) -> None:
  """Solves rows by the arguments of `s02 distill`."""
  solving.solve(arguments.parse_with_corpus(list(words), "`s02 distill`"))


def _launch(training: Sequence[str]) -> int:
  """Trains one run as one process of this machine; returns its exit code."""
  return local.launch(local.parser().parse_args([]), training)
