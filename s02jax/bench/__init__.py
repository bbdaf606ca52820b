"""`s02 bench WHAT …`: measurements, each of which says what it computed."""

import importlib

from s02jax.errors import UserError

BENCHES = {
  "step": "a train step against a matrix product of the same process",
  "data": "decoding, features and rows against real time",
  "resilience": "a run that is killed again and again loses nothing",
}


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
