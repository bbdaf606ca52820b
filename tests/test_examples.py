"""Examples of the docs: Python runs, and the demo's bundle can speak the texts.

They run as they are on a tiny random bundle, whose speech is noise.
"""

import json
import pathlib
import re

import pytest
import soundfile

from data_pipelines import words
from launch import demo
from s02jax.audio import loudness
from s02jax.core import languages
from tests import tiny

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "speak.ipynb"
WITH_PYTHON = [ROOT / "README.md", ROOT / "docs" / "python.md"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Folder of a bundle with two voices, and of the recordings of the docs."""
  path = tiny.write_with_voices(tmp_path_factory.mktemp("examples"))
  wave = loudness.resample(tiny.wave(0.8, 2), tiny.RATE, 44100)
  for name in ("voice.wav", "a.wav", "b.wav"):
    soundfile.write(path / name, wave, 44100)
  return path


def blocks(path):
  """Python blocks of a document, in their order."""
  return re.findall(r"^```python\n(.*?)^```", path.read_text(), re.M | re.S)


def cells(path):
  """Code cells of a notebook, in their order."""
  notebook = json.loads(path.read_text())
  assert notebook["nbformat"] == 4
  found = [c for c in notebook["cells"] if c["cell_type"] == "code"]
  # Nothing that ran is kept in the repository.
  assert all(not c["outputs"] and not c["execution_count"] for c in found)
  return ["".join(cell["source"]) for cell in found]


@pytest.mark.parametrize("path", WITH_PYTHON, ids=lambda path: path.name)
def test_python_of_the_docs_runs(path, folder, monkeypatch, capsys):
  monkeypatch.chdir(folder)
  found = blocks(path)
  assert found
  names = {}
  for block in found:
    exec(compile(block, path.name, "exec"), names)  # the docs are ours
  assert soundfile.info(folder / "out.wav").samplerate == tiny.RATE
  if path.name == "python.md":
    assert "did you mean temperature?" in capsys.readouterr().out


def test_the_notebook_runs_as_it_is(folder, monkeypatch):
  monkeypatch.chdir(folder)
  monkeypatch.setenv("S02_BUNDLE", str(folder / "bundle"))
  names = {}
  for cell in cells(NOTEBOOK):
    exec(compile(cell, NOTEBOOK.name, "exec"), names)
  assert sum(map(len, names["blocks"])) > 0
  assert (folder / "slow.wav").exists()


def vocabulary():
  """Words that the demo's English has."""
  count = demo.CORPORA["demo"]["words"]
  return set(words.first_words(languages.BY_CODE["en"], count))


def spoken(path):
  """English texts that the examples of a document say."""
  if path.suffix == ".ipynb":
    code = "\n".join(cells(path))
  else:
    code = "\n".join(
      re.findall(r"^```.*?\n(.*?)^```", path.read_text(), re.M | re.S)
    )
  said = re.findall(r'(?:say|stream)\(\s*"([^"]+)"', code)
  return said + re.findall(r'--text "([^"]+)"', code)


@pytest.mark.parametrize(
  "path", [*WITH_PYTHON, NOTEBOOK], ids=lambda path: path.name
)
def test_the_demo_can_speak_what_examples_say(path):
  texts = spoken(path)
  assert texts
  for text in texts:
    assert text == text.lower()
    said = set(re.findall(r"\w+", re.sub(r"<#[\d.]+#>", " ", text)))
    assert said <= vocabulary(), text
