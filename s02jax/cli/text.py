"""Train the text model of a corpus and count every text's ids.

  s02 text --corpus corpus --vocab_size 512

Writes text.model into the corpus, and the number of ids of every text into its
index.
"""

import argparse
import pathlib

from data_pipelines import text_model
from s02jax.cli import options


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("text", __doc__)
  add = parser.add_argument
  add(
    "--corpus",
    type=pathlib.Path,
    required=True,
    help="folder of `s02 corpus`",
  )
  add("--vocab_size", type=int, default=512, help="ids of the text model")
  add("--overwrite", action="store_true", help="replace another text model")
  return parser


def main(argv: list[str]) -> None:
  """Trains the text model and writes it with the lengths of all texts."""
  args = _parser().parse_args(argv)
  model = text_model.build(args.corpus, args.vocab_size, args.overwrite)
  print(f"Wrote {args.corpus / 'text.model'}: {model.size} ids.")
