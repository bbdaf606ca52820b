"""Solve rows by a bundle's flow matching, for a student of few steps.

  s02 distill --config configs/distillation.py:demo --config.corpus=DIR \\
    --config.bundle=BUNDLE [--config.field=value ...]

They go to CORPUS/features/solved; the same command again does nothing. Then
`s02 train` with the same fields trains the student, and `s02 bundle` with its
workdir as --flow_matching makes a bundle that speaks in a few steps. The corpus
needs the tokens and latents of the bundle (`s02 extract`).
"""

from data_pipelines import solving
from s02jax.cli import options
from s02jax.core import startup
from s02jax.training import arguments


def main(argv: list[str]) -> None:
  """Solves the rows of a run."""
  parser = options.parser("distill", __doc__)
  options.describe_config(parser)
  _, rest = parser.parse_known_args(argv)
  startup.set_up()
  config = arguments.parse_with_corpus(rest, "`s02 distill`")
  solving.solve(config)
  print(f"{config.corpus} has the rows that {config.bundle} solved.")
