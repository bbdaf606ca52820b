"""Checked reads of records: usable ones, texts, tokens, reference waves."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND, samples
from s02jax.data.features import Features
from s02jax.data.records import Corpus
from s02jax.data.rows import NoRows, pad_to
from s02jax.data.rows.augment import augment
from s02jax.data.rows.draws import random_span
from s02jax.text.tokenizer import TextModel


def check_not_empty(corpus: Corpus) -> None:
  """Raises NoRows for a split without records."""
  if not len(corpus):
    raise NoRows(
      f"the split {corpus.split!r} of {corpus.folder} is empty; build the "
      "corpus with more records."
    )


def usable_records(
  corpus: Corpus, unusable: Mapping[str, np.ndarray], field: str
) -> tuple[np.ndarray, dict[str, int]]:
  """Records that a row can take, and how many are left out for which reason.

  Args:
    corpus: corpus of the records.
    unusable: bool[len(corpus)] by reason; a record counts for the first one.
    field: config field that leaves records out.

  Returns:
    Numbers int[k] of the usable records, and the count of each reason.

  Raises:
    NoRows: no record is usable.
  """
  usable, excluded = np.ones(len(corpus), bool), {}
  for reason, mask in unusable.items():
    excluded[reason] = int((usable & mask).sum())
    usable &= ~mask
  records = np.flatnonzero(usable)
  if not len(records):
    raise NoRows(
      f"the split {corpus.split!r} of {corpus.folder} has no "
      f"usable record: {excluded}; see {field}."
    )
  return records, excluded


def text_pieces(corpus: Corpus, text: TextModel, record: int) -> np.ndarray:
  """Text ids i32[l] of a record's text, without its language tag.

  They lie beside the index, apart from the sound; where they are those of
  another text model, or of no `s02 text` of today, the record is read.

  Raises:
    UserError: the index was counted with another text model.
  """
  ids = corpus.text_ids
  if ids is not None and ids.model == text.fingerprint:
    return ids.read(record)
  pieces = np.array(text.pieces(corpus.text(record)), np.int32)
  if len(pieces) != corpus.text_tokens[record] - 1:
    raise UserError(
      f"the index of {corpus.folder} was made with another text model; run "
      f"`s02 text --corpus {corpus.folder}` again."
    )
  return pieces


def read_tokens(corpus: Corpus, features: Features, record: int) -> np.ndarray:
  """Audio tokens i32[t] of a record.

  Raises:
    UserError: the features belong to another corpus: t is not the length of
      the record.
  """
  tokens = features.tokens(record)
  expected = corpus.num_samples[record] // (corpus.rate // TOKENS_PER_SECOND)
  if len(tokens) != expected:
    raise UserError(
      f"record {record} of {corpus.folder} has {len(tokens)} tokens instead of "
      f"{expected}; run `s02 extract --corpus {corpus.folder}` again."
    )
  return tokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class References:
  """Reference waves of a corpus: crops of random lengths, some augmented."""

  corpus: Corpus
  longest: int  # samples of a reference, n
  shortest: int  # samples, or the clip's where it has fewer
  augmented: float  # share of references that `augment` changes

  @classmethod
  def of(
    cls,
    corpus: Corpus,
    longest: float,
    shortest: float | None,
    augmented: float,
  ) -> "References":
    """References of lengths in seconds; without `shortest` all are longest."""
    shortest = longest if shortest is None else min(shortest, longest)
    return cls(
      corpus=corpus,
      longest=samples(longest, corpus.rate),
      shortest=samples(shortest, corpus.rate),
      augmented=augmented,
    )

  def read(
    self,
    record: int,
    random: np.random.Generator,
    part: slice | None = None,
  ) -> tuple[np.ndarray, int]:
    """Reference wave of a record, and how many of its samples are real.

    Args:
      record: number of the clip.
      random: of the crop.
      part: samples that it is cropped from; all of them where absent.

    Returns:
      f32[longest], the whole clip or a random part of it, then zeros, and the
      number of samples before the zeros.
    """
    size = int(random.integers(self.shortest, self.longest + 1))
    length = int(self.corpus.num_samples[record])
    first, last, _ = (part or slice(None)).indices(length)
    begin, end = random_span(last - first, size, random)
    wave = self.corpus.wave(record, first + begin, first + end)
    if self.augmented and random.random() < self.augmented:
      wave = augment(wave, self.corpus.rate, random)
    return pad_to(wave, self.longest), len(wave)
