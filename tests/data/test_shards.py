"""Records over many files: a bounded number open, faults that pass."""

import concurrent.futures
import pickle

import numpy as np
import pytest
from array_record.python import array_record_module

from s02jax.data import shards

FILES, EACH = 12, 7


@pytest.fixture
def paths(tmp_path):
  """Files of records that hold their numbers."""
  found = []
  for i in range(FILES):
    found.append(tmp_path / f"part-{i}.array_record")
    writer = array_record_module.ArrayRecordWriter(
      str(found[-1]), "group_size:1,uncompressed"
    )
    for k in range(EACH):
      writer.write(str(EACH * i + k).encode())
    writer.close()
  return found


def opened(monkeypatch) -> shards._Readers:
  """Readers of this test alone, of which two stay open."""
  readers = shards._Readers()
  monkeypatch.setattr(shards, "_readers", readers)
  monkeypatch.setattr(shards, "most_open", lambda: 2)
  return readers


def test_threads_read_every_record_with_two_files_open(paths, monkeypatch):
  readers = opened(monkeypatch)
  found = pickle.loads(pickle.dumps(shards.Shards(paths, [EACH] * FILES)))
  order = np.random.default_rng(0).permutation(len(found)).tolist() * 3
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    for index, data in zip(order, pool.map(found.read, order), strict=True):
      assert data == str(index).encode()
  assert len(readers._open) <= 2
  assert shards.length_of(paths[3]) == EACH


def test_a_file_that_comes_back_is_read(paths, monkeypatch):
  opened(monkeypatch)
  found = shards.Shards(paths, [EACH] * FILES)
  away = paths[4].rename(paths[4].with_suffix(".away"))
  with pytest.raises(OSError, match="part-4"):
    found.read(4 * EACH)
  away.rename(paths[4])
  assert found.read(4 * EACH) == str(4 * EACH).encode()


def test_a_damaged_file_is_an_error_of_the_file_system(paths, monkeypatch):
  opened(monkeypatch)
  data = bytearray(paths[0].read_bytes())
  data[: len(data) // 2] = bytes(len(data) // 2)
  paths[0].write_bytes(data)
  with pytest.raises(OSError, match="part-0"):
    shards.Shards(paths, [EACH] * FILES).read(0)


def test_numbers_outside_are_refused(paths):
  found = shards.Shards(paths, [EACH] * FILES)
  for index in (-1, EACH * FILES):
    with pytest.raises(IndexError):
      found.read(index)


def test_the_limit_of_the_system_bounds_what_is_open(monkeypatch):
  monkeypatch.setattr(shards.resource, "getrlimit", lambda _: (1024, 4096))
  assert shards.most_open() == 512


def test_a_writer_splits_what_is_large(tmp_path, monkeypatch):
  opened(monkeypatch)
  path = tmp_path / "features" / "tokens.array_record"
  monkeypatch.setattr(shards, "FILE_BYTES", 20)
  for count, files in ((17, 4), (1, 1), (30, 6)):
    writer = shards.ShardWriter(path)
    for i in range(count):
      writer.write(f"{i:04d}".encode())
    assert shards.opened(path) is None or count != 17  # no name before its time
    writer.close()
    found = shards.opened(path)
    assert found is not None and len(found) == count
    assert [int(found.read(i)) for i in range(count)] == [*range(count)]
    named = [p for p in path.parent.iterdir() if p.suffix != ".json"]
    assert len(named) == files  # nothing of the one before is left


def test_a_writer_that_fails_leaves_nothing(tmp_path):
  path = tmp_path / "features" / "tokens.array_record"
  writer = shards.ShardWriter(path)
  writer.write(b"a")
  writer.discard()
  assert [*path.parent.iterdir()] == [] and shards.opened(path) is None
