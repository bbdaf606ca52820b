"""Accuracy of word times: figures of known distances, and a whole command."""

import types

import numpy as np
import pytest

from s02jax.bench import alignment
from s02jax.cli.bench import alignment as command
from s02jax.core.errors import UserError
from s02jax.synthesis.alignment import Word


def clip(text, begins, language="en"):
  wave = np.zeros(16000, np.float32)
  return alignment.Clip(wave=wave, text=text, language=language, begins=begins)


class Late:
  """Synthesizer that hears every word later than it begins."""

  def __init__(self, *delays):
    self.delays = list(delays)
    self.aligner = types.SimpleNamespace(words=self.words)

  def tokenize(self, waves):
    return [np.zeros(len(wave) // 640, np.int32) for wave in waves]

  def words(self, text, language, tokens):
    said = text.split()
    return [
      Word(text=word, begin=i + self.delays.pop(0), end=i + 1.0)
      for i, word in enumerate(said)
    ]


def test_distances_are_measured_word_by_word():
  late = Late(0.01, 0.02, 0.03, -0.4)
  clips = [clip("a b", [0, 1]), clip("c", [0]), clip("d", [0], "es")]
  found = alignment.measure(late, clips)
  assert found["en"]["words"] == 3 and found["es"]["words"] == 1
  assert found["en"]["median"] == pytest.approx(0.02)
  assert found["en"]["bias"] == pytest.approx(0.02)
  assert found["es"]["bias"] == pytest.approx(-0.4)
  assert found["all"]["median"] == pytest.approx(0.025)
  assert not alignment.reached(found)
  text = alignment.describe(found)
  assert "en" in text and "20 ms" in text and "-400 ms" in text


def test_clips_without_a_time_for_every_word_are_left_out():
  found = alignment.measure(Late(0.0, 0.0), [clip("a b", [0])])
  assert found["left_out"] == 1 and found["all"]["words"] == 0
  assert "1 clips have no time" in alignment.describe(found)


def test_a_corpus_of_another_kind_is_refused(tmp_path):
  (tmp_path / "card.json").write_text(
    '{"builder": {"name": "manifest", "arguments": {}}}'
  )
  with pytest.raises(UserError, match="not made by `s02 corpus espeak`"):
    command.main(["--bundle", "nowhere", "--corpus", str(tmp_path)])
