"""`s02 text`: trains a corpus's text model and counts every text's ids."""

import argparse
import io
import pathlib

import numpy as np

from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.text.tokenizer import TextModel, train_model


def main(argv: list[str]) -> None:
  """`s02 text`: trains <corpus>/text.model and counts every text's ids."""
  from s02jax.data.records import SPLITS, Corpus  # the door's view, one up

  parser = argparse.ArgumentParser(
    prog="s02 text", description="Train the text model of a corpus."
  )
  parser.add_argument("--corpus", type=pathlib.Path, required=True)
  parser.add_argument("--vocab_size", type=int, default=512)
  parser.add_argument(
    "--overwrite", action="store_true", help="replace another text model"
  )
  arguments = parser.parse_args(argv)
  corpora = {split: Corpus.open(arguments.corpus, split) for split in SPLITS}
  train = corpora["train"]
  texts = (
    train.text(index) for index in np.flatnonzero(train.text_bytes).tolist()
  )
  data = train_model(texts, arguments.vocab_size)
  path = arguments.corpus / "text.model"
  if path.exists() and path.read_bytes() != data and not arguments.overwrite:
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


def _write_lengths(corpus, model: TextModel, split: str) -> None:
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
