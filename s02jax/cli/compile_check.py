"""Ask XLA's compilers whether a config compiles, fits and fills a TPU or a GPU.

No TPU and no GPU is needed.

  s02 compile-check --config configs/ar.py:large --topology v5p:8x8x16 \\
    [--rows_per_device N] [--slices N] [--fast] \\
    [--config.field=value ...] [--json FILE]
  s02 compile-check --config configs/ar.py:large --topology h200:64
  s02 compile-check --table docs/scale.md

Compiles the train step itself, with the shapes of the longest rows (as many as
config.batch_size says, unless told how many of a device), and prints what a
device holds, computes, moves and sends, by `s02jax.compiler.roofline`. Values
that only a corpus knows (vocabularies, latent channels) are taken from the
stage's `assume`.
With `--fast` the compiler spends less on each kernel and keeps less in the
memory beside the matrix unit: it is done sooner, what it holds and sends is
about the same, and it moves more through HBM than the run would.
Topologies are KIND:AxB or KIND:AxBxC of a TPU's chips, KIND one of v4, v5e,
v5p, v6e, tpu7x, or KIND:COUNT of GPUs in nodes of eight, KIND one of h100,
h200. Of a GPU's memory a step may hold the 75 % that JAX takes where nothing is
said; launchers give it 90 %. The workspace of cuDNN and the buffers of NCCL are
not counted: without a GPU nobody knows them.

Exit codes: 0 it fits, 1 it does not, 2 wrong input, 3 the compiler failed, for
another reason than want of memory. Runs on Linux on x86-64. TPUs need libtpu:
`make tpu` in a clone, `pip install 's02jax[tpu]'` elsewhere, or its file named
by $TPU_LIBRARY_PATH. GPUs need JAX's CUDA plugin: `make cuda` in a clone.
"""

import argparse
import pathlib
import sys

import jax

from s02jax import cli
from s02jax.cli import options
from s02jax.compiler import table
from s02jax.compiler.check import FAILED, CompilerError, check, describe
from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.training import arguments


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("compile-check", __doc__)
  options.describe_config(parser)
  add = parser.add_argument
  add("--topology", metavar="KIND:SHAPE", help="as v5p:8x8x16, h200:64")
  add(
    "--rows_per_device", type=int, help="rows of the batch (the config's share)"
  )
  add("--slices", type=int, default=1, help="slices along the data axis")
  add("--fast", action="store_true", help="compile with less optimization")
  add(
    "--json", type=pathlib.Path, metavar="FILE", help="also write the figures"
  )
  add(
    "--table",
    type=pathlib.Path,
    metavar="FILE",
    help="measure every stage and size into a table, and nothing else",
  )
  return parser


def main(argv: list[str]) -> int:
  """Compiles a step, or fills the table; returns the exit code."""
  try:
    return _main(argv)
  except CompilerError as error:
    print(f"s02: {error}", file=sys.stderr)
    return FAILED


def _main(argv: list[str]) -> int:
  parser = _parser()
  args, rest = parser.parse_known_args(argv)
  jax.config.update("jax_platforms", "cpu")
  if args.table:
    _check_alone(argv)
    return table.write(args.table, cli.tell)
  if not args.topology:
    raise UserError(
      "compile-check needs --topology, e.g. v5p:8x8x16 or h200:64."
    )
  name, config = arguments.parse_config(
    rest, f"`{parser.prog}`", options.names(parser)
  )
  report = check(
    config, name, args.topology, args.rows_per_device, args.slices, args.fast
  )
  print(describe(report))
  if args.json:
    files.write_json(args.json, report.to_json())
  return 0 if report.memory.fits else 1


def _check_alone(argv: list[str]) -> None:
  """Raises UserError where anything stands beside --table FILE."""
  only = argparse.ArgumentParser(add_help=False)
  only.add_argument("--table")
  _, others = only.parse_known_args(argv)
  if others:
    raise UserError(
      f"--table takes no other argument; leave out {' '.join(others)}."
    )
