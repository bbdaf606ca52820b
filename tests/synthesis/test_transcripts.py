"""Fit of transcripts: exact likelihoods, and a warning where it is due."""

import itertools

import numpy as np
import pytest
import soundfile

from s02jax.synthesis import transcripts
from s02jax.synthesis.render.codecs import collapse
from s02jax.synthesis.store import voice_store
from s02jax.synthesis.voice import Transcript
from tests import tiny

SAID = Transcript(text="Good morning", language="en")


def scores(random, steps, labels):
  """Log-probabilities [steps, labels + 1]."""
  raw = random.normal(size=(steps, labels + 1))
  return raw - np.logaddexp.reduce(raw, axis=1, keepdims=True)


@pytest.mark.parametrize(
  "labels", [[], [0], [0, 1], [0, 0], [1, 1, 0], [0, 1, 0, 1], [0] * 5]
)
def test_the_likelihood_is_the_sum_over_all_paths(random, labels):
  log_probs = scores(random, 5, 2)
  paths = itertools.product(range(3), repeat=5)
  total = sum(
    np.exp(log_probs[np.arange(5), path].sum())
    for path in map(np.array, paths)
    if collapse(path, 2) == labels
  )
  found = transcripts.log_likelihood(log_probs, labels)
  if total == 0:
    assert found == -np.inf  # five equal labels need nine tokens
  else:
    assert found == pytest.approx(np.log(total))


def confident(path, classes=9):
  """Log-probabilities of a head that is sure of a path."""
  rows = np.full((len(path), classes), np.log(0.02 / (classes - 1)))
  rows[np.arange(len(path)), path] = np.log(0.98)
  return rows


def test_what_is_heard_fits_and_nothing_else():
  heard = confident([8, 1, 1, 8, 2, 8, 3, 8, 4, 4, 8, 5, 8, 8, 6, 8])
  right = [1, 2, 3, 4, 5, 6]
  assert transcripts.fit(heard, right) == pytest.approx(0, abs=1e-9)
  for wrong in ([1, 2, 3], [4, 5, 6], right[::-1], [], [7] * 6, [*right, 7, 0]):
    assert transcripts.fit(heard, wrong) < transcripts.LEAST_FIT
  assert transcripts.fit(heard, [1] * 40) == -np.inf


def test_a_head_that_hears_nothing_is_not_asked(random):
  blanks = confident([8] * 30)
  assert transcripts.fit(blanks, [1, 2, 3]) is None
  assert transcripts.fit(blanks[:0], [1, 2, 3]) is None
  # One that is not sure of anything, either.
  assert transcripts.fit(scores(random, 30, 8), [1, 2, 3]) is None


@pytest.mark.parametrize(
  ("value", "warns"),
  [(0.0, False), (None, False), (-0.3, False), (-0.5, True), (-np.inf, True)],
)
def test_a_transcript_is_judged_once_where_it_comes_in(
  synthesizer, caplog, monkeypatch, tmp_path, value, warns
):
  asked = []

  def fit(log_probs, labels):
    asked.append((len(log_probs), list(labels)))
    return value

  monkeypatch.setattr(transcripts, "fit", fit)
  path = tmp_path / "ann.wav"
  soundfile.write(path, tiny.wave(0.8), tiny.RATE)
  voice, _ = voice_store.recorded(synthesizer, [path], SAID)
  pieces = synthesizer.text.pieces("Good morning")
  assert asked == [(len(voice.prompt.tokens), pieces)]
  said = [m for m in caplog.messages if "'Good morning' does not seem" in m]
  assert len(said) == warns and all(str(path) in line for line in said)
  # Neither without a transcript, nor for the passages of a text.
  voice_store.recorded(synthesizer, [path], None)
  synthesizer.voices([tiny.wave(0.8)], [SAID])
  assert len(asked) == 1


def test_random_models_give_their_best_reading_the_best_fit(
  synthesizer, monkeypatch
):
  monkeypatch.setattr(transcripts, "_SURE", -np.inf)
  codes = synthesizer.tokenize([tiny.wave(1.2)])
  (heard,) = synthesizer.tokenizer.text_ids(codes)
  (log_probs,) = synthesizer.tokenizer.text_log_probs(codes)
  assert len(log_probs) == len(codes[0])
  assert transcripts.fit(log_probs, heard) == 0
  text = "Good morning, how are you today?"
  assert synthesizer.transcript_fit(text, codes[0]) < 0


def test_a_prompt_that_is_cut_off_ends_in_silence(tmp_path):
  """Else its last sound would go on behind it. A voice alone stays as it is."""
  path = tmp_path / "cut.wav"
  soundfile.write(path, tiny.wave(0.8), tiny.RATE)
  closed = voice_store.reference(path, tiny.RATE, "Good morning")
  bare = voice_store.reference(path, tiny.RATE)
  silence = int(0.08 * tiny.RATE)
  assert len(closed) == len(bare) + silence
  assert not closed[-silence:].any() and np.abs(bare[-silence:]).max() > 0.05
  same = len(bare) - int(0.02 * tiny.RATE)
  np.testing.assert_array_equal(closed[:same], bare[:same])
  # The longest one that is taken stays within the limit.
  soundfile.write(path, tiny.wave(20), tiny.RATE)
  long = voice_store.reference(path, tiny.RATE, "Good morning, how are you?")
  assert len(long) == 20 * tiny.RATE
