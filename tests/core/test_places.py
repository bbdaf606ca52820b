"""Files by path and by URL; copies of objects within a limit."""

import concurrent.futures
import os
import pathlib

import fsspec
import pytest

from s02jax.core import files, object_cache, places
from s02jax.core.errors import UserError


@pytest.fixture
def store(tmp_path, monkeypatch):
  """An empty store in memory, and an empty folder for copies of its objects."""
  monkeypatch.setenv("S02_OBJECTS", str(tmp_path / "objects"))
  monkeypatch.setattr(object_cache, "_claimed", {})
  fs = fsspec.filesystem("memory")
  fs.store.clear()
  yield fs
  fs.store.clear()


def copies() -> list[pathlib.Path]:
  """Copies that are there, without locks."""
  return sorted(p for p in object_cache.folder().iterdir() if p.name[0] != ".")


def test_a_copy_is_fetched_once_by_all_who_want_it(store, monkeypatch):
  store.pipe_file("/b/x.npz", bytes(1000))
  fetched, plain = [], type(store).get_file

  def get_file(self, path, target):
    fetched.append(path)
    plain(self, path, target)

  monkeypatch.setattr(type(store), "get_file", get_file)
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    found = [*pool.map(places.local, ["memory://b/x.npz"] * 8)]
  assert set(found) == set(copies()) and len(fetched) == 1
  assert found[0].read_bytes() == bytes(1000)


def test_another_object_of_the_same_name_is_another_copy(store):
  store.pipe_file("/b/x", b"one")
  assert places.local("memory://b/x").read_bytes() == b"one"
  store.pipe_file("/b/x", b"two")
  assert places.local("memory://b/x").read_bytes() == b"two"


def test_the_copies_used_longest_ago_make_room(store, monkeypatch):
  monkeypatch.setenv("S02_OBJECTS_GIB", str(2500 / 2**30))
  for name in "abc":
    store.pipe_file(f"/{name}", bytes(1000))
  a, b = (places.local(f"memory://{name}") for name in "ab")
  os.utime(a, (1, 1))
  os.utime(b, (2, 2))
  assert places.local("memory://a") == a  # used again
  c = places.local("memory://c")
  assert copies() == sorted([a, c])


def test_what_a_killed_process_left_makes_room_too(store, monkeypatch):
  monkeypatch.setenv("S02_OBJECTS_GIB", str(1500 / 2**30))
  store.pipe_file("/x", bytes(1000))
  old, new = (object_cache.folder() / f".{name}.part" for name in "on")
  for path in (old, new):
    path.write_bytes(bytes(1000))
  os.utime(old, (1, 1))
  places.local("memory://x")
  assert new.exists() and not old.exists()


def test_a_copy_that_fails_leaves_nothing(store, monkeypatch):
  store.pipe_file("/x", bytes(1000))

  def get_file(self, path, target):
    del self, path
    pathlib.Path(target).write_bytes(b"0")

  monkeypatch.setattr(type(store), "get_file", get_file)
  with pytest.raises(OSError, match="changed while it was read"):
    places.local("memory://x")
  assert copies() == []
  with pytest.raises(FileNotFoundError):
    places.local("memory://none")


def test_more_than_copies_may_hold_is_one_sentence(store, monkeypatch):
  for name in "ab":
    store.pipe_file(f"/c/{name}", bytes(2000))
  monkeypatch.setenv("S02_OBJECTS_GIB", str(3000 / 2**30))
  places.claim(["memory://c/a"])
  places.claim(["memory://c/a"])  # the same one does not count twice
  with pytest.raises(UserError, match="raise S02_OBJECTS_GIB"):
    places.claim(["memory://c/b"])
  monkeypatch.setenv("S02_OBJECTS_GIB", "many")
  with pytest.raises(UserError, match="S02_OBJECTS_GIB is 'many'"):
    object_cache.limit()


def test_what_is_written_appears_whole_or_not_at_all(store):
  target = places.at("memory://b/deep/x.json")
  files.write_json(target, {"a": 1})
  assert files.read_json(target, "s02") == {"a": 1}
  with pytest.raises(ZeroDivisionError), files.atomic(target) as part:
    part.write_text("{}")
    raise ZeroDivisionError
  assert files.read_json(target, "s02") == {"a": 1}
  assert [*object_cache.folder().iterdir()] == []


def test_parts_of_files_are_those_of_objects(store, tmp_path):
  spans = [("x", 0, 3), ("y", 2, 2), ("y", 1, 4), ("x", 5, 6)]
  for name in "xy":
    (tmp_path / name).write_bytes(f"{name}12345".encode())
    store.pipe_file(f"/f/{name}", f"{name}12345".encode())
  here = [*places.read_spans(tmp_path, spans)]
  assert here == [b"x12", b"", b"123", b"5"]
  assert [*places.read_spans(places.at("memory://f"), spans)] == here


def test_a_folder_of_objects_moves(store):
  store.pipe_file("/run/checkpoints/2/state/d/1", b"1")
  store.pipe_file("/run/checkpoints/2/config", b"2")
  run = places.at("memory://run")
  places.move_folder(run / "checkpoints" / "2", run / "damaged" / "2")
  found = [path.removeprefix("/run/") for path in store.find("/run")]
  assert found == ["damaged/2/config", "damaged/2/state/d/1"]


@pytest.mark.parametrize("url", ["file:///data/corpus", "file:/data/corpus"])
def test_a_url_of_a_file_is_a_path(url):
  assert places.at(url) == pathlib.Path("/data/corpus")
  assert places.scheme(url) == "" and places.stored(places.at(url)) is None
