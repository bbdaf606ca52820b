"""What people give by name is checked before it is used."""

import pathlib

import pytest

from launch import common
from s02jax.core import files, inputs, places
from s02jax.core.errors import UserError
from s02jax.data.records import Corpus
from s02jax.training import arguments

TOY = f"--config={pathlib.Path(__file__).parents[1]}/toy_config.py"


@pytest.mark.parametrize("read", [arguments.parse, common.check])
def test_a_url_that_nothing_opens_is_one_sentence(read):
  url = "nowhere://b/x"
  with pytest.raises(UserError, match="not to nowhere://"):
    read([TOY, f"--workdir={url}"])
  with pytest.raises(UserError, match="nowhere://b/x cannot be opened"):
    read([TOY, "--workdir=runs", f"--config.corpus={url}"])
  with pytest.raises(UserError, match="--workdir is memory://run; checkpoints"):
    read([TOY, "--workdir=memory://run"])


@pytest.mark.parametrize("of", [str, pathlib.Path])
def test_a_url_is_no_folder_of_that_name(of, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match="memory://b/x is not a corpus"):
    Corpus.open(of("memory://b/x"), "train")
  with (
    pytest.raises(UserError, match="a URL, which is not written directly"),
    files.atomic_folder(of("s3://b/x")),
  ):
    pass
  assert [*tmp_path.iterdir()] == []


def test_paths_are_paths():
  for path in ("runs/a", "/data/x", "a:b", "C:/x", pathlib.Path("x:y/z")):
    inputs.check_on_disk(path, "--workdir")
    assert places.at(path) == pathlib.Path(path)
