"""Endurance of one engine under many requests, good and absurd.

  s02 bench endurance --bundle DIR --reference FILE [--reference FILE ...]
    [--requests 1000] [--replays 64] [--characters 30000] [--seed 0]
    [--json FILE]

Requests of random words in all languages of the bundle, voices, settings and
changes; some are cancelled midway, some make no sense. Each must end as sound
or as one sentence. Some that spoke are then spoken again with nobody beside
them, and the two compared. Memory is read after every tenth of the requests,
and after every tenth of a long text.
"""

import argparse

from data_pipelines import words
from s02jax import cli
from s02jax.bench import endurance
from s02jax.bundle import Bundle
from s02jax.cli import bench
from s02jax.core import files, languages, startup
from s02jax.core.errors import UserError
from s02jax.synthesis import long_text
from s02jax.synthesis.store import voice_store
from s02jax.synthesis.synthesizer import Synthesizer


def _parser() -> argparse.ArgumentParser:
  parser = bench.parser("endurance", __doc__)
  add = parser.add_argument
  add("--bundle", required=True, help="folder of `s02 bundle`")
  add(
    "--reference",
    required=True,
    action="append",
    metavar="FILE",
    help="recording of a speaker; may be given several times",
  )
  add("--requests", type=int, default=1000, help="how many are sent")
  add("--replays", type=int, default=64, help="how many are repeated alone")
  add("--characters", type=int, default=30_000, help="length of the long text")
  add("--seed", type=int, default=0, help="seed of the requests")
  return parser


def _vocabulary(code: str) -> tuple[str, ...]:
  return words.first_words(languages.BY_CODE[code], 40)


def main(argv: list[str]) -> int:
  """Sends the requests and prints what became of them."""
  args = _parser().parse_args(argv)
  for name in ("requests", "replays", "characters"):
    if getattr(args, name) < 1:
      raise UserError(f"--{name} must be at least 1.")
  startup.use_compilation_cache()
  bundle = Bundle.load(args.bundle)
  synthesizer = Synthesizer(bundle)
  waves = [
    voice_store.reference(file, synthesizer.rate) for file in args.reference
  ]
  found = endurance.measure(
    synthesizer,
    waves,
    _vocabulary,
    requests=args.requests,
    replays=args.replays,
    characters=args.characters,
    context=long_text.trained_context(bundle),
    seed=args.seed,
    tell=cli.tell,
  )
  if args.json:
    files.write_json(args.json, found)
  return 0
