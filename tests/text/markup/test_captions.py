"""Captions: cues that end where they should, in three forms."""

import dataclasses
import json

import pytest

from s02jax.core.errors import UserError
from s02jax.text.markup import captions, subtitles


@dataclasses.dataclass
class Word:
  text: str
  begin: float
  end: float


def words(text, seconds=0.4):
  return [
    Word(w, i * seconds, (i + 1) * seconds) for i, w in enumerate(text.split())
  ]


def texts(found):
  return [" ".join(w.text for w in cue) for cue in captions.cues(found)]


def test_a_sentence_or_a_pause_ends_a_cue():
  found = words("Good morning. How are you?”  Fine")
  assert texts(found) == ["Good morning.", "How are you?”", "Fine"]
  found = [Word("one", 0, 0.5), Word("two", 1.4, 2), Word("three", 2.1, 2.5)]
  assert texts(found) == ["one", "two three"]


def test_no_cue_is_too_long():
  found = captions.cues(words("seven " * 60, 0.3))
  assert sum(map(len, found)) == 60
  for cue in found:
    assert cue[-1].end - cue[0].begin <= captions.MOST_SECONDS + 1e-9
    assert len(" ".join(w.text for w in cue)) <= captions.MOST_CHARACTERS


def test_the_forms_say_the_same():
  found = [
    Word("Good", 0.04, 0.4),
    Word("morning.", 0.4, 1.0),
    Word("Yes", 3661.2, 3661.5004),
  ]
  assert captions.srt(found) == (
    "1\n00:00:00,040 --> 00:00:01,000\nGood morning.\n\n"
    "2\n01:01:01,200 --> 01:01:01,500\nYes\n"
  )
  assert captions.vtt(found) == (
    "WEBVTT\n\n00:00:00.040 --> 00:00:01.000\nGood morning.\n\n"
    "01:01:01.200 --> 01:01:01.500\nYes\n"
  )
  first, _ = json.loads(captions.as_json(found))
  assert first["words"][1] == {"text": "morning.", "begin": 0.4, "end": 1.0}
  # What is written can be read and spoken again.
  assert subtitles.read(captions.srt(found)).text() == "Good morning.\nYes"


def test_a_suffix_tells_the_form(tmp_path):
  captions.write(tmp_path / "a.VTT", words("one two"))
  assert (tmp_path / "a.VTT").read_text().startswith("WEBVTT")
  with pytest.raises(UserError, match="one of .srt, .vtt, .json"):
    captions.check_out(tmp_path / "a.txt")
  with pytest.raises(UserError, match="no folder"):
    captions.check_out(tmp_path / "b" / "a.srt")
