"""`s02 synthesize`: one short text by a reference or a reference's faults."""

import numpy as np
import pytest
import soundfile

from s02jax.audio import loudness
from s02jax.cli import run, synthesize
from s02jax.core import startup
from tests import tiny


@pytest.fixture(autouse=True)
def no_set_up(monkeypatch):
  """A door's log handler would outlive the test whose stderr it writes to."""
  monkeypatch.setattr(startup, "set_up", lambda: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A bundle and a reference at another rate."""
  path = tmp_path_factory.mktemp("door")
  tiny.bundle().write(path / "bundle")
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
