"""Atomic writes: a name has its old content or the new one, whole."""

import json

import pytest

from s02jax.core import files
from s02jax.core.errors import UserError


def fail(part):
  part.write_text("half")
  raise KeyboardInterrupt


def test_a_file_keeps_its_content_until_the_new_one_is_whole(tmp_path):
  path = tmp_path / "a.txt"
  files.write_text(path, "old")
  with pytest.raises(KeyboardInterrupt), files.atomic(path) as part:
    fail(part)
  assert path.read_text() == "old"
  files.write_text(path, "new")
  assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [
    ("a.txt", "new")
  ]


def test_a_folder_keeps_its_content_until_the_new_one_is_whole(tmp_path):
  out = tmp_path / "deep" / "out"
  with files.atomic_folder(out) as part:
    (part / "a").write_text("old")
  with pytest.raises(KeyboardInterrupt), files.atomic_folder(out) as part:
    fail(part / "a")
  assert (out / "a").read_text() == "old"
  with files.atomic_folder(out) as part:
    (part / "b").write_text("new")
  assert [p.name for p in out.iterdir()] == ["b"]
  assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_a_leftover_of_a_killed_process_is_no_obstacle(tmp_path):
  files.part_of(tmp_path / "out").mkdir()
  (files.part_of(tmp_path / "out") / "half").write_text("")
  with files.atomic_folder(tmp_path / "out"):
    pass
  assert list((tmp_path / "out").iterdir()) == []


def test_parents_are_made_and_errors_name_the_remedy(tmp_path):
  files.write_json(tmp_path / "a" / "b.json", {"x": "ä"})
  assert json.loads((tmp_path / "a" / "b.json").read_text()) == {"x": "ä"}
  path = tmp_path / "a" / "b.json" / "c"
  with (
    pytest.raises(UserError, match="cannot write the page.*give a place"),
    files.explain_errors(path, "the page"),
  ):
    files.write_text(path, "x")


def test_json_that_nobody_could_read_is_not_written(tmp_path):
  with pytest.raises(ValueError):
    files.write_json(tmp_path / "a.json", {"x": float("nan")})
  assert list(tmp_path.iterdir()) == []
