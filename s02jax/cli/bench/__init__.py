"""Measure this machine; each measurement says what it computed.

  s02 bench step --config configs/ar.py:demo

The measurements are
"""

import argparse
import importlib
import pathlib

from s02jax.cli import options
from s02jax.core.errors import UserError
from s02jax.core.inputs import hint

BENCHES = {
  "step": "a train step against a matrix product of the same process",
  "data": "decoding, features and rows against real time",
  "synthesis": "decoding against memory, real-time factor, first sound",
  "endurance": "one engine under many requests, good and absurd; long texts",
  "serving": "a server under users who come by chance, as users do",
  "alignment": "times of words against those of espeak-ng",
  "scoring": "error rates of many transcripts",
  "resilience": "a run that is killed again and again loses nothing",
}


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
  """Argument parser of one measurement, with --json.

  Args:
    name: one of BENCHES.
    doc: docstring of its module, the help text.
  """
  out = options.parser(f"bench {name}", doc)
  out.add_argument(
    "--json", type=pathlib.Path, metavar="FILE", help="also write the figures"
  )
  return out


def usage() -> str:
  """Help text of `s02 bench` without a measurement."""
  lines = [f"  {name:<12}{line}" for name, line in BENCHES.items()]
  return "\n".join(
    [
      "usage: s02 bench MEASUREMENT [ARGUMENTS]",
      "",
      __doc__ or "",
      *lines,
      "",
      "s02 bench MEASUREMENT --help says more",
    ]
  )


def main(argv: list[str]) -> int:
  """Runs one of BENCHES; returns its exit code."""
  if not argv or argv[0] in ("-h", "--help"):
    print(usage())
    return 0
  if argv[0] not in BENCHES:
    raise UserError(
      f"there is no benchmark {argv[0]!r}{hint(argv[0], BENCHES)}; they are"
      f" {', '.join(BENCHES)}."
    )
  module = importlib.import_module(f"s02jax.cli.bench.{argv[0]}")
  return module.main(argv[1:])
