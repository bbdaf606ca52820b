"""Rows of flow matching: tokens and latents of one speaker, a reference."""

from collections.abc import Sequence

import numpy as np

from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.data.features import Features
from s02jax.data.mixture import generator
from s02jax.data.records import Corpus
from s02jax.data.rows import Row, make_row, pad_to
from s02jax.data.rows.buckets import Buckets
from s02jax.data.rows.draws import FILL, REFERENCE
from s02jax.data.rows.reading import (
  References,
  check_not_empty,
  read_tokens,
)
from s02jax.data.rows.speakers import SpeakerClips

# Most clips that fill up a row, the reference included.
FILLERS = 32


class LatentUtterances:
  """Rows of one speaker's utterances as tokens and latents, and a reference.

  {"tokens" i32[t], "latents" f32[t·r, c] (zero mean, unit deviation),
  "length" i32 (tokens), "reference" f32[n], "reference_samples" i32}.

  A whole utterance comes first, others of the speaker follow until the row is
  full, as they do after a prompt; the last one is cut off. The reference is
  none of them, where the speaker has enough clips.

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
    usable = self._speakers.clips > 1
    self._buckets = Buckets(corpus, usable, batch_size, seed, buckets, alpha)
    self.excluded = {
      "only clip of its speaker": int((~usable).sum()),
      "too long": self._buckets.too_long,
    }
    card = features.card
    self._per_token = int(card["latents_per_token"])
    self._mean = np.array(card["mean"], np.float32)
    self._std = np.array(card["std"], np.float32)

  def _members(self, index: int) -> tuple[int, list[int], int]:
    """Tokens of a row, the records that fill it, and its reference's record."""
    corpus = self._corpus
    bucket, record = self._buckets.locate(index)
    hop = corpus.rate // TOKENS_PER_SECOND
    size = int(self._buckets.samples[bucket]) // hop
    random = generator(self._seed, FILL, index)
    reference, *others = self._speakers.others(record, random, FILLERS)
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

  def __getitem__(self, index: int) -> Row:
    size, taken, reference = self._members(index)
    tokens = [
      read_tokens(self._corpus, self._features, record) for record in taken
    ]
    tokens = np.concatenate(tokens)[:size].astype(np.int32)
    latents = np.concatenate([self._features.latents(r) for r in taken])
    latents = (latents[: size * self._per_token] - self._mean) / self._std
    wave, samples = self._references.read(
      reference, generator(self._seed, REFERENCE, index)
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
