"""`s02 bench WHAT …`: measurements, each of which says what it computed."""

import argparse
import importlib
import pathlib

from s02jax.core.errors import UserError

BENCHES = {
  "step": "a train step against a matrix product of the same process",
  "data": "decoding, features and rows against real time",
  "synthesis": "decoding against memory, real-time factor, first sound",
  "endurance": "one engine under many requests, good and absurd; long texts",
  "scoring": "error rates of many transcripts",
  "resilience": "a run that is killed again and again loses nothing",
}


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
  """A parser with what every measurement has.

  Args:
    name: among BENCHES.
    doc: of its module.
  """
  out = argparse.ArgumentParser(
    prog=f"s02 bench {name}",
    description=doc,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  out.add_argument("--json", type=pathlib.Path, help="also write it there")
  return out


def main(argv: list[str]) -> int:
  """Runs one of BENCHES."""
  if not argv or argv[0] in ("-h", "--help"):
    lines = [f"  {name:<12}{what}" for name, what in BENCHES.items()]
    print("\n".join(["usage: s02 bench WHAT [ARGUMENTS]", "", *lines]))
    return 0
  if argv[0] not in BENCHES:
    raise UserError(
      f"there is no benchmark {argv[0]!r}; they are {', '.join(BENCHES)}."
    )
  return importlib.import_module(f"s02jax.bench.{argv[0]}").main(argv[1:])
