"""Features of a corpus: written whole or not at all, read by record."""

import json
import pathlib
import pickle

import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.data import features


def write_features(folder, lengths, fail_at=None) -> list:
  rng = np.random.default_rng(0)
  written = []
  with features.FeatureWriter(folder, "train") as writer:
    for index, length in enumerate(lengths):
      if index == fail_at:
        raise KeyboardInterrupt
      codes = rng.integers(0, 2**15, length)
      latents = rng.normal(size=(2 * length, 6)).astype(np.float16)
      writer.write(codes, latents)
      written.append((codes, latents))
  return written


@pytest.fixture
def indexed(tmp_path) -> pathlib.Path:
  (tmp_path / "index").mkdir()
  np.savez(tmp_path / "index" / "train.npz", num_samples=np.zeros(4, np.int32))
  (tmp_path / "features").mkdir()
  card = {"mean": [0.0] * 6, "std": [1.0] * 6}
  (tmp_path / "features" / "card.json").write_text(json.dumps(card))
  return tmp_path


def test_features_round_trip(indexed):
  written = write_features(indexed, [3, 1, 40, 7])
  read = pickle.loads(pickle.dumps(features.Features.open(indexed, "train")))
  assert len(read) == 4
  for index, (codes, latents) in enumerate(written):
    assert read.tokens(index).dtype == np.int32
    assert read.latents(index).dtype == np.float32
    np.testing.assert_array_equal(read.tokens(index), codes)
    np.testing.assert_array_equal(read.latents(index), latents)


def test_missing_features_are_one_sentence(indexed):
  with pytest.raises(UserError, match="s02 extract"):
    features.Features.open(indexed, "train")
  with pytest.raises(UserError, match="--speaker_vectors"):
    features.open_speaker_vectors(indexed, "train")


def test_interrupted_features_are_not_features(indexed):
  with pytest.raises(KeyboardInterrupt):
    write_features(indexed, [3, 1, 40, 7], fail_at=2)
  assert [path.name for path in (indexed / "features").iterdir()] == [
    "card.json"
  ]


def test_features_of_another_corpus_are_refused(indexed):
  write_features(indexed, [3, 1])
  with pytest.raises(UserError, match="has 2 records .* has 4"):
    features.Features.open(indexed, "train")


@pytest.mark.parametrize(
  ("codes", "latents"),
  [([2**15], [[0.0]]), ([-1], [[0.0]]), ([1], [[np.nan]]), ([1], [[1e6]])],
)
def test_features_that_do_not_fit_are_an_error(indexed, codes, latents):
  with (
    pytest.raises(ValueError, match="out of range|not finite"),
    features.FeatureWriter(indexed, "train") as writer,
  ):
    writer.write(codes, latents)


def test_speaker_vectors_round_trip(indexed):
  random = np.random.default_rng(0)
  vectors = random.normal(size=(4, 6)).astype(np.float32)
  parts = np.split(vectors, [1])
  features.write_speaker_vectors(indexed, "train", (4, 6), parts)
  assert features.has_speaker_vectors(indexed, "train")
  read = features.open_speaker_vectors(indexed, "train")
  assert read.dtype == np.float32
  np.testing.assert_array_equal(read, vectors)


def test_speaker_vectors_are_written_whole_or_not_at_all(indexed):
  part = np.zeros((3, 6), np.float32)
  with pytest.raises(ValueError, match="3 speaker vectors for 4 records"):
    features.write_speaker_vectors(indexed, "train", (4, 6), [part])
  assert not features.has_speaker_vectors(indexed, "train")
  features.write_speaker_vectors(indexed, "train", (3, 6), [part])
  with pytest.raises(UserError, match="3 speaker vectors .* 4 records"):
    features.open_speaker_vectors(indexed, "train")
