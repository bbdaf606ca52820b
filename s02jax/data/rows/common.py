"""Rows of every stage: pure functions of (seed, index).

`rows[index]` computes which records it takes, which other clip of the speaker
is the reference, and which crop, from its index alone. The rows of one global
batch, those with equal `index // batch_size`, have one shape. Every row says
how many seconds of speech it trains on, "audio_seconds", and which share of
it is padding, "padding".

Shape letters: n samples, t tokens, r latents per token, c channels, s tokens
of a packed row, m segments of a packed row, l text tokens.
"""

import numpy as np

from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.data.mixture import (
  Mixture,
  generator,
)
from s02jax.data.records import Corpus
from s02jax.text.tokenizer import TextModel

Row = dict[str, np.ndarray]
# What a generator is for, so that no two uses draw the same numbers.
_MIX, CROP, BUCKETS, REFERENCE, PLAN, SHUFFLE, FILL = range(7)


def make_row(audio_seconds: float, padding: float, **values) -> Row:
  return values | {
    "audio_seconds": np.float32(audio_seconds),
    "padding": np.float32(padding),
  }


def pad_to(x: np.ndarray, length: int) -> np.ndarray:
  """Zeros after x [k, …] up to [length, …]."""
  out = np.zeros((length, *x.shape[1:]), x.dtype)
  out[: len(x)] = x
  return out


def random_crop(
  wave: np.ndarray, samples: int, random: np.random.Generator
) -> np.ndarray:
  """At most `samples` samples from anywhere in `wave`."""
  spare = max(len(wave) - samples, 0)
  start = int(random.integers(spare + 1))
  return wave[start : start + samples]


def check_not_empty(corpus: Corpus) -> None:
  if not len(corpus):
    raise UserError(
      f"the split {corpus.split!r} of {corpus.folder} is empty; build the "
      "corpus with more records, or leave the split out of "
      "config.eval_splits."
    )


def make_mixture(
  corpus: Corpus, records: np.ndarray, seed: int, alpha: float, *path: int
) -> Mixture:
  stream = int(generator(seed, _MIX, *path).integers(2**31))
  return Mixture(records, corpus.language, corpus.num_samples, stream, alpha)


def text_pieces(
  corpus: Corpus, text: TextModel, record: int, words: str
) -> np.ndarray:
  """i32[l], the ids of a text, as many as the index says."""
  pieces = np.array(text.pieces(words), np.int32)
  if len(pieces) != corpus.text_tokens[record] - 1:
    raise UserError(
      f"the index of {corpus.folder} was made with another text model; run "
      f"`s02 text --corpus {corpus.folder}` again."
    )
  return pieces


def read_reference(
  corpus: Corpus, record: int, samples: int, random: np.random.Generator
) -> tuple[np.ndarray, int]:
  """A clip, or a part of a long one, padded to `samples`; and its length."""
  wave = random_crop(corpus.wave(record), samples, random)
  return pad_to(wave, samples), len(wave)


def check_tokens(corpus: Corpus, found: int, record: int) -> None:
  expected = corpus.num_samples[record] // (corpus.rate // TOKENS_PER_SECOND)
  if found != expected:
    raise UserError(
      f"record {record} of {corpus.folder} has {found} tokens instead of "
      f"{expected}; run `s02 extract --corpus {corpus.folder}` again."
    )
