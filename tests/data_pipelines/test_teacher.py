"""States of a teacher: written once, read by record, refused in a sentence."""

import pickle

import numpy as np
import pytest

from data_pipelines.teacher import extract_teacher
from s02jax.core.errors import UserError
from s02jax.data.records import SPLITS, Corpus
from s02jax.data.teacher_states import TeacherStates, card_path, read_card
from s02jax.pretrained.whisper import teacher
from tests import tiny

WAVES = [tiny.wave(seconds, i) for i, seconds in enumerate((1.0, 0.52, 2.2))]


class FakeTeacher:
  """Teacher of three features: loudness of each token's samples."""

  spec, size, asked = "faster-whisper:fake", 3, 0

  def states(self, waves, rate):
    self.asked += 1
    hop = rate // 25
    return [
      np.repeat(w[: len(w) // hop * hop].reshape(-1, hop).std(1)[:, None], 3, 1)
      for w in waves
    ]


class FakeCorpus:
  """Split of a corpus that holds the waves above."""

  rate = tiny.RATE

  def __init__(self, split):
    self.split, self.waves = split, WAVES if split == "train" else WAVES[:1]

  def __len__(self):
    return len(self.waves)

  def wave(self, i):
    return self.waves[i]


@pytest.fixture
def corpus(tmp_path, monkeypatch):
  """Corpus folder with indices, and a fake teacher."""
  (tmp_path / "index").mkdir()
  for name in SPLITS:
    counts = np.array([len(w) for w in FakeCorpus(name).waves], np.int32)
    np.savez(tmp_path / "index" / f"{name}.npz", num_samples=counts)
  fake = FakeTeacher()
  monkeypatch.setattr(Corpus, "open", lambda folder, split: FakeCorpus(split))
  monkeypatch.setattr(teacher, "load", lambda spec: fake)
  return tmp_path, fake


def test_states_come_back_by_record_and_are_written_once(corpus):
  folder, fake = corpus
  extract_teacher(folder, fake.spec)
  assert read_card(folder)["spec"] == fake.spec
  states = pickle.loads(pickle.dumps(TeacherStates.open(folder, "train")))
  assert states.size == 3
  for i, expected in enumerate(fake.states(WAVES, tiny.RATE)):
    np.testing.assert_allclose(states.states(i), expected, rtol=1e-3)
  asked = fake.asked
  extract_teacher(folder, fake.spec)
  assert fake.asked == asked


def test_a_run_cut_short_leaves_no_card(corpus, monkeypatch):
  folder, fake = corpus
  extract_teacher(folder, fake.spec)
  monkeypatch.setattr(fake, "states", lambda *_: 1 / 0)
  monkeypatch.setattr(fake, "spec", "faster-whisper:other")
  with pytest.raises(ZeroDivisionError):
    extract_teacher(folder, fake.spec)
  assert not card_path(folder).exists()
  assert not list((folder / "features").glob("*part*"))
  with pytest.raises(UserError, match="--teacher faster-whisper:base"):
    TeacherStates.open(folder, "train")


def test_states_of_another_corpus_are_one_sentence(corpus):
  folder, fake = corpus
  extract_teacher(folder, fake.spec)
  np.savez(folder / "index/train.npz", num_samples=np.zeros(7, np.int32))
  with pytest.raises(
    UserError, match="3 records for 'train', the corpus has 7"
  ):
    TeacherStates.open(folder, "train")


@pytest.mark.parametrize("spec", ["hubert:base", "faster-whisper:", ""])
def test_an_unknown_teacher_is_one_sentence(spec):
  with pytest.raises(UserError, match="faster-whisper:base"):
    teacher.load(spec)


def test_states_of_whispers_encoder_are_25_a_second(monkeypatch):
  """In windows of 30 s, of which the encoder gives 50 states a second."""

  class Model:
    """Encoder of one feature: the sum of each 20 ms of sound."""

    def feature_extractor(self, wave):
      return wave.reshape(1, -1)

    def encode(self, wave):
      return np.add.reduceat(wave, np.arange(0, wave.shape[1], 320), 1)[
        ..., None
      ]

  class Package:
    class audio:
      @staticmethod
      def pad_or_trim(wave, frames):
        return np.pad(wave, ((0, 0), (0, 480_000 - wave.shape[1])))

  class Recogniser:
    def __init__(self, weights):
      self.model = Model()

  monkeypatch.setattr(teacher, "FasterWhisper", Recogniser)
  monkeypatch.setattr(teacher, "require", lambda *_: [Package])
  loaded = teacher.load("faster-whisper:base")
  assert loaded.size == 1
  for samples in (640, 16_000, 33 * 16_000 + 700, 0):
    wave = np.ones(samples, np.float32)
    (states,) = loaded.states([wave], 16_000)
    assert states.shape == (samples // 640, 1)
    np.testing.assert_allclose(states, 320)
