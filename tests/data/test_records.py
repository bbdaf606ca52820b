"""Reading a corpus: threads, pickling, and what it says when it cannot."""

import concurrent.futures
import json
import pathlib
import pickle
import random
import shutil

import numpy as np
import pytest

from data_pipelines import text_model
from s02jax.core.errors import UserError
from s02jax.data import example, records, shards
from s02jax.data.rows import reading
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


def test_a_part_of_a_wave_is_that_of_the_whole(tiny):
  whole = records.Corpus.open(tiny, "train")
  parts = records.Corpus.open(tiny, "train", cache_bytes=0)
  for index in range(len(whole)):
    wave = whole.wave(index)
    assert len(wave) == whole.num_samples[index]
    for begin, end in ((0, 100), (777, 5000), (5000, None), (0, None)):
      np.testing.assert_array_equal(
        parts.wave(index, begin, end), wave[begin:end]
      )
      np.testing.assert_array_equal(
        whole.wave(index, begin, end), wave[begin:end]
      )


def test_records_are_those_that_tensorflow_datasets_reads(tiny):
  import tensorflow_datasets as tfds

  corpus = records.Corpus.open(tiny, "train")
  builder = tfds.builder_from_directory(corpus.files.records)
  for index, row in enumerate(builder.as_data_source("train")):
    found = corpus._read(index)
    texts = {k: v for k, v in row.items() if isinstance(v, bytes)}
    assert len(texts) > 6 and found == texts
  with pytest.raises(ValueError, match="not a record"):
    example.fields(b"\x0anonsense")


def test_texts_have_their_ids_apart_from_the_records(
  tiny, tmp_path, monkeypatch
):
  folder = tmp_path / "corpus"
  shutil.copytree(tiny, folder)
  with pytest.raises(UserError, match="run `s02 text"):
    _ = records.Corpus.open(folder, "train").text_tokens
  assert records.Corpus.open(folder, "train").text_ids is None
  model = text_model.build(folder, 310)
  for split in records.SPLITS:
    corpus = records.Corpus.open(folder, split)
    for index in range(len(corpus)):
      ids = model.pieces(corpus.text(index))
      assert len(ids) == corpus.text_tokens[index] - 1
      found = reading.text_pieces(corpus, model, index)
      assert found.tolist() == ids and found.dtype == np.int32
  for path in corpus.files.records.glob("*.array_record*"):
    path.unlink()  # ids need no record, but those of another model do
  assert len(reading.text_pieces(corpus, model, 0)) > 0
  monkeypatch.setattr(shards, "_readers", shards._Readers())  # none is open
  model.fingerprint = "another"
  with pytest.raises(OSError, match="speech-unseen"):
    reading.text_pieces(corpus, model, 1)


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
