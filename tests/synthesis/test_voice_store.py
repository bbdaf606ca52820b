"""Named voices and long texts at the doors, with tiny random models."""

import dataclasses
import json
import logging

import numpy as np
import pytest
import soundfile

from s02jax.bundle import Bundle
from s02jax.cli import run, synthesize, voice
from s02jax.core import startup
from s02jax.core.errors import UserError
from s02jax.synthesis import voice_store
from s02jax.synthesis.engine import Engine
from s02jax.synthesis.synthesizer import Synthesizer
from tests import tiny


@pytest.fixture(autouse=True)
def no_set_up(monkeypatch):
  """A door's log handler would outlive the test whose stderr it writes to."""
  monkeypatch.setattr(startup, "set_up", lambda: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A bundle with two voices, and the recordings that they were made of."""
  path = tmp_path_factory.mktemp("voices")
  tiny.bundle().write(path / "bundle")
  synthesizer = Synthesizer(tiny.bundle())
  for i, seconds in enumerate((0.8, 0.9)):
    soundfile.write(path / f"{i}.wav", tiny.wave(seconds, i), tiny.RATE)
  for name, files, text in (
    ("anna", [path / "0.wav", path / "1.wav"], None),
    ("ben", [path / "1.wav"], "Good morning"),
  ):
    made, seconds = voice_store.recorded(synthesizer, files, text)
    voice_store.add(path / "bundle", name, made, seconds)
  return path


def door(verb, *argv, bundle):
  return run(voice.main, [verb, *map(str, argv), f"--bundle={bundle}"])


def test_voices_are_listed_and_shown(folder, capsys):
  assert door("list", bundle=folder / "bundle") == 0
  header, anna, ben = capsys.readouterr().out.splitlines()
  assert header.split() == ["name", "kind", "seconds", "made"]
  assert anna.split()[:3] == ["anna", "zero-shot", "1.7"]
  assert ben.split()[:3] == ["ben", "one-shot", "0.9"]
  assert door("show", "ben", bundle=folder / "bundle") == 0
  shown = json.loads(capsys.readouterr().out)
  assert shown["prompt"] == "Good morning"
  assert shown["bundle"] == Bundle.load(folder / "bundle").fingerprint
  assert shown["made"].startswith("20")


def test_what_is_added_is_loaded_as_it_was(folder):
  synthesizer = Synthesizer(tiny.bundle())
  made, _ = voice_store.recorded(
    synthesizer, [folder / "1.wav"], "Good morning"
  )
  kept = voice_store.mixed(synthesizer, folder / "bundle", {"ben": 2.0})
  np.testing.assert_allclose(kept.ar_vector, made.ar_vector, atol=1e-6)
  np.testing.assert_array_equal(kept.prompt.tokens, made.prompt.tokens)
  assert kept.prompt.text == "Good morning"


def test_add_replace_and_remove_by_the_door(folder, capsys):
  bundle = folder / "bundle"
  before = sorted(bundle.glob("voices/*"))
  add = ("add", "c-1_x", "--reference", folder / "0.wav")
  assert door(*add, bundle=bundle) == 0
  assert "c-1_x (zero-shot, 0.8 s)" in capsys.readouterr().out
  assert door(*add, bundle=bundle) == 2
  assert "--replace" in capsys.readouterr().err
  text = ("--reference-text", "Yes.", "--replace")
  assert door(*add, *text, bundle=bundle) == 0
  assert voice_store.entry(bundle, "c-1_x").kind == "one-shot"
  assert door("remove", "c-1_x", bundle=bundle) == 0
  assert sorted(bundle.glob("voices/*")) == before


@pytest.mark.parametrize(
  "argv,match",
  [
    (("add", "a b", "--reference", "0.wav"), "no name for a voice"),
    (("add", "../a", "--reference", "0.wav"), "no name for a voice"),
    (("add", "a", "--reference", "none.wav"), "no such file"),
    (
      ("add", "a", "--reference", "0.wav", "--reference-text", "?"),
      "has no letter",
    ),
    (("show", "carl"), "has no voice 'carl'; it has anna, ben"),
    (("remove", "carl"), "has no voice"),
  ],
)
def test_faults_of_the_door_are_one_sentence(
  folder, monkeypatch, capsys, argv, match
):
  monkeypatch.chdir(folder)
  before = sorted((folder / "bundle" / "voices").iterdir())
  assert door(*argv, bundle="bundle") == 2
  message = capsys.readouterr().err
  assert match in message
  assert message.count("\n") == 1
  assert sorted((folder / "bundle" / "voices").iterdir()) == before


def test_a_folder_that_is_no_bundle_is_named(tmp_path, capsys):
  for argv in (("list",), ("show", "a"), ("remove", "a")):
    assert door(*argv, bundle=tmp_path) == 2
    assert "not a bundle" in capsys.readouterr().err


def test_a_damaged_voice_is_named(folder, tmp_path, capsys):
  (tmp_path / "voices").mkdir()
  (tmp_path / "config.json").write_text("{}")
  (tmp_path / "voices" / "a.safetensors").write_bytes(b"no")
  assert door("list", bundle=tmp_path) == 2
  assert "a.safetensors: the voice is damaged" in capsys.readouterr().err


def test_writing_a_bundle_anew_keeps_its_voices(folder, tmp_path, caplog):
  bundle = tiny.bundle()
  bundle.write(tmp_path / "b")
  source = folder / "bundle" / "voices" / "ben.safetensors"
  kept = tmp_path / "b" / "voices" / "ben.safetensors"
  kept.write_bytes(source.read_bytes())
  with caplog.at_level(logging.WARNING):
    bundle.write(tmp_path / "b")
  assert kept.read_bytes() == source.read_bytes()
  assert not caplog.records
  vae = bundle.params["flow_vae"] | {"more": np.ones(1, np.float32)}
  other = dataclasses.replace(bundle, params=bundle.params | {"flow_vae": vae})
  other.write(tmp_path / "b")
  assert kept.read_bytes() == source.read_bytes()
  assert "other models" in caplog.text and "ben" in caplog.text


@pytest.mark.parametrize(
  "items,match",
  [
    (["a"] * 5, "at most 4"),
    (["a", "a:2"], "twice"),
    (["a:0"], "above 0"),
    (["a:x"], "above 0"),
    (["a:-1"], "above 0"),
    (["a:nan"], "above 0"),
  ],
)
def test_mixtures_that_make_no_sense_are_refused(items, match):
  with pytest.raises(UserError, match=match):
    voice_store.parse_mixture(items)


def test_a_mixture_reads_names_and_weights():
  assert voice_store.parse_mixture(["a:0.7", "b"]) == {"a": 0.7, "b": 1.0}


# -------------------------------------------------------------- speaking long


def command(folder, out, **changes):
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
  argv = command(
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
    argv = command(folder, tmp_path / name, voice=voices)
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
def test_faults_are_one_sentence(
  folder, tmp_path, monkeypatch, capsys, changes, match
):
  monkeypatch.chdir(tmp_path)
  argv = command(folder, changes.pop("out", "out.wav"), **changes)
  assert run(synthesize.main, argv) == 2
  message = capsys.readouterr().err
  assert match in message
  assert message.count("\n") == 1
  assert list(tmp_path.iterdir()) == []
