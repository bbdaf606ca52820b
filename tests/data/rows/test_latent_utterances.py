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


def test_latents_are_of_one_speaker_and_the_reference_is_another_clip():
  corpus, rows = make("latents", speakers=60)
  alone = np.bincount(corpus.speaker)[corpus.speaker] == 1
  assert rows.excluded["only clip of its speaker"] == alone.sum() > 0
  for i in range(200):
    row = rows[i]
    n, records = int(row["length"]), rows.records(i)
    tokens = corpus.num_samples[records] // fakes.HOP
    assert not alone[records[0]] and len(set(records)) == len(records)
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
