"""Time that counting takes once the judges have spoken.

  s02 bench scoring --data mine.jsonl [--pairs 100000] [--json FILE]

The texts of a manifest (`s02 evaluate --benchmark manifest`) are repeated until
there are enough. Each is "heard" with one place in ten wrong: a word left out,
said twice, or of another text. What is timed is `s02 evaluate --pass score`
itself: reading list and transcripts, checking, both text pipelines, intervals,
tables and page. It runs in one thread.
"""

import dataclasses
import pathlib

from s02jax.bench.scoring import describe, measure
from s02jax.cli import bench, evaluate
from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.evaluation.benchmark import datasets


def main(argv: list[str]) -> int:
  """Measures and prints the time of one scoring pass."""
  parser = bench.parser("scoring", __doc__)
  parser.add_argument(
    "--data", type=pathlib.Path, required=True, help="manifest of texts"
  )
  parser.add_argument(
    "--pairs", type=int, default=100_000, help="texts with transcripts"
  )
  args = parser.parse_args(argv)
  if args.pairs < 1:
    raise UserError(f"--pairs {args.pairs}: give 1 or more.")
  items = datasets.read("manifest", args.data)
  result = measure(items, args.pairs, evaluate.main)
  print(describe(result))
  if args.json:
    files.write_json(args.json, dataclasses.asdict(result))
  return 0
