"""`s02 synthesize`: one command, one file, or one sentence."""

import io
import json
import types

import numpy as np
import pytest
import soundfile

from s02jax.audio import loudness
from s02jax.cli import run, synthesize
from s02jax.core import startup
from s02jax.synthesis.engine import Engine
from tests import tiny


@pytest.fixture(autouse=True)
def no_set_up(monkeypatch):
  """Leaves out the log handler, which would outlive the test's stderr."""
  monkeypatch.setattr(startup, "set_up", lambda: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Folder of a bundle with two voices and of references at another rate."""
  path = tiny.write_with_voices(tmp_path_factory.mktemp("door"))
  wave = loudness.resample(tiny.wave(0.8, 2), tiny.RATE, 22050)
  soundfile.write(path / "ref.wav", wave, 22050)
  soundfile.write(path / "silence.wav", np.zeros(22050), 22050)
  return path


def command(folder, out, **changes):
  flags = {
    "bundle": folder / "bundle",
    "text": "Yes.",
    "language": "en",
    "reference": folder / "ref.wav",
    "steps": 2,
    "out": out,
  }
  flags |= changes
  return [f"--{k}={v}" for k, v in flags.items() if v is not None]


def test_same_command_same_bytes(folder, tmp_path, capsys):
  (tmp_path / "text.txt").write_text("Yes.\n")
  for name, changes in (
    ("a.wav", {}),
    ("b.wav", {"text": None, "text-file": tmp_path / "text.txt"}),
    ("c.wav", {"seed": 1}),
    ("d.flac", {}),
  ):
    assert (
      run(synthesize.main, command(folder, tmp_path / name, **changes)) == 0
    )
  read = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
  assert read["a.wav"] == read["b.wav"]
  assert read["a.wav"] != read["c.wav"]
  assert sorted(read) == ["a.wav", "b.wav", "c.wav", "d.flac", "text.txt"]
  assert soundfile.info(tmp_path / "d.flac").samplerate == tiny.RATE
  assert "Wrote" in capsys.readouterr().out


@pytest.mark.parametrize(
  "changes,match",
  [
    ({"text": ""}, "no letter"),
    ({"text": "你好"}, "Latin"),
    ({"language": "xx"}, "unknown"),
    ({"reference": "silence.wav"}, "silent"),
    ({"reference": "nothing.wav"}, "not exist"),
    ({"bundle": "nothing"}, "not a bundle"),
    ({"out": "nothing/out.wav"}, "no folder"),
    ({"out": "out.txt"}, "suffix"),
    ({"out": "ref.wav/out.wav"}, "no folder"),
    ({"steps": 0}, "steps"),
    ({"reference-text": "?"}, "transcript"),
    ({"text": None, "text-file": "nothing.txt"}, "cannot be read"),
  ],
)
def test_faults_are_one_sentence(
  folder, tmp_path, monkeypatch, capsys, changes, match
):
  monkeypatch.chdir(folder)
  before = sorted(folder.iterdir())
  argv = command(folder, changes.pop("out", tmp_path / "out.wav"), **changes)
  assert run(synthesize.main, argv) == 2
  message = capsys.readouterr().err
  assert match in message
  assert message.count("\n") == 1
  assert sorted(folder.iterdir()) == before
  assert list(tmp_path.iterdir()) == []


# ------------------------------------------------- named voices and long texts


def voice_command(folder, out, **changes):
  flags = {
    "bundle": folder / "bundle",
    "text": "Yes.",
    "language": "en",
    "voice": ["anna"],
    "steps": 1,
    "out": out,
  } | changes
  return [
    f"--{key}={value}"
    for key, values in flags.items()
    for value in (values if isinstance(values, list) else [values])
    if value is not None
  ]


def test_a_text_with_everything_is_spoken(folder, tmp_path, monkeypatch):
  """One command mixes voices, pauses, respells, and changes speed and pitch."""
  (tmp_path / "words.tsv").write_text("the SQL\tYes\n")
  (tmp_path / "text.txt").write_text("Yes. <#0.5#>\n\nThe SQL.")
  asked = []
  submit = Engine.submit

  def spy(self, request, settings):
    asked.append(request)
    return submit(self, request, settings)

  monkeypatch.setattr(Engine, "submit", spy)
  argv = voice_command(
    folder,
    tmp_path / "a.opus",
    text=None,
    **{"text-file": tmp_path / "text.txt"},
    language="auto",
    voice=["anna:0.7", "ben:0.3"],
    pronunciation=tmp_path / "words.tsv",
    speed=2.0,
    pitch=2,
    volume=0.5,
    rate=24000,
  )
  assert run(synthesize.main, argv) == 0
  assert [r.language for r in asked] == ["en", "en"]
  assert [r.text for r in asked] == ["yes.", "yes."]  # the model has no Y
  info = soundfile.info(tmp_path / "a.opus")
  assert info.format == "OGG" and info.subtype == "OPUS"
  assert info.duration > 0.5 + 0.1
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    "a.opus",
    "text.txt",
    "words.tsv",
  ]


def test_stdin_and_stdout_are_files_too(folder, tmp_path, monkeypatch, capfd):
  named = voice_command(folder, tmp_path / "a.wav")
  assert run(synthesize.main, named) == 0
  capfd.readouterr()
  stdin = types.SimpleNamespace(buffer=io.BytesIO("\ufeffYes.\n".encode()))
  monkeypatch.setattr("sys.stdin", stdin)
  stdout = types.SimpleNamespace(buffer=io.BytesIO(), isatty=lambda: False)
  monkeypatch.setattr("sys.stdout", stdout)
  piped = voice_command(folder, "-", text=None, **{"text-file": "-"})
  assert run(synthesize.main, piped) == 0
  assert stdout.buffer.getvalue() == (tmp_path / "a.wav").read_bytes()
  stdout.isatty = lambda: True
  assert run(synthesize.main, piped) == 2
  assert "send stdout to a file" in capfd.readouterr().err


def test_a_closed_pipe_is_one_sentence(folder, monkeypatch, capfd):
  class Closed(io.BytesIO):
    def write(self, _):
      raise BrokenPipeError

  stdout = types.SimpleNamespace(buffer=Closed(), isatty=lambda: False)
  monkeypatch.setattr("sys.stdout", stdout)
  assert run(synthesize.main, voice_command(folder, "-")) == 2
  assert "stdout was closed" in capfd.readouterr().err


@pytest.mark.parametrize(
  ("name", "changes", "written"),
  [
    ("a.md", {}, "# *Yes*.\n"),
    ("a.srt", {}, "1\n00:00:01,000 --> 00:00:02,000\n<i>Yes.</i>\n"),
    ("a.ssml", {}, "<speak><phoneme ph='x'>Yes</phoneme>.</speak>"),
    ("a.txt", {"markup": "markdown"}, "**Yes**."),
    ("a.txt", {}, "<b>Ye\u00ads.</b> \U0001f389\n"),
  ],
)
def test_marks_of_a_file_make_no_difference(
  folder, tmp_path, name, changes, written
):
  (tmp_path / name).write_text(written, "utf-8")
  for out, said in (
    ("a.wav", {}),
    ("b.wav", {"text": None, "text-file": tmp_path / name} | changes),
  ):
    argv = voice_command(folder, tmp_path / out, **said)
    assert run(synthesize.main, argv) == 0
  a, b = ((tmp_path / f"{x}.wav").read_bytes() for x in "ab")
  assert a == b


def test_a_rate_around_the_text_is_its_speed(folder, tmp_path):
  text = "<prosody rate='200%'>Yes.</prosody>"
  for out, said in (
    ("a.wav", {"speed": 2.0}),
    ("b.wav", {"text": text, "markup": "ssml"}),
  ):
    argv = voice_command(folder, tmp_path / out, **said)
    assert run(synthesize.main, argv) == 0
  assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_subtitles_tell_when_words_are_heard(folder, tmp_path):
  argv = voice_command(
    folder,
    tmp_path / "a.wav",
    text="Yes. <#0.5#> No, no.",
    speed=2.0,
    subtitles=tmp_path / "a.json",
  )
  assert run(synthesize.main, argv) == 0
  cues = json.loads((tmp_path / "a.json").read_text())
  words = [word for cue in cues for word in cue["words"]]
  assert [word["text"] for word in words] == ["yes.", "no,", "no."]
  times = [t for word in words for t in (word["begin"], word["end"])]
  assert times == sorted(times)
  seconds = soundfile.info(tmp_path / "a.wav").duration
  assert words[1]["begin"] - words[0]["end"] >= 0.45
  assert times[-1] <= seconds + 0.05
  argv = voice_command(folder, tmp_path / "b.wav", subtitles="b.txt")
  assert run(synthesize.main, argv) == 2


def test_one_voice_and_a_mixture_differ_and_repeat(folder, tmp_path):
  for name, voices in (
    ("a.wav", ["anna"]),
    ("b.wav", ["anna:3"]),
    ("c.wav", ["anna", "ben"]),
  ):
    argv = voice_command(folder, tmp_path / name, voice=voices)
    assert run(synthesize.main, argv) == 0
  a, b, c = (p.read_bytes() for p in sorted(tmp_path.iterdir()))
  assert a == b
  assert a != c


@pytest.mark.parametrize(
  "changes,match",
  [
    ({"voice": ["carl"]}, "has no voice 'carl'"),
    ({"voice": ["anna:x"]}, "above 0"),
    ({"voice": ["anna"], "reference-text": "Yes."}, "belongs to --reference"),
    ({"text": "Yes <#x#>"}, "pause"),
    ({"speed": 3}, "speed"),
    ({"pitch": 13}, "pitch"),
    ({"volume": 0}, "volume"),
    ({"rate": 1}, "rate"),
    ({"rate": 22050, "out": "out.opus"}, "22050"),
    ({"pronunciation": "none.tsv"}, "cannot be read"),
    ({"text": "42", "language": "auto"}, "cannot be told"),
    ({"text": "東京", "language": "auto"}, "none of en, es"),
    ({"text": "<a", "markup": "ssml"}, "not XML"),
  ],
)
def test_faults_with_voices_are_one_sentence(
  folder, tmp_path, monkeypatch, capsys, changes, match
):
  monkeypatch.chdir(tmp_path)
  argv = voice_command(folder, changes.pop("out", "out.wav"), **changes)
  assert run(synthesize.main, argv) == 2
  message = capsys.readouterr().err
  assert match in message
  assert message.count("\n") == 1
  assert list(tmp_path.iterdir()) == []
