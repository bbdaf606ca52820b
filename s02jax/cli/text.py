"""Train the text model of a corpus and count every text's ids.

  s02 text --corpus corpus --vocab_size 512

Writes text.model into the corpus, and the number of ids of every text into its
index.
"""

import argparse
import io
import pathlib

import numpy as np

from s02jax.cli import options
from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.data.records import SPLITS, Corpus
from s02jax.text.tokenizer import TextModel, train_model


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
  corpora = {split: Corpus.open(args.corpus, split) for split in SPLITS}
  train = corpora["train"]
  texts = (
    train.text(index) for index in np.flatnonzero(train.text_bytes).tolist()
  )
  data = train_model(texts, args.vocab_size)
  path = args.corpus / "text.model"
  if path.exists() and path.read_bytes() != data and not args.overwrite:
    raise UserError(
      f"{path} exists and differs, and models trained on it need it as it is:"
      " pass --overwrite to replace it"
    )
  model = TextModel(data)
  for split, corpus in corpora.items():
    _write_lengths(corpus, model, split)
  with files.explain_errors(path, "the text model"):
    files.write_bytes(path, data)
  print(f"Wrote {path}: {model.size} ids.")


def _write_lengths(corpus: Corpus, model: TextModel, split: str) -> None:
  lengths = [
    len(model.encode(record, corpus.languages[language]))
    for record, language in zip(
      map(corpus.text, range(len(corpus))), corpus.language, strict=True
    )
  ]
  buffer = io.BytesIO()
  np.save(buffer, np.array(lengths, np.int32))
  path = corpus.folder / "index" / f"{split}.text_tokens.npy"
  with files.explain_errors(path, "the lengths of the texts"):
    files.write_bytes(path, buffer.getvalue())
