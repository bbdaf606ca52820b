"""Speech that one core brings to a training step.

  s02 bench data --corpus DIR [--size mini] [--seconds N] [--json FILE]

Decoding alone, decoding and log-mel, and the rows of each stage that the
corpus is ready for, each on one thread for N seconds, as multiples of real
time; and the share of those rows that is padding.
"""

from s02jax.bench.data import describe, measure
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
  args = parser.parse_args(argv)
  found = measure(args.corpus, args.size, args.seconds)
  print(describe(found))
  if args.json:
    files.write_json(args.json, found)
  return 0
