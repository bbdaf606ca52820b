"""Fit of transcripts: exact likelihoods, and a warning where it is due."""

import dataclasses
import itertools
import logging

import numpy as np
import pytest

from s02jax.synthesis import transcripts
from s02jax.synthesis.transcripts import collapse
from tests import tiny


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
  for wrong in ([1, 2, 3], [4, 5, 6], right[::-1], [], [7] * 6, [*right, 7]):
    assert transcripts.fit(heard, wrong) < transcripts.LEAST_FIT
  assert transcripts.fit(heard, [1] * 40) == -np.inf


def test_a_transcript_that_does_not_fit_is_warned_of(
  synthesizer, caplog, monkeypatch
):
  values = {"heard": -0.01, "not heard": transcripts.LEAST_FIT - 0.1}
  seen = []

  def fits(texts, tokens):
    seen.extend(tokens)
    return [values[text] for text in texts]

  parts = dataclasses.replace(synthesizer._parts, fits=fits)
  monkeypatch.setattr(synthesizer, "_parts", parts)
  waves = [tiny.wave(0.8, seed) for seed in range(3)]
  with caplog.at_level(logging.WARNING):
    voices = synthesizer.voices(waves, ["heard", None, "not heard"])
  assert [record.levelname for record in caplog.records] == ["WARNING"]
  assert "'not heard' does not seem to be what" in caplog.text
  for codes, voice in zip(seen, (voices[0], voices[2]), strict=True):
    np.testing.assert_array_equal(codes, voice.prompt.tokens)


def test_random_models_give_their_best_reading_the_best_fit(synthesizer):
  codes = synthesizer.tokenize([tiny.wave(1.2)])
  (heard,) = synthesizer.tokenizer.text_ids(codes)
  (log_probs,) = synthesizer.tokenizer.text_log_probs(codes)
  assert transcripts.fit(log_probs, heard) == 0
  (fit,) = synthesizer._fits(["Good morning, how are you today?"], codes)
  assert fit < 0


def test_a_prompt_that_is_cut_off_ends_in_silence(synthesizer):
  wave = tiny.wave(0.8)
  silence = np.zeros(int(0.08 * tiny.RATE), np.float32)
  cut, whole = synthesizer.voices(
    [wave, np.concatenate([wave, silence])], ["Good morning"] * 2
  )
  assert len(cut.prompt.tokens) == len(whole.prompt.tokens) == 22
  # All but what fades out is the same.
  np.testing.assert_array_equal(
    cut.prompt.tokens[:15], whole.prompt.tokens[:15]
  )
  # The voice itself is that of what was recorded.
  (bare,) = synthesizer.voices([wave], [None])
  np.testing.assert_array_equal(cut.flow_vector, bare.flow_vector)
