"""`s02 compile-check`: does a config compile, fit and fill a TPU? Asked of the
TPU compiler, which needs no TPU.

  s02 compile-check --config configs/ar.py:large --topology v5p:8x8x16 \\
    [--rows_per_device N] [--slices N] [--fast] \\
    [--config.field=value ...] [--json FILE]
  s02 compile-check --table docs/scale.md

Compiles the train step itself, with the shapes of the longest rows (as many as
config.batch_size says, unless told how many of a device), and prints what a
device holds, computes, moves and sends, by `s02jax.compiler.roofline`. Values
that only a corpus knows (vocabularies, latent channels) are taken from the
stage's `assume`.
With `--fast` the compiler spends less on each kernel and keeps less in the
memory beside the matrix unit: it is done sooner, what it holds and sends is
about the same, and it moves more through HBM than the run would.
Topologies are KIND:AxB or KIND:AxBxC of chips, KIND one of v4, v5e, v5p, v6e,
tpu7x.

Exit codes: 0 it fits, 1 it does not, 2 wrong input, 3 the compiler failed, for
another reason than want of memory. Needs libtpu, on Linux: `pip install
's02jax[tpu]'`, or its file named by $TPU_LIBRARY_PATH.
"""

import argparse
import dataclasses
import json
import pathlib
import sys

import jax

from s02jax.compiler.check import FAILED, CompilerError, check, describe
from s02jax.core.errors import UserError
from s02jax.training import arguments


def main(argv: list[str]) -> int:
  """`s02 compile-check`."""
  try:
    return _main(argv)
  except CompilerError as error:
    print(f"s02: {error}", file=sys.stderr)
    return FAILED


def _main(argv: list[str]) -> int:
  parser = argparse.ArgumentParser(
    prog="s02 compile-check",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("--topology")
  parser.add_argument("--rows_per_device", type=int)
  parser.add_argument("--slices", type=int, default=1)
  parser.add_argument("--fast", action="store_true")
  parser.add_argument("--json", type=pathlib.Path)
  parser.add_argument("--table", type=pathlib.Path)
  args, rest = parser.parse_known_args(argv)
  jax.config.update("jax_platforms", "cpu")
  if args.table:
    _check_alone(argv)
    from s02jax.compiler import table as scale_table

    return scale_table.write(args.table)
  if not args.topology:
    raise UserError("compile-check needs --topology, e.g. v5p:8x8x16.")
  name, config = arguments.parse_config(rest, f"`{parser.prog}`")
  report = check(
    config,
    name,
    args.topology,
    args.rows_per_device,
    args.slices,
    args.fast,
  )
  print(describe(report))
  if args.json:
    args.json.write_text(json.dumps(dataclasses.asdict(report), indent=2))
  return 0 if report.fits else 1


def _check_alone(argv: list[str]) -> None:
  """Raises UserError where anything stands beside --table FILE."""
  table = argparse.ArgumentParser(add_help=False)
  table.add_argument("--table")
  _, others = table.parse_known_args(argv)
  if others:
    raise UserError(
      f"--table takes no other argument; leave out {' '.join(others)}."
    )
