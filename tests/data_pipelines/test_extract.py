"""Extraction: padding reaches nothing, statistics are right, work is kept."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from data_pipelines import extract
from data_pipelines.extract import Moments, batches, features
from s02jax.core import places
from s02jax.core.errors import UserError
from s02jax.core.shard import Shard
from s02jax.data.features import Features, open_speaker_vectors
from s02jax.data.records import SPLITS, Corpus
from s02jax.pretrained import ge2e
from s02jax.synthesis.batching import Batch
from s02jax.synthesis.render.codecs import TokenizerCodec, VaeCodec
from s02jax.training.trained import Trained
from tests import tiny

LENGTHS = (25, 33, 50, 60, 61, 12)  # tokens


@pytest.fixture(scope="module")
def codecs():
  stages = tiny.stages()
  return TokenizerCodec(*stages["audio_tokenizer"]), VaeCodec(
    *stages["flow_vae"]
  )


@pytest.fixture(scope="module")
def waves():
  return [tiny.wave(n / 25 + 0.01, seed) for seed, n in enumerate(LENGTHS)]


def test_batches_hold_each_wave_once_in_few_shapes(waves):
  cut = [w[: len(w) // tiny.SAMPLES * tiny.SAMPLES] for w in waves] * 9
  made = list(batches(cut, tiny.SAMPLES))
  seen = np.concatenate([batch.indices for batch in made])
  assert sorted(seen.tolist()) == list(range(len(cut)))
  assert len({batch.values.shape for batch in made}) <= 4
  for batch in made:
    assert batch.values.size <= extract.BATCH_TOKENS * tiny.SAMPLES
    for row, length, i in zip(
      batch.values, batch.lengths, batch.indices, strict=False
    ):
      np.testing.assert_array_equal(row[:length], cut[i])
      assert not row[length:].any()


def test_results_equal_those_of_unpadded_waves(codecs, waves):
  tokenizer, vae = codecs
  together = features(waves, tokenizer, vae)
  for i in (1, 3):
    wave = waves[i][: LENGTHS[i] * tiny.SAMPLES]
    alone = Batch(
      indices=np.array([0]),
      values=wave[None],
      lengths=np.array([len(wave)], np.int32),
    )
    tokens, mean, sigma = together[i]
    assert len(tokens) == LENGTHS[i]
    assert mean.shape == sigma.shape == (2 * LENGTHS[i], 16)
    np.testing.assert_array_equal(tokens, tokenizer.encode_batch(alone)[0])
    own_mean, own_sigma = vae.posterior_batch(alone)[0]
    np.testing.assert_allclose(mean, own_mean, atol=1e-4)
    np.testing.assert_allclose(sigma, own_sigma, rtol=1e-3)


def test_moments_are_those_of_samples():
  random = np.random.default_rng(0)
  means = [random.normal(2, 3, size=(n, 4)) for n in (300, 500)]
  sigmas = [random.uniform(0.5, 2, size=m.shape) for m in means]
  moments = Moments()
  for mean, sigma in zip(means, sigmas, strict=True):
    moments.add(mean, sigma)
  mean, sigma = np.concatenate(means), np.concatenate(sigmas)
  z = mean + sigma * random.normal(size=(2000, *mean.shape))
  np.testing.assert_allclose(moments.mean, z.mean((0, 1)), atol=0.02)
  np.testing.assert_allclose(moments.std, z.std((0, 1)), rtol=0.01)
  # The spread of the means alone is visibly less.
  assert (moments.std > 1.05 * mean.std(0)).all()


# ------------------------------------------------------------------ whole runs


class FakeCorpus:
  """Split of a corpus that holds the waves above."""

  rate = tiny.RATE

  def __init__(self, waves):
    self.waves = waves
    self.num_samples = np.array([len(w) for w in waves], np.int32)

  def __len__(self):
    return len(self.waves)

  def wave(self, i):
    return self.waves[i]


@pytest.fixture
def corpus(tmp_path, monkeypatch, waves):
  """Corpus folder with indices, over fake records and checkpoints."""
  splits = {"train": waves, "seen": waves[:2], "unseen": []}
  (tmp_path / "index").mkdir()
  for name, of_split in splits.items():
    counts = np.array([len(w) for w in of_split], np.int32)
    np.savez(tmp_path / "index" / f"{name}.npz", num_samples=counts)

  def trained(workdir, stage):
    config, params = tiny.stages()[stage]
    return Trained(
      stage=stage,
      step=int(pathlib.Path(workdir).name),
      config=config,
      params=params,
      metrics={},
    )

  monkeypatch.setattr(
    Corpus, "open", lambda folder, split: FakeCorpus(splits[split])
  )
  monkeypatch.setattr(Trained, "load", trained)
  return tmp_path


def test_features_come_back_as_written(corpus, codecs, waves):
  extract.extract(corpus, "10", "20")
  for split, count in zip(SPLITS, (6, 2, 0), strict=True):
    assert len(Features.open(corpus, split)) == count
  read = Features.open(corpus, "train")
  moments = Moments()
  for i, (tokens, mean, sigma) in enumerate(features(waves, *codecs)):
    np.testing.assert_array_equal(read.tokens(i), tokens)
    np.testing.assert_allclose(read.latents(i), mean, rtol=2e-3, atol=1e-3)
    moments.add(mean, sigma)
  np.testing.assert_allclose(read.card["mean"], moments.mean, rtol=1e-6)
  np.testing.assert_allclose(read.card["std"], moments.std, rtol=1e-6)
  assert read.card["num_codes"] == 64
  assert read.card["channels"] == 16
  assert read.card["latents_per_token"] == 2
  assert read.card["latent_rate"] == 50


def test_the_same_checkpoints_are_not_extracted_again(
  corpus, monkeypatch, caplog
):
  extract.extract(corpus, "10", "20")
  stamp = (corpus / "features" / "card.json").stat().st_mtime_ns
  with caplog.at_level("INFO"):
    extract.extract(corpus, "10", "20")
  assert "nothing to do" in caplog.text
  assert (corpus / "features" / "card.json").stat().st_mtime_ns == stamp
  extract.extract(corpus, "11", "20")
  card = json.loads((corpus / "features" / "card.json").read_text())
  assert card["sources"]["audio_tokenizer"]["step"] == 11


def cut_at(monkeypatch, number: int) -> list:
  """Interrupts that batch of features, from now on; the list of all."""
  calls = []

  def counted(*args):
    calls.append(args)
    if len(calls) == number:
      raise KeyboardInterrupt
    return features(*args)

  monkeypatch.setattr(extract, "features", counted)
  return calls


def test_a_run_cut_short_leaves_no_features(corpus, monkeypatch):
  extract.extract(corpus, "10", "20")
  cut_at(monkeypatch, 2)
  with pytest.raises(KeyboardInterrupt):
    extract.extract(corpus, "11", "20")
  with pytest.raises(UserError, match="s02 extract"):
    Features.open(corpus, "train")
  assert not list((corpus / "features").glob(".*"))


@pytest.fixture
def in_pieces(monkeypatch):
  """Pieces of two records, so that `train` has three of them."""
  monkeypatch.setattr(extract, "PIECE", 2)


def read_all(corpus):
  """Card and arrays of all features of the corpus."""
  card = json.loads((corpus / "features" / "card.json").read_text())
  found = {}
  for split in SPLITS:
    read = Features.open(corpus, split)
    found[split] = [
      (read.tokens(i).tolist(), read.latents(i).tolist())
      for i in range(len(read))
    ]
  return card, found


def test_pieces_together_are_the_whole(corpus, monkeypatch):
  extract.extract(corpus, "10", "20")
  whole, records = read_all(corpus)
  shutil.rmtree(corpus / "features")
  monkeypatch.setattr(extract, "PIECE", 2)
  extract.extract(corpus, "10", "20")
  card, found = read_all(corpus)
  assert found == records
  for name in ("mean", "std"):
    np.testing.assert_allclose(card.pop(name), whole.pop(name), rtol=1e-12)
  assert card == whole
  assert not (corpus / "features" / "pieces").exists()


def test_hosts_extract_a_part_each_to_the_same_bytes(corpus, in_pieces):
  extract.extract(corpus, "10", "20")
  alone = read_all(corpus)
  shutil.rmtree(corpus / "features")
  for part in ("2/2", "1/2"):
    extract.extract(corpus, "10", "20", Shard.parse(part))
    with pytest.raises(UserError, match="s02 extract"):
      Features.open(corpus, "train")
  extract.extract(corpus, "10", "20")
  assert read_all(corpus) == alone


def test_a_join_cut_short_goes_on(corpus, in_pieces, monkeypatch):
  extract.extract(corpus, "10", "20")
  whole = read_all(corpus)
  shutil.rmtree(corpus / "features")
  move, moved = places.move, []

  def cut(part, name):
    moved.append(part)
    if len(moved) == 5:
      raise KeyboardInterrupt
    move(part, name)

  monkeypatch.setattr(places, "move", cut)
  with pytest.raises(KeyboardInterrupt):
    extract.extract(corpus, "10", "20")
  monkeypatch.setattr(places, "move", move)
  monkeypatch.setattr(extract, "features", lambda *_: pytest.fail("anew"))
  extract.extract(corpus, "10", "20")
  assert read_all(corpus) == whole


def test_an_extraction_cut_short_goes_on(corpus, in_pieces, monkeypatch):
  extract.extract(corpus, "10", "20")
  whole = read_all(corpus)
  shutil.rmtree(corpus / "features")
  calls = cut_at(monkeypatch, 3)
  with pytest.raises(KeyboardInterrupt):
    extract.extract(corpus, "10", "20")
  extract.extract(corpus, "10", "20")
  # Two pieces were whole; seen is one more, and unseen has no record.
  assert len(calls) == 3 + 2
  assert read_all(corpus) == whole
  # Pieces of other checkpoints are not taken for these.
  with pytest.raises(KeyboardInterrupt):
    calls.clear()
    extract.extract(corpus, "11", "20")
  calls.clear()
  monkeypatch.setattr(extract, "features", features)
  extract.extract(corpus, "10", "20")
  assert read_all(corpus) == whole


def test_another_sample_rate_is_one_sentence(corpus, monkeypatch):
  monkeypatch.setattr(FakeCorpus, "rate", 24000)
  with pytest.raises(UserError, match="16000 Hz.*24000 Hz"):
    extract.extract(corpus, "10", "20")


def test_a_folder_that_cannot_be_written_is_one_sentence(corpus):
  shutil.rmtree(corpus / "features", ignore_errors=True)
  (corpus / "features").write_text("a file in the way")
  with pytest.raises(UserError, match="cannot write the features"):
    extract.extract(corpus, "10", "20")


def test_speaker_vectors_are_those_of_the_clips_and_are_kept(
  corpus, waves, monkeypatch
):
  monkeypatch.setattr(extract, "VECTOR_CHUNK", 4)
  extract.extract_speaker_vectors(corpus)
  for split, count in zip(SPLITS, (6, 2, 0), strict=True):
    assert open_speaker_vectors(corpus, split).shape == (count, ge2e.SIZE)
  found = open_speaker_vectors(corpus, "train")
  for vector, wave in zip(found, waves, strict=True):
    (expected,) = ge2e.speaker_vectors([wave], tiny.RATE)
    np.testing.assert_allclose(vector, expected, atol=1e-4)
  monkeypatch.setattr(ge2e, "speaker_vectors", lambda *_: 1 / 0)
  extract.extract_speaker_vectors(corpus)
