"""Emotions judged by prosody: cases of a corpus, and what an ear tells."""

import dataclasses

import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.data.records import Corpus
from s02jax.evaluation import emotion
from s02jax.evaluation.emotion import Case, Ear
from tests import acted

RATE = 16000
# Hz, factor of the loudness, seconds for one text.
SOUNDS = {
  "neutral": (150, 1.0, 1.0),
  "sad": (120, 0.5, 1.4),
  "glad": (200, 2, 1),
}


def buzz(hertz, loudness, seconds):
  turns = np.arange(int(seconds * RATE)) * hertz / RATE
  return (0.1 * loudness * 2 * (turns % 1 - 0.5)).astype(np.float32)


def case(name, speaker=1.0):
  """Case of an emotion; a speaker's voice is higher by a factor."""
  hertz, loudness, seconds = SOUNDS[name]
  plain = buzz(150 * speaker, 1.0, 1.0)
  return Case(
    text="ten letters",
    language="en",
    emotion=name,
    wave=buzz(hertz * speaker, loudness, seconds),
    neutral=plain,
    reference=plain,
    texts=("ten letters", "another"),
  )


def test_an_ear_tells_emotions_of_any_speaker():
  """Only the difference from the speaker's own neutral speech counts."""
  ear = Ear.of([case(name, s) for name in SOUNDS for s in (1, 1.1)], RATE)
  assert set(ear.means) == set(SOUNDS)
  for name in SOUNDS:
    other = case(name, speaker=0.8)
    assert ear.tell(other, other.wave, RATE) == name
  silent = case("sad")
  assert ear.tell(silent, np.zeros(RATE, np.float32), RATE) is None
  with pytest.raises(UserError, match="can be measured in sad"):
    Ear.of([dataclasses.replace(silent, wave=np.zeros(RATE, np.float32))], RATE)


def test_cases_are_the_same_texts_of_one_speaker(tmp_path):
  corpus = Corpus.open(acted.write(tmp_path / "corpus"), "unseen")
  found = emotion.cases(corpus, ("sad", "happy"), 3)
  assert [c.emotion for c in found] == ["sad", "happy"] * 3
  for sad, happy in zip(found[::2], found[1::2], strict=True):
    assert sad.text == happy.text == sad.texts[0]
    np.testing.assert_array_equal(sad.neutral, happy.neutral)
    assert not np.array_equal(sad.wave, happy.wave)
    assert sad.text not in sad.texts[1:]
  with pytest.raises(UserError, match="'angry'"):
    emotion.cases(corpus, ("angry",), 3)
