"""Speed of a train step, and how near it comes to the hardware.

  s02 bench step --config configs/ar.py:small [--config.field=value ...]
    [--rows N] [--steps N] [--torch] [--json FILE]

The step is the one `s02 train` runs once all its losses have started, on rows
without padding made of noise, so that nothing is waited for. Utilisation is
the stage's model FLOPs over the best float32 (CPU) or bfloat16 matrix product
of this process, and over the maker's figure where the device is known.
"""

import dataclasses

from s02jax.bench.step import describe, measure
from s02jax.cli import bench, options
from s02jax.core import files, startup
from s02jax.training import arguments


def main(argv: list[str]) -> int:
  """Measures and prints one train step."""
  parser = bench.parser("step", __doc__)
  options.describe_config(parser)
  parser.add_argument("--rows", type=int, help="of a batch (the config's)")
  parser.add_argument("--steps", type=int, default=5, help="steps to time")
  parser.add_argument(
    "--torch", action="store_true", help="and the same step in PyTorch (AR)"
  )
  args, rest = parser.parse_known_args(argv)
  startup.use_compilation_cache()
  name, config = arguments.parse_config(
    rest, f"`{parser.prog}`", options.names(parser)
  )
  rows = args.rows or config.batch_size
  result = measure(config, name, rows, args.steps, args.torch)
  print(describe(result))
  if args.json:
    files.write_json(args.json, dataclasses.asdict(result))
  return 0
