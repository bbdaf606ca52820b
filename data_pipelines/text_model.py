"""Text model of a corpus: trained on its texts, all of which it then counts."""

import io
import pathlib
from collections.abc import Mapping

import numpy as np

from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.data import text_ids
from s02jax.data.records import SPLITS, Corpus
from s02jax.text.tokenizer import TextModel, train_model

# Texts that a text model is trained on; more hardly change it, and take memory.
SAMPLE = 1_000_000


def build(
  folder: pathlib.Path,
  vocab_size: int,
  overwrite: bool = False,
  data: bytes | None = None,
) -> TextModel:
  """Trains the text model and writes it, with the lengths of all texts.

  Args:
    folder: corpus folder, which gets text.model and index/*.text_tokens.npy.
    vocab_size: ids of the text model.
    overwrite: replace another text model that is there.
    data: the text model, serialised, where none is to be trained.

  Raises:
    UserError: no such corpus, another text model is there, or the folder
      cannot be written.
  """
  corpora = {split: Corpus.open(folder, split) for split in SPLITS}
  train = corpora["train"]
  if data is None:
    chosen = _sample(np.flatnonzero(train.text_bytes))
    data = train_model(map(train.text, chosen.tolist()), vocab_size)
  path = train.files.text_model
  if path.exists() and path.read_bytes() != data and not overwrite:
    raise UserError(
      f"{path} exists and differs, and models trained on it need it as it is:"
      " pass --overwrite to replace it"
    )
  return _write(corpora, data)


def _sample(records: np.ndarray) -> np.ndarray:
  """At most SAMPLE of some records, drawn at random and in order, int[k]."""
  if len(records) <= SAMPLE:
    return records
  chosen = np.random.default_rng(0).choice(records, SAMPLE, replace=False)
  return np.sort(chosen)


def adopt(folder: pathlib.Path, data: bytes) -> TextModel:
  """Gives a corpus the text model of a bundle, with the lengths of its texts.

  Args:
    folder: corpus folder, which gets text.model and index/*.text_tokens.npy.
    data: the text model, serialised.

  Raises:
    UserError: no such corpus, or the folder cannot be written.
  """
  corpora = {split: Corpus.open(folder, split) for split in SPLITS}
  return _write(corpora, data)


def _write(corpora: Mapping[str, Corpus], data: bytes) -> TextModel:
  """Writes a text model into a corpus, after the lengths of all texts."""
  model = TextModel(data)
  for corpus in corpora.values():
    _write_lengths(corpus, model)
  path = corpora["train"].files.text_model
  with files.explain_errors(path, "the text model"):
    files.write_bytes(path, data)
  return model


def _write_lengths(corpus: Corpus, model: TextModel) -> None:
  """Writes ids and their number of every text of a split into its index."""
  for code in corpus.languages:
    model.language_id(code)  # complains where the model has no such tag
  ids = map(model.pieces, map(corpus.text, range(len(corpus))))
  path = corpus.files.text_tokens(corpus.split)
  with files.explain_errors(path, "the ids of the texts"):
    lengths = text_ids.write(
      corpus.folder, corpus.split, ids, model.size, model.fingerprint
    )
    buffer = io.BytesIO()
    np.save(buffer, lengths + np.int32(1))  # with the language's tag
    files.write_bytes(path, buffer.getvalue())
