"""`s02 voice`: lists, shows, adds and removes the voices of a bundle."""

import json

import pytest

from s02jax.bundle import Bundle
from s02jax.cli import run, voice
from s02jax.core import startup
from s02jax.synthesis.store import voice_store
from tests import tiny


@pytest.fixture(autouse=True)
def no_set_up(monkeypatch):
  """Leaves out the log handler, which would outlive the test's stderr."""
  monkeypatch.setattr(startup, "set_up", lambda: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Folder of a bundle with two voices, and of their recordings."""
  return tiny.write_with_voices(tmp_path_factory.mktemp("voices"))


def verb(name, *argv, bundle):
  return run(voice.main, [name, *map(str, argv), f"--bundle={bundle}"])


def test_voices_are_listed_and_shown(folder, capsys):
  assert verb("list", bundle=folder / "bundle") == 0
  header, anna, ben = capsys.readouterr().out.splitlines()
  assert header.split() == ["name", "kind", "seconds", "made"]
  assert anna.split()[:3] == ["anna", "zero-shot", "1.7"]
  assert ben.split()[:3] == ["ben", "one-shot", "1.0"]
  assert verb("show", "ben", bundle=folder / "bundle") == 0
  shown = json.loads(capsys.readouterr().out)
  assert shown["prompt"] == "Good morning"
  assert shown["bundle"] == Bundle.load(folder / "bundle").fingerprint
  assert shown["made"].startswith("20")


def test_add_replace_and_remove_by_the_verb(folder, capsys):
  bundle = folder / "bundle"
  before = sorted(bundle.glob("voices/*"))
  add = ("add", "c-1_x", "--reference", folder / "0.wav")
  assert verb(*add, bundle=bundle) == 0
  assert "c-1_x (zero-shot, 0.8 s)" in capsys.readouterr().out
  assert verb(*add, bundle=bundle) == 2
  assert "--replace" in capsys.readouterr().err
  text = ("--reference-text", "Yes.", "--replace")
  assert verb(*add, *text, bundle=bundle) == 0
  assert voice_store.entry(bundle, "c-1_x").kind == "one-shot"
  assert verb("remove", "c-1_x", bundle=bundle) == 0
  assert sorted(bundle.glob("voices/*")) == before


@pytest.mark.parametrize(
  "argv,match",
  [
    (("add", "a b", "--reference", "0.wav"), "no name for a voice"),
    (("add", "../a", "--reference", "0.wav"), "no name for a voice"),
    (("add", "a", "--reference", "none.wav"), "does not exist"),
    (
      ("add", "a", "--reference", "0.wav", "--reference-text", "?"),
      "has no letter",
    ),
    (("show", "carl"), "has no voice 'carl'; it has anna, ben"),
    (("remove", "carl"), "has no voice"),
  ],
)
def test_faults_of_the_verb_are_one_sentence(
  folder, monkeypatch, capsys, argv, match
):
  monkeypatch.chdir(folder)
  before = sorted((folder / "bundle" / "voices").iterdir())
  assert verb(*argv, bundle="bundle") == 2
  message = capsys.readouterr().err
  assert match in message
  assert message.count("\n") == 1
  assert sorted((folder / "bundle" / "voices").iterdir()) == before


def test_a_folder_that_is_no_bundle_is_named(tmp_path, capsys):
  for argv in (("list",), ("show", "a"), ("remove", "a")):
    assert verb(*argv, bundle=tmp_path) == 2
    assert "not a bundle" in capsys.readouterr().err


def test_a_damaged_voice_is_named(folder, tmp_path, capsys):
  (tmp_path / "voices").mkdir()
  (tmp_path / "config.json").write_text("{}")
  (tmp_path / "voices" / "a.safetensors").write_bytes(b"no")
  assert verb("list", bundle=tmp_path) == 2
  assert "a.safetensors: the voice is damaged" in capsys.readouterr().err
