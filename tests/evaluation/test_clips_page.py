"""Page of clips: what it holds, its bound, and lists that make no sense."""

import base64
import json
import re

import numpy as np
import pytest
import soundfile

from s02jax import cli
from s02jax.audio import recording
from s02jax.cli import page as verb
from s02jax.core.errors import UserError
from s02jax.evaluation import clips_page


@pytest.fixture
def listed(tmp_path):
  """List of three clips, two of them of one text."""
  t = np.arange(20000) / 20000
  rows = []
  for name, text, label in (
    ("a", "Good <morning>.", "anna"),
    ("b", "Good <morning>.", "truth"),
    ("c", "Yes & no.", "ben"),
  ):
    wave = 0.3 * np.sin(2 * np.pi * 300 * t)
    soundfile.write(tmp_path / f"{name}.wav", wave, 20000)
    rows.append(
      {"path": f"{name}.wav", "text": text, "label": label, "section": "One"}
    )
  path = tmp_path / "clips.jsonl"
  path.write_text("\n".join(map(json.dumps, rows)))
  return path


def test_the_page_holds_every_clip_and_loads_nothing(listed, capsys):
  out = listed.parent / "page" / "index.html"
  words = [str(listed), "--out", str(out), "--title", "A & B", "--lead", "Why?"]
  assert cli.run(verb.main, words) == 0
  assert "Wrote 3 clips" in capsys.readouterr().out
  text = out.read_text()
  sounds = re.findall(r'src="data:audio/mpeg;base64,([^"]+)"', text)
  assert len(sounds) == text.count("src=") == 3
  for sound in sounds:
    heard, rate = recording.read(base64.b64decode(sound))
    assert len(heard) / rate == pytest.approx(1.0, abs=0.15)
  assert text.count("<article>") == 2
  assert "Good &lt;morning&gt;." in text and "Yes &amp; no." in text
  assert "<title>A &amp; B</title>" in text and "Why?" in text


def test_a_page_that_is_too_large_is_not_written(listed):
  out = listed.parent / "index.html"
  clips = clips_page.read(listed)
  with pytest.raises(UserError, match="give fewer clips"):
    clips_page.write(clips, out, title="A", most=1000)
  assert not out.exists()


@pytest.mark.parametrize(
  ("line", "match"),
  [
    ("", "holds no clip"),
    ("nothing", "line 1: cannot be read"),
    ("[]", "line 1: cannot be read"),
    ('{"path": "a.wav"}', "line 1: give the fields path and text"),
    ('{"path": 1, "text": "x"}', "line 1: every field must be a string"),
    ('{"pat": "a.wav", "text": "x"}', "line 1: .*did you mean path"),
  ],
)
def test_lists_that_make_no_sense_are_one_sentence(tmp_path, line, match):
  path = tmp_path / "clips.jsonl"
  path.write_text(line)
  with pytest.raises(UserError, match=match):
    clips_page.read(path)
  with pytest.raises(UserError, match="cannot be read"):
    clips_page.read(tmp_path / "none.jsonl")


def test_a_clip_that_is_missing_is_named(tmp_path):
  path = tmp_path / "clips.jsonl"
  path.write_text('{"path": "none.wav", "text": "x"}')
  with pytest.raises(UserError, match="none.wav"):
    clips_page.write(clips_page.read(path), tmp_path / "x.html", title="A")
