"""`s02 synthesize`: one command, one file, or one sentence."""

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
    ({"reference": "silence.wav"}, "silence"),
    ({"reference": "nothing.wav"}, "no such file"),
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
  """Mixed voices, a pause, words respelt, faster, higher, louder, as Opus."""
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
  assert [r.text for r in asked] == ["Yes.", "Yes."]
  info = soundfile.info(tmp_path / "a.opus")
  assert info.format == "OGG" and info.subtype == "OPUS"
  assert info.duration > 0.5 + 0.1
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    "a.opus",
    "text.txt",
    "words.tsv",
  ]


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
