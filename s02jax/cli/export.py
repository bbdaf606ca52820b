"""Write a folder that speaks where s02jax is not installed.

  s02 export --bundle DIR --out DIR [--platforms cpu,cuda,tpu]
    [--weights float32|bfloat16|int8] [--corpus DIR [--clips 32]]

The folder holds

  card.json          version, sizes, platforms, SHA-256 of every other file
  weights/*.safetensors
  programs/*.bin     StableHLO, by jax.export, one for all platforms
  text.model, voices/
  speak.py           and the code that it needs: with jax, numpy and
  s02_serving/       sentencepiece it runs as it is
  flatbuffers/       library with which jax.export reads programs

Weights smaller than float32 are a matter of storage: they are widened when they
are read. With --corpus, what that costs is measured on held-out clips: nats
per token of the AR model, and how far the log-mel of speech from the
recordings' own tokens moves.
"""

import argparse
import pathlib

from s02jax.bundle import Bundle
from s02jax.cli import options
from s02jax.core import startup, tensors
from s02jax.core.errors import UserError
from s02jax.serving.export import PLATFORMS, write
from s02jax.serving.weight_loss import loss


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("export", __doc__)
  add = parser.add_argument
  folder = pathlib.Path
  add("--bundle", required=True, type=folder, help="folder of `s02 bundle`")
  add("--out", required=True, type=folder, help="folder to write")
  add("--platforms", default=",".join(PLATFORMS), help="separated by commas")
  add(
    "--weights", default="float32", choices=tensors.KINDS, help="stored format"
  )
  add("--corpus", type=folder, help="measure smaller weights on it")
  add("--clips", type=int, default=32, help="clips of the corpus to measure on")
  return parser


def main(argv: list[str]) -> None:
  """Writes the export and prints its size and what small weights cost."""
  args = _parser().parse_args(argv)
  startup.set_up()
  platforms = tuple(args.platforms.split(","))
  for name in platforms:
    if name not in PLATFORMS:
      raise UserError(
        f"--platforms {args.platforms}: {name!r} is none of"
        f" {', '.join(PLATFORMS)}."
      )
  bundle = Bundle.load(args.bundle)
  card = write(
    bundle,
    args.bundle,
    args.out,
    platforms=platforms,
    kind=args.weights,
  )
  stored, code = (
    sum((args.out / name).stat().st_size for name in card[part].values())
    for part in ("weights", "programs")
  )
  print(
    f"Wrote {args.out}: {stored / 2**20:.1f} MiB of weights, and"
    f" {len(card['programs'])} programs for {', '.join(platforms)} in"
    f" {code / 2**20:.1f} MiB."
  )
  if args.corpus is not None:
    found = loss(bundle, args.weights, args.corpus, args.clips)
    print(
      f"{args.weights} on {found.clips} held-out clips: {found.nats_stored:.4f}"
      f" nats a token, float32 {found.nats:.4f}; log-mel of speech from their"
      f" own tokens differs by {found.mel:.4f} nepers"
    )
