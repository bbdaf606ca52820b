"""Rows of every kind: pure, of one shape per batch, with true counts."""

import concurrent.futures

import numpy as np
import pytest

from s02jax.core import errors
from s02jax.data.rows.audio_crops import AudioCrops
from s02jax.data.rows.latent_utterances import LatentUtterances
from tests import fakes
from tests.data.rows.makers import BATCH, MAKERS, make, same, utterances


@pytest.mark.parametrize("kind", MAKERS)
def test_rows_are_pure_and_thread_safe(kind):
  _, first = make(kind)
  _, second = make(kind)
  order = np.random.default_rng(1).permutation(160).tolist()
  expected = [first[i] for i in range(160)]
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    found = dict(zip(order, pool.map(second.__getitem__, order), strict=True))
  assert all(same(expected[i], found[i]) for i in range(160))


@pytest.mark.parametrize("kind", MAKERS)
def test_rows_depend_on_the_seed(kind):
  _, first = make(kind, seed=0)
  _, second = make(kind, seed=1)
  assert not all(same(first[i], second[i]) for i in range(16))


@pytest.mark.parametrize("kind", MAKERS)
def test_a_batch_has_one_shape_and_true_counts(kind):
  _, rows = make(kind)
  for step in range(40):
    batch = [rows[step * BATCH + j] for j in range(BATCH)]
    shapes = {tuple((k, v.shape, v.dtype) for k, v in r.items()) for r in batch}
    assert len(shapes) == 1
    for row in batch:
      assert row["audio_seconds"].dtype == row["padding"].dtype == np.float32
      assert 0 <= row["padding"] < 1 and row["audio_seconds"] > 0


def test_empty_split_is_one_sentence():
  with pytest.raises(errors.UserError, match="'train' of fake is empty"):
    AudioCrops(fakes.FakeCorpus(0, 1), BATCH, 0, crop_samples=8)


@pytest.mark.parametrize("kind", ["utterances", "latents"])
def test_too_short_rows_are_one_sentence(kind):
  more = (
    dict(row_seconds=0.1)
    if kind == "utterances"
    else dict(buckets=(0.1,), reference_seconds=1.0)
  )
  corpus = fakes.FakeCorpus(20, 2)
  with pytest.raises(errors.UserError, match="no usable record"):
    if kind == "utterances":
      utterances(corpus, fakes.FakeText(), **more)
    else:
      features = fakes.FakeFeatures(corpus)
      LatentUtterances(corpus, features, BATCH, 0, **more)
