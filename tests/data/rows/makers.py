"""Rows of every kind over a fake corpus."""

import numpy as np

from s02jax.data.rows.audio_crops import AudioCrops
from s02jax.data.rows.latent_utterances import LatentUtterances
from s02jax.data.rows.packed_sequences import PackedSequences
from s02jax.data.rows.packed_utterances import PackedUtterances
from tests import fakes

BATCH = 4
MAKERS = ("crops", "utterances", "latents", "packed")


def make(kind: str, seed: int = 0, n: int = 200, speakers: int = 20, **more):
  """Returns a fake corpus and its rows of one kind."""
  corpus = fakes.FakeCorpus(n, speakers)
  features, text = fakes.FakeFeatures(corpus), fakes.FakeText()
  common = dict(batch_size=BATCH, seed=seed) | more
  if kind == "crops":
    return corpus, AudioCrops(corpus, **common, crop_samples=20 * fakes.HOP)
  if kind == "utterances":
    return corpus, utterances(corpus, text, **common)
  if kind == "latents":
    rows = LatentUtterances(
      corpus, features, **common, buckets=(1.2, 2.4), reference_seconds=1.0
    )
    return corpus, rows
  return corpus, packed(corpus, **common)


def utterances(corpus, text, **more) -> PackedUtterances:
  """Packed utterances over a fake corpus."""
  settings = dict(
    batch_size=BATCH,
    seed=0,
    row_seconds=4.8,
    max_segments=60,
    reference_seconds=1.0,
  )
  return PackedUtterances(corpus, text, **settings | more)


RATES = {"en": 0.25, "es": 0.5, "de": 0.75}


def packed(corpus, **more) -> PackedSequences:
  """Packed rows over a fake corpus."""
  settings = dict(
    batch_size=BATCH,
    seed=0,
    row_tokens=256,
    max_segments=5,
    reference_seconds=1.0,
    prompt_probability=0.4,
    rate=RATES.__getitem__,
  )
  return PackedSequences(
    corpus, fakes.FakeFeatures(corpus), fakes.FakeText(), **settings | more
  )


def same(a, b) -> bool:
  """True for rows of equal arrays."""
  return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def check_reference(corpus, wave, samples, besides, record):
  """Checks a reference: a clip of the speaker of `record`, not in `besides`."""
  assert len(wave) == 25 * fakes.HOP
  other = fakes.record_of(wave[:samples])
  assert samples > 0 and (other == other[0]).all()
  assert (wave[samples:] == 0).all()
  assert samples == min(corpus.num_samples[other[0]], len(wave))
  assert other[0] not in besides
  assert corpus.speaker[other[0]] == corpus.speaker[record]
