"""Speed of synthesis, and how near it comes to the hardware.

  s02 bench synthesis --config configs/ar.py:small [--config.field=value ...]
    [--streams 1,2,4,8,32] [--tokens N] [--torch] [--json FILE]
  s02 bench synthesis --bundle DIR --reference FILE [--text ...] [--language en]
    [--streams ...] [--json FILE]

With a config, the AR model alone, with random weights: tokens a second of all
streams together, and which part that is of what memory allows, were every
weight and the filled cache read once a step at the speed at which the same
process reads and writes a large array. With a bundle, the whole chain:
real-time factor (seconds of work per second of speech, of all streams together)
and the time until the first sound. Everything is run once before, so that
nothing compiles while it is timed.
"""

import argparse
import dataclasses
from typing import Any

from s02jax.bench.synthesis import (
  decode,
  describe_chain,
  describe_decoding,
  speak,
)
from s02jax.cli import bench, options
from s02jax.core import files, startup
from s02jax.core.errors import UserError
from s02jax.synthesis.store import voice_store
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.training import arguments


def _streams(text: str) -> list[int]:
  try:
    found = [int(x) for x in text.split(",")]
  except ValueError:
    found = []
  if not found or min(found) < 1:
    raise argparse.ArgumentTypeError(f"{text!r} is not like 1,2,8")
  return found


def _parser() -> argparse.ArgumentParser:
  parser = bench.parser("synthesis", __doc__)
  options.describe_config(parser)
  add = parser.add_argument
  add(
    "--streams",
    type=_streams,
    default=[1, 2, 4, 8, 32],
    metavar="N,N,…",
    help="numbers of requests at once (default: 1,2,4,8,32)",
  )
  add("--tokens", type=int, default=128, help="tokens of each stream")
  add("--torch", action="store_true", help="and PyTorch decoding the same")
  add("--bundle", help="measure the whole chain of a bundle, not a config")
  add("--reference", help="recording of a voice, for the chain")
  add("--text", default="The light in the house is on.", help="text to say")
  add("--language", default="en", help="language of the text")
  return parser


def main(argv: list[str]) -> int:
  """Measures and prints the AR model's decoding, or a bundle's whole chain."""
  parser = _parser()
  args, rest = parser.parse_known_args(argv)
  startup.use_compilation_cache()
  if args.bundle is None:
    name, config = arguments.parse_config(
      rest, f"`{parser.prog}`", options.names(parser)
    )
    bandwidth, found = decode(config, args.streams, args.tokens, args.torch)
    print(describe_decoding(name, bandwidth, found, args.tokens))
    out: dict[str, Any] = {"config": name, "memory_bandwidth": bandwidth}
  else:
    if args.reference is None:
      raise UserError("--bundle needs a --reference, a recording of a voice.")
    synthesizer = Synthesizer.load(args.bundle)
    voice, _ = voice_store.recorded(synthesizer, [args.reference], None)
    found = speak(synthesizer, voice, args.text, args.language, args.streams)
    print(describe_chain(args.bundle, found))
    out = {"bundle": args.bundle, "text": args.text}
  if args.json:
    files.write_json(
      args.json, out | {"streams": [dataclasses.asdict(x) for x in found]}
    )
  return 0
