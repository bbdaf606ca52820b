"""Fake corpus, features and text model made of numbers, to test rows with.

Record i is a constant wave of the value (i + 1) / 4096, so that a wave tells
which record it is; so do its tokens and its text.
"""

import pathlib

import numpy as np

RATE = 16000
HOP = RATE // 25
CODES = 5000
LATENTS_PER_TOKEN = 2
CHANNELS = 3


class FakeCorpus:
  """Corpus of constant waves in three languages; see `data/records.py`."""

  rate = RATE
  split = "train"
  folder = pathlib.Path("fake")
  languages = ("en", "es", "de")
  text_ids = None

  def __init__(self, n: int, speakers: int, seed: int = 0):
    random = np.random.default_rng(seed)
    self.num_samples = (random.integers(10, 80, n) * HOP).astype(np.int32)
    self.speaker = random.integers(speakers, size=n).astype(np.int32)
    self.language = (self.speaker % 3).astype(np.int32)
    self.text_tokens = random.integers(2, 20, n).astype(np.int32)
    self.pieces = self.text_tokens - 1

  def __len__(self):
    return len(self.num_samples)

  def wave(self, i, begin=0, end=None):
    wave = np.full(self.num_samples[i], (i + 1) / 4096, np.float32)
    return wave[begin:end]

  def text(self, i):
    return f"{i} {self.pieces[i]}"


class FakeFeatures:
  """Features whose every token of record i is i; see `data/features.py`."""

  card = {
    "num_codes": CODES,
    "channels": CHANNELS,
    "latents_per_token": LATENTS_PER_TOKEN,
    "mean": [1.0] * CHANNELS,
    "std": [2.0] * CHANNELS,
  }

  def __init__(self, corpus):
    self.counts = corpus.num_samples // HOP

  def tokens(self, i):
    return np.full(self.counts[i], i, np.int32)

  def latents(self, i):
    shape = (LATENTS_PER_TOKEN * self.counts[i], CHANNELS)
    return np.full(shape, 1.0 + 2.0 * i, np.float32)


class FakeText:
  """Text model whose every piece of record i is 100 + i."""

  size = 6000
  speaker_id = 1
  start_id = 2

  def pieces(self, text):
    i, length = map(int, text.split())
    return [100 + i] * length

  def language_id(self, code):
    return 10 + FakeCorpus.languages.index(code)


def record_of(wave: np.ndarray) -> np.ndarray:
  """Number of the record that each sample comes from; -1 for padding."""
  return np.round(wave * 4096).astype(int) - 1
