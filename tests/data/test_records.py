"""Reading a corpus: threads, pickling, and what it says when it cannot."""

import concurrent.futures
import json
import pathlib
import pickle
import random

import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.data import records
from tests.corpora import write_noise


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> pathlib.Path:
  out = tmp_path_factory.mktemp("noise") / "corpus"
  write_noise(out)
  return out


def test_corpus_survives_pickling_and_threads(tiny):
  corpus = pickle.loads(pickle.dumps(records.Corpus.open(tiny, "train")))
  expected = [corpus.record(i).wave for i in range(len(corpus))]
  shared = records.Corpus.open(tiny, "train", cache_bytes=100_000)
  order = [random.Random(i).randrange(len(corpus)) for i in range(200)]
  with concurrent.futures.ThreadPoolExecutor(8) as threads:
    for index, wave in zip(order, threads.map(shared.wave, order), strict=True):
      np.testing.assert_array_equal(wave, expected[index])


def test_the_cache_is_bounded():
  cache = records.WaveCache(1000)
  for index in range(50):
    cache.put(index, np.zeros(100, np.int16))
    assert len(cache) <= 1000
  assert cache.get(49) is not None and cache.get(0) is None
  cache.put(99, np.zeros(1000, np.int16))
  assert cache.get(99) is None


def test_what_is_not_there_is_said(tiny, tmp_path):
  with pytest.raises(UserError, match="is not a corpus"):
    records.Corpus.open(tmp_path, "train")
  with pytest.raises(UserError, match="split 'test' is unknown"):
    records.Corpus.open(tiny, "test")
  corpus = records.Corpus.open(tiny, "train")
  for index in (-1, len(corpus)):
    with pytest.raises(IndexError):
      corpus.wave(index)


def test_another_version_is_refused(tiny, tmp_path):
  card = json.loads((tiny / "card.json").read_text()) | {"version": "9.0.0"}
  (tmp_path / "card.json").write_text(json.dumps(card))
  with pytest.raises(UserError, match="version 9.0.0"):
    records.Corpus.open(tmp_path, "train")
