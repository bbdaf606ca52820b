"""Corpora that adapt a bundle: its sample rate, text model, tokens, latents.

Every part is skipped where it is there already, so the same call goes on where
a stopped one was.

Shape letters: v ids of the text model, a audio tokens, d width, n new pieces.
"""

import collections
import dataclasses
import os
import pathlib
import shutil
from collections.abc import Sequence

import numpy as np

from data_pipelines import corpus_writer, extract, manifest, text_model
from s02jax.bundle import Bundle, with_languages
from s02jax.core.errors import UserError
from s02jax.data.records import SPLITS, Corpus, CorpusFiles
from s02jax.stages.ar import text_rates
from s02jax.text.tokenizer import TextModel, grow_model, is_tag

FEWEST = 2  # clips to train on: one is heard as the reference of the other
# Shares held out where there is one speaker, who must stay in train.
_HELD_OUT = 0.05


def prepare(
  bundle: Bundle,
  source: pathlib.Path,
  out: pathlib.Path,
  processes: int,
  tell: corpus_writer.Tell,
  new_language: bool = False,
) -> pathlib.Path:
  """Makes recordings ready to adapt a bundle; returns the corpus's folder.

  Args:
    bundle: that is adapted.
    source: manifest, as `s02 corpus manifest` reads it; or the folder of a
      corpus, which is not written to.
    out: folder of the corpus that is made.
    processes: processes that decode.
    tell: gets lines for people.
    new_language: the bundle's text model may not know the language yet;
      `grown` gives the corpus one that does.

  Raises:
    UserError: a manifest without usable recordings, or with a single one.
  """
  if source.is_dir():
    shadow(source, out, None if new_language else bundle.text_model)
  else:
    arguments = manifest.ManifestArguments(
      rate=bundle.rate, unseen_speakers=0.0, held_out_texts=_HELD_OUT
    )
    manifest.build(source, arguments, out, processes, tell)
    if not new_language:
      _adopt(out, bundle.text_model)
  found = len(Corpus.open(out, "train"))
  if found < FEWEST:
    raise UserError(
      f"{source} gives {found} usable clip{'s' * (found != 1)} to train on;"
      f" give at least {FEWEST}, better some minutes: one is heard as the"
      " reference of another."
    )
  extract.extract_by(str(out), bundle)
  return out


def _adopt(corpus: pathlib.Path, data: bytes) -> None:
  """Gives a corpus a text model, serialised, unless it has it."""
  path = CorpusFiles(corpus).text_model
  if not path.is_file() or path.read_bytes() != data:
    text_model.adopt(corpus, data)


def shadow(
  corpus: pathlib.Path, out: pathlib.Path, data: bytes | None
) -> pathlib.Path:
  """Makes a folder of another's records, with a text model of its own.

  Args:
    corpus: folder that the records and their features stay in.
    out: folder to make; its large files are links.
    data: the text model, serialised, if it is known yet.

  Raises:
    UserError: `corpus` is no corpus.
  """
  old, new = CorpusFiles(corpus.absolute()), CorpusFiles(out)
  Corpus.open(corpus, "train")
  for split in SPLITS:
    new.index(split).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(old.index(split), new.index(split))
  links = [(old.card, new.card), (old.records.parent, new.records.parent)]
  for target, link in links:
    if not link.exists():
      os.symlink(target, link)
  if data is not None:
    _adopt(out, data)
  return out


def rehearsal(
  corpus: pathlib.Path, out: pathlib.Path, bundle: Bundle
) -> pathlib.Path:
  """Makes the corpus that a bundle was trained on ready to be rehearsed."""
  shadow(corpus, out, bundle.text_model)
  extract.extract_by(str(out), bundle)
  return out


def grown(bundle: Bundle, corpus: pathlib.Path, pieces: int) -> Bundle:
  """Bundle that knows the letters and words of a new language's corpus.

  The corpus gets its text model, and its languages their pace.

  Args:
    bundle: that is adapted; its ids stay.
    corpus: folder of the new language's recordings.
    pieces: most text pieces that are added.
  """
  train = Corpus.open(corpus, "train")
  texts = [train.text(i) for i in range(len(train))]
  data, added = grow_model(bundle.text_model, texts, pieces, train.languages)
  _adopt(corpus, data)
  _, rates = text_rates(Corpus.open(corpus, "train"))
  params = dict(bundle.params)
  tree = dict(params["ar"]["params"])
  tree["embed"] = {
    "embedding": grow_embedding(
      tree["embed"]["embedding"],
      TextModel(bundle.text_model),
      [piece.replace("\u2581", " ") for piece in added],
    )
  }
  params["ar"] = {"params": tree}
  ar = dict(bundle.configs["ar"])
  ar["model"] = dict(ar["model"]) | {
    "text_size": ar["model"]["text_size"] + len(added),
    "text_rates": [*(dict(rates) | dict(ar["model"]["text_rates"])).items()],
  }
  return dataclasses.replace(
    bundle,
    params=params,
    configs={**bundle.configs, "ar": ar},
    text_model=data,
    card=with_languages(bundle.card, train.languages),
  )


def grow_embedding(
  table: np.ndarray, model: TextModel, added: Sequence[str]
) -> np.ndarray:
  """Joint embeddings f32[v + n + a, d] with rows for new text pieces.

  A new row is the mean of the rows that spelt the piece before; that of a tag
  is the mean of the other languages' tags.

  Args:
    table: f32[v + a, d], text ids first.
    model: before it has grown, of v ids.
    added: texts of the new pieces, and tags.
  """
  spelt = (model.tags() if is_tag(x) else model.pieces(x) for x in added)
  rows = [table[ids].mean(axis=0) for ids in spelt]
  fresh = np.array(rows, np.float32).reshape(-1, table.shape[1])
  return np.concatenate([table[: model.size], fresh, table[model.size :]])


def emotions(corpus: pathlib.Path) -> dict[str, int]:
  """Number of clips to train on of every emotion, "" left out."""
  train = Corpus.open(corpus, "train")
  counts = collections.Counter(train.emotion(i) for i in range(len(train)))
  return {name: counts[name] for name in sorted(counts) if name}
