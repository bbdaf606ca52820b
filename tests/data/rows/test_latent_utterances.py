"""Latents of flow matching: one speaker, another clip as the reference."""

import numpy as np
import pytest

from s02jax.core import errors
from s02jax.data.rows.latent_utterances import LatentUtterances
from tests import fakes
from tests.data.rows.makers import BATCH, check_reference, make


def test_buckets_come_by_their_share():
  corpus, rows = make("latents")
  short = np.mean(
    corpus.num_samples[corpus.num_samples <= 60 * fakes.HOP] <= 30 * fakes.HOP
  )
  sizes = [len(rows[s * BATCH]["tokens"]) for s in range(430)]
  found = np.mean(np.array(sizes) == 30)
  assert found == pytest.approx(short, abs=0.03)


def alone(corpus) -> np.ndarray:
  """Records that are the only ones of their speakers, bool[records]."""
  return np.bincount(corpus.speaker)[corpus.speaker] == 1


def test_latents_are_of_one_speaker_and_the_reference_is_another_clip():
  corpus, rows = make("latents", speakers=60)
  for i in range(200):
    row = rows[i]
    n, records = int(row["length"]), rows.records(i)
    if alone(corpus)[records[0]]:
      continue
    tokens = corpus.num_samples[records] // fakes.HOP
    assert len(set(records)) == len(records)
    assert len(set(corpus.speaker[records])) == 1
    size = len(row["tokens"])
    # The first is whole, all are in their order, the last is cut off.
    assert tokens[0] <= size and tokens[:-1].sum() < size
    assert n == min(tokens.sum(), size)
    expected = np.repeat(records, tokens)[:size]
    assert (row["tokens"][:n] == expected).all()
    assert (row["tokens"][n:] == 0).all()
    latents = row["latents"]
    assert latents.shape == (2 * size, fakes.CHANNELS)
    np.testing.assert_allclose(latents[: 2 * n, 0], np.repeat(expected, 2))
    assert (latents[2 * n :] == 0).all()
    check_reference(
      corpus,
      row["reference"],
      row["reference_samples"],
      set(records),
      records[0],
    )


class Rising(fakes.FakeCorpus):
  """Corpus whose samples count up in every wave."""

  def wave(self, i, begin=0, end=None):
    return np.arange(self.num_samples[i], dtype=np.float32)[begin:end]


class RisingFeatures(fakes.FakeFeatures):
  """Features whose tokens and latents count up in every record."""

  card = fakes.FakeFeatures.card | {"mean": [0.0] * 3, "std": [1.0] * 3}

  def tokens(self, i):
    return np.arange(self.counts[i], dtype=np.int32)

  def latents(self, i):
    count = np.arange(2 * self.counts[i], dtype=np.float32)
    return np.repeat(count[:, None], fakes.CHANNELS, 1)


@pytest.mark.parametrize("speakers", [60, 200])
def test_the_only_clip_of_a_speaker_is_utterance_and_reference(speakers):
  corpus = Rising(200, speakers)
  if speakers == 200:
    corpus.speaker = np.arange(200, dtype=np.int32)  # nobody has a second
  rows = LatentUtterances(
    corpus,
    RisingFeatures(corpus),
    BATCH,
    0,
    buckets=(1.2, 2.4, 3.6),
    reference_seconds=1.0,
  )
  lonely = alone(corpus)
  short = lonely & (corpus.num_samples < 2 * fakes.RATE)
  assert rows.excluded["only clip of its speaker, and short"] == short.sum() > 0
  seen, first = set(), set()
  for i in range(400):
    row, (record, *_) = rows[i], rows.records(i)
    assert not short[record]
    if not lonely[record]:
      continue
    seen.add(record)
    n, samples = int(row["length"]), int(row["reference_samples"])
    whole = corpus.num_samples[record] // fakes.HOP
    tokens, wave = row["tokens"][:n], row["reference"][:samples]
    assert n + samples // fakes.HOP == whole and samples > 0
    assert n >= whole // 2
    heard = set((wave.astype(int) // fakes.HOP).tolist())
    assert heard | set(tokens.tolist()) == set(range(whole))
    assert not heard & set(tokens.tolist())
    np.testing.assert_array_equal(
      row["latents"][: 2 * n, 0], 2 * np.repeat(tokens, 2) + [0, 1] * n
    )
    first.add(int(tokens[0]) == 0)
  assert len(seen) == (lonely & ~short).sum() > 3
  assert first == {True, False}


def test_rows_of_latents_are_full_where_speakers_have_clips():
  _, rows = make("latents", n=400, speakers=20)
  assert np.mean([rows[i]["padding"] for i in range(200)]) < 0.01


def test_features_of_another_corpus_are_one_sentence():
  corpus = fakes.FakeCorpus(200, 20)
  features = fakes.FakeFeatures(corpus)
  features.counts = features.counts + 1
  rows = LatentUtterances(
    corpus, features, BATCH, 0, buckets=(1.2, 2.4), reference_seconds=1.0
  )
  with pytest.raises(errors.UserError, match="s02 extract --corpus fake"):
    rows[0]
