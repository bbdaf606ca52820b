"""Rows of flow matching: tokens and latents of one speaker, a reference."""

from collections.abc import Sequence

import numpy as np

from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.data.features import Features
from s02jax.data.mixture import generator
from s02jax.data.records import Corpus
from s02jax.data.rows import Row, make_row, pad_to
from s02jax.data.rows.buckets import Buckets
from s02jax.data.rows.draws import FILL, HALVES, REFERENCE
from s02jax.data.rows.reading import (
  References,
  check_not_empty,
  read_tokens,
)
from s02jax.data.rows.speakers import SpeakerClips

# Most clips that fill up a row, the reference included.
FILLERS = 32
# Seconds of a clip that is the only one of its speaker, at least: the half that
# becomes the reference has to tell a voice.
ALONE_SECONDS = 2.0


class LatentUtterances:
  """Rows of one speaker's utterances as tokens and latents, and a reference.

  {"tokens" i32[t], "latents" f32[t·r, c] (zero mean, unit deviation),
  "length" i32 (tokens), "reference" f32[n], "reference_samples" i32}.

  A whole utterance comes first, others of the speaker follow until the row is
  full, as they do after a prompt; the last one is cut off. The reference is
  none of them. The only clip of a speaker is cut in two: one half or less is
  the reference, the other part the utterance.

  Attributes:
    excluded: number of records left out, by reason.
  """

  def __init__(
    self,
    corpus: Corpus,
    features: Features,
    batch_size: int,
    seed: int,
    buckets: Sequence[float],
    reference_seconds: float,
    reference_shortest: float | None = None,
    reference_augmented: float = 0.0,
    alpha: float = 1.0,
  ):
    check_not_empty(corpus)
    self.batch_size = batch_size
    self._corpus = corpus
    self._features = features
    self._seed = seed
    self._speakers = SpeakerClips(corpus.speaker)
    self._references = References.of(
      corpus, reference_seconds, reference_shortest, reference_augmented
    )
    usable = (self._speakers.clips > 1) | (
      corpus.num_samples >= ALONE_SECONDS * corpus.rate
    )
    self._buckets = self._sorted(usable, batch_size, seed, buckets, alpha)
    self.excluded = {
      "only clip of its speaker, and short": int((~usable).sum()),
      "too long": self._buckets.too_long,
    }
    card = features.card
    self._per_token = int(card["latents_per_token"])
    self._mean = np.array(card["mean"], np.float32)
    self._std = np.array(card["std"], np.float32)

  def _sorted(self, usable, batch_size, seed, buckets, alpha) -> Buckets:
    """Sorts the usable records into buckets."""
    return Buckets(self._corpus, usable, batch_size, seed, buckets, alpha)

  def _tokens_of(self, bucket: int) -> int:
    """Tokens of the rows of a bucket."""
    hop = self._corpus.rate // TOKENS_PER_SECOND
    return int(self._buckets.samples[bucket]) // hop

  def _members(self, index: int) -> tuple[int, list[int], int]:
    """Tokens of a row, the records that fill it, and its reference's record."""
    corpus = self._corpus
    bucket, record = self._buckets.locate(index)
    hop = corpus.rate // TOKENS_PER_SECOND
    size = self._tokens_of(bucket)
    random = generator(self._seed, FILL, index)
    others = self._speakers.others(record, random, FILLERS)
    reference = others.pop(0) if others else record
    room = size - corpus.num_samples[record] // hop
    taken = [record]
    for other in others:
      if room <= 0:
        break
      taken.append(other)
      room -= corpus.num_samples[other] // hop
    return size, taken, reference

  def records(self, index: int) -> list[int]:
    """Numbers of the records in a row, without its reference."""
    return self._members(index)[1]

  def _parts(self, count: int, index: int) -> tuple[slice, slice]:
    """Tokens of the utterance and of the reference in one clip of `count`."""
    hop = self._corpus.rate // TOKENS_PER_SECOND
    held = min(count // 2, max(self._references.longest // hop, 1))
    if generator(self._seed, HALVES, index).random() < 0.5:
      return slice(held, count), slice(0, held)
    return slice(0, count - held), slice(count - held, count)

  def __getitem__(self, index: int) -> Row:
    size, taken, reference = self._members(index)
    tokens = np.concatenate(
      [read_tokens(self._corpus, self._features, r) for r in taken]
    )
    latents = np.concatenate([self._features.latents(r) for r in taken])
    heard = None  # samples of the reference's record, all of them
    if reference in taken:
      told, heard = self._parts(len(tokens), index)
      tokens = tokens[told]
      latents = latents[_times(told, self._per_token)]
      heard = _times(heard, self._corpus.rate // TOKENS_PER_SECOND)
    tokens = tokens[:size].astype(np.int32)
    latents = (latents[: size * self._per_token] - self._mean) / self._std
    wave, samples = self._references.read(
      reference, generator(self._seed, REFERENCE, index), heard
    )
    return make_row(
      audio_seconds=len(tokens) / TOKENS_PER_SECOND,
      padding=1 - len(tokens) / size,
      tokens=pad_to(tokens, size),
      latents=pad_to(latents.astype(np.float32), size * self._per_token),
      length=np.int32(len(tokens)),
      reference=wave,
      reference_samples=np.int32(samples),
    )


def _times(part: slice, factor: int) -> slice:
  """Slice of items of which each is so many times as short."""
  return slice(part.start * factor, part.stop * factor)
