"""What people give by name is checked before it is used."""

import pathlib

import pytest

from launch import common
from s02jax.core import inputs
from s02jax.core.errors import UserError
from s02jax.data.records import Corpus
from s02jax.training import arguments

TOY = f"--config={pathlib.Path(__file__).parents[1]}/toy_config.py"


@pytest.mark.parametrize("url", ["gs://b/x", "s3://b/x", "hdfs://n/x"])
def test_a_url_is_no_folder_of_that_name(url, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for argv in (
    [TOY, f"--workdir={url}"],
    [TOY, "--workdir=runs", f"--config.corpus={url}"],
  ):
    for read in (arguments.parse, common.check):
      with pytest.raises(UserError, match="a URL; .* mount the bucket"):
        read(argv)
  for folder in (url, pathlib.Path(url)):
    with pytest.raises(UserError, match="the corpus is .*, a URL"):
      Corpus.open(folder, "train")
  assert [*tmp_path.iterdir()] == []


def test_paths_are_paths():
  for path in ("runs/a", "/data/x", "a:b", "C:/x", pathlib.Path("x:y/z")):
    inputs.check_on_disk(path, "--workdir")
