"""Measure a bundle on held-out clips and write a page about it.

  s02 report --bundle DIR --corpus DIR --out DIR [--items N]
    [--runs WORKDIR ...] [--bars demo|mini] [--phases FILE.json]

Writes DIR/index.html, which needs nothing beside it, and DIR/metrics.json.
"""

import argparse
import os
import pathlib
import shlex
from collections.abc import Mapping

from s02jax.cli import options
from s02jax.core import files, startup
from s02jax.core.errors import UserError
from s02jax.data.records import Corpus
from s02jax.evaluation.report import requirements
from s02jax.evaluation.report.measure import SplitResult, Stopwatch, measure
from s02jax.evaluation.report.write import (
  Sources,
  read_curves,
  read_phases,
  write,
)
from s02jax.synthesis.synthesizer import Synthesizer


def _parser() -> argparse.ArgumentParser:
  """Command line of the verb."""
  parser = options.parser("report", __doc__)
  folder = pathlib.Path
  parser.add_argument(
    "--bundle", type=folder, required=True, help="folder of `s02 bundle`"
  )
  parser.add_argument(
    "--corpus", type=folder, required=True, help="folder of `s02 corpus`"
  )
  parser.add_argument(
    "--out", type=folder, required=True, help="folder for page and metrics"
  )
  parser.add_argument(
    "--items", type=int, default=48, help="sentences of unseen speakers"
  )
  parser.add_argument(
    "--seen_items", type=int, help="sentences of seen speakers (half as many)"
  )
  parser.add_argument(
    "--runs", type=folder, nargs="*", default=[], help="workdirs: loss curves"
  )
  parser.add_argument(
    "--bars",
    choices=requirements.SIZES,
    help="size whose requirements are compared",
  )
  parser.add_argument(
    "--phases", type=folder, help='JSON file {"phase": seconds}, shown'
  )
  parser.add_argument("--seed", type=int, default=0, help="seed of every draw")
  options.add_settings(parser)
  parser.add_argument(
    "--workers",
    type=int,
    default=os.cpu_count() or 1,
    help="processes for the judges",
  )
  return parser


def main(argv: list[str]) -> None:
  """Runs `s02 report`."""
  args = _parser().parse_args(argv)
  startup.set_up()
  seen = max(1, args.items // 2) if args.seen_items is None else args.seen_items
  if args.items < 1 or seen < 1 or args.workers < 1:
    raise UserError("--items, --seen_items and --workers must be at least 1.")
  settings = options.settings(args)
  bundle_card = files.read_json(args.bundle / "card.json", "s02 bundle")
  splits = {
    name: Corpus.open(args.corpus, name) for name in ("train", "seen", "unseen")
  }
  if args.bars and not len(splits["unseen"]):
    raise UserError(
      f"--bars is of unseen speakers, of which {args.corpus} has none;"
      " leave it out."
    )
  sources = Sources(
    bundle_card=bundle_card,
    corpus_card=splits["train"].card,
    command=shlex.join(["s02", "report", *argv]),
    phases=read_phases(args.phases),
    runs={_run_name(p): read_curves(p) for p in args.runs},
    size=args.bars,
  )
  watch = Stopwatch()
  with watch.phase("bundle"):
    models = Synthesizer.load(args.bundle)
  results = measure(
    models,
    splits,
    {"unseen": args.items, "seen": seen},
    settings,
    args.workers,
    watch,
  )
  write(args.out, results, sources, settings, models.rate, watch)
  _tell(args.out, results)


def _run_name(workdir: pathlib.Path) -> str:
  """Name of a run on the page."""
  return workdir.resolve().name


def _tell(out: pathlib.Path, results: Mapping[str, SplitResult]) -> None:
  """Prints the main figures, and where the page is."""
  for split, result in results.items():
    for row, figures in result.judgement.figures.items():
      told = "  ".join(
        f"{name} {figures[name].value:.2f}"
        for name in ("dtw_top1", "nearest_speaker", "similarity", "stoi")
        if name in figures and figures[name].value is not None
      )
      print(f"{split:7} {row:13} {told}")
  print(out / "index.html")
