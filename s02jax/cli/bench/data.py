"""Speech that one core brings to a training step.

  s02 bench data --corpus DIR [--size mini] [--seconds N] [--json FILE]

Decoding alone, decoding and log-mel, and the rows of each stage that the
corpus is ready for, each on one thread for N seconds, as multiples of real
time; and the share of those rows that is padding. Then the cost of planning a
large job: which clips the 64 rows of one host hold in batches of 16,384 rows.
"""

import dataclasses

from s02jax.bench.data import describe, describe_plans, measure, plans
from s02jax.cli import bench
from s02jax.core import files


def main(argv: list[str]) -> int:
  """Measures and prints the speeds of a corpus."""
  parser = bench.parser("data", __doc__)
  parser.add_argument(
    "--corpus", required=True, help="folder of `s02 corpus` and `s02 text`"
  )
  parser.add_argument("--size", default="mini", help="size of the configs")
  parser.add_argument(
    "--seconds", type=float, default=5.0, help="length of each measurement"
  )
  parser.add_argument(
    "--clips", type=int, default=2**20, help="of the planned job (%(default)s)"
  )
  args = parser.parse_args(argv)
  found = measure(args.corpus, args.size, args.seconds)
  print(describe(found))
  planned = plans(
    args.clips, batch_size=2**14, host_rows=64, batches=24, threads=16
  )
  print(describe_plans(planned))
  if args.json:
    files.write_json(args.json, found | {"plans": dataclasses.asdict(planned)})
  return 0
