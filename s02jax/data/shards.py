"""Records of one ArrayRecord data set that lies in several files.

Files are opened when a record of theirs is read, and as many stay open as half
of what the operating system grants the process: a corpus of a thousand files
is read under `ulimit -n 1024`. What ArrayRecord cannot read is an OSError, as
for any other file, and its file is opened anew for the next try.
"""

import bisect
import collections
import contextlib
import errno
import itertools
import json
import os
import pathlib
import resource
import threading
from collections.abc import Callable, Sequence
from typing import Any

from array_record.python import array_record_module

from s02jax.core import files, places

_OPTIONS = "readahead_buffer_size:0"


def most_open() -> int:
  """Number of files that readers of a process may hold open together."""
  soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
  return 2**14 if soft == resource.RLIM_INFINITY else max(soft // 2, 8)


class _Readers:
  """Readers of files, the most recently used ones; thread-safe."""

  def __init__(self):
    self._open: collections.OrderedDict[str, Any] = collections.OrderedDict()
    self._lock = threading.Lock()

  def get(self, path: str) -> Any:
    """Reader of a file, opened where it is not yet."""
    with self._lock:
      if path in self._open:
        self._open.move_to_end(path)
        return self._open[path]
    here = os.fspath(places.local(path))
    made = array_record_module.ArrayRecordReader(here, options=_OPTIONS)
    with self._lock:
      reader = self._open.setdefault(path, made)
      # One that a thread still reads from is closed when that is done.
      while len(self._open) > most_open():
        self._open.popitem(last=False)
    return reader

  def drop(self, path: str) -> None:
    """Forgets a reader, so that its file is opened anew."""
    with self._lock:
      self._open.pop(path, None)


_readers = _Readers()


class Shards:
  """Records by number, over the files in order; thread-safe and picklable."""

  def __init__(
    self, paths: Sequence[str | os.PathLike], lengths: Sequence[int]
  ):
    """Opens nothing yet.

    Args:
      paths: the files, in the order of their records, in one folder.
      lengths: number of records in each.

    Raises:
      UserError: they are objects, and copies of them would have no room.
    """
    self._paths = [str(path) for path in paths]
    self._ends = [*itertools.accumulate(lengths)]
    if len(self._paths) != len(self._ends):
      raise ValueError(f"{len(self._paths)} files of {len(self._ends)} lengths")
    places.claim(self._paths)

  def __len__(self) -> int:
    return self._ends[-1] if self._ends else 0

  def read(self, index: int) -> bytes:
    """Bytes of a record.

    Raises:
      IndexError: there is no such record.
      OSError: its file cannot be read.
    """
    if not 0 <= index < len(self):
      raise IndexError(f"record {index} of {len(self)}")
    shard = bisect.bisect_right(self._ends, index)
    first = self._ends[shard - 1] if shard else 0
    path = self._paths[shard]
    try:
      return _readers.get(path).read([index - first])[0]
    except (RuntimeError, ValueError, IndexError) as error:
      _readers.drop(path)
      reason = str(error).splitlines()[0] if str(error) else "unreadable"
      raise OSError(errno.EIO, f"record {index - first}: {reason}", path) from (
        error
      )


# Bytes of records in one file: as large as object stores and copies like.
FILE_BYTES = 2**30
_WRITER_OPTIONS = "group_size:1,uncompressed"


def _card(path: pathlib.Path) -> pathlib.Path:
  """File with the numbers of records, where `path` is split into several."""
  return path.with_name(f"{path.name}.shards.json")


def _names(path: pathlib.Path, count: int) -> list[pathlib.Path]:
  """Names of the files that `path` is split into; its own of one."""
  if count == 1:
    return [path]
  return [
    path.with_name(f"{path.name}-{i:05d}-of-{count:05d}") for i in range(count)
  ]


def opened(path: pathlib.Path) -> Shards | None:
  """Records that a `ShardWriter` wrote; None where there are none."""
  if _card(path).exists():
    lengths = json.loads(_card(path).read_text())["lengths"]
    return Shards(_names(path, len(lengths)), lengths)
  return Shards([path], [length_of(path)]) if path.exists() else None


class ShardWriter:
  """Writer of records into files of FILE_BYTES, named by `close`, not before.

  One file bears the name that is given; several are `NAME-00000-of-00012`, and
  `NAME.shards.json` holds the number of records in each.
  """

  def __init__(self, path: pathlib.Path):
    """Makes the folder; files are made as they are needed."""
    self._path = path
    self._parts: list[pathlib.Path] = []
    self._lengths: list[int] = []
    self._writer: Any = None
    places.make_folder(path.parent)
    self._next()

  def _next(self) -> None:
    """Begins another file."""
    self._finish()
    name = f"{self._path.name}-{len(self._parts):05d}"
    self._parts.append(files.part_of(self._path.with_name(name)))
    self._lengths.append(0)
    self._bytes = 0
    self._writer = array_record_module.ArrayRecordWriter(
      os.fspath(self._parts[-1]), _WRITER_OPTIONS
    )

  def _finish(self) -> None:
    """Ends the present file."""
    if self._writer is not None:
      writer, self._writer = self._writer, None
      writer.close()

  @property
  def lengths(self) -> list[int]:
    """Number of records in each file, until now."""
    return list(self._lengths)

  def write(self, data: bytes) -> None:
    """Adds a record; RuntimeError where there is no room."""
    if self._bytes + len(data) > FILE_BYTES and self._lengths[-1]:
      self._next()
    self._writer.write(data)
    self._bytes += len(data)
    self._lengths[-1] += 1

  def close(self) -> None:
    """Ends the last file, and gives all of them their names.

    Raises:
      OSError, RuntimeError: they cannot be written.
    """
    self._finish()
    parts = list(zip(self._parts, self._lengths, strict=True))
    _name(self._path, parts, places.put)

  def discard(self) -> None:
    """Removes what was written, where it has not got its name."""
    with contextlib.suppress(RuntimeError):
      self._finish()
    for part in self._parts:
      part.unlink(missing_ok=True)


def join(
  path: pathlib.Path, parts: Sequence[tuple[pathlib.Path, Sequence[int]]]
) -> None:
  """Gives records that several `ShardWriter`s wrote one name, in order.

  A join that was cut short goes on: what is moved already stays.

  Args:
    path: name of the whole.
    parts: names that the writers were given, and their `lengths`.

  Raises:
    OSError: a part is not there, or cannot be renamed.
  """
  found = [
    place
    for part, lengths in parts
    for place in zip(_names(part, len(lengths)), lengths, strict=True)
  ]
  _name(path, found, _move_once)


def _move_once(part: pathlib.Path, name: pathlib.Path) -> None:
  """Moves a file, unless an earlier join has moved it."""
  if part.exists() or not name.exists():
    places.move(part, name)


def _name(
  path: pathlib.Path,
  parts: list[tuple[pathlib.Path, int]],
  give: Callable[[pathlib.Path, pathlib.Path], None],
) -> None:
  """Gives files the names that `path` is split into.

  Args:
    path: name of the whole.
    parts: files, with their numbers of records.
    give: moves a file to a name.
  """
  before = {x.name: x for x in path.parent.glob(f"{path.name}-*-of-*")}
  named = _names(path, len(parts))
  _card(path).unlink(missing_ok=True)
  for (part, _), name in zip(parts, named, strict=True):
    give(part, name)
    _readers.drop(str(name))
  if len(named) > 1:
    files.write_json(_card(path), {"lengths": [n for _, n in parts]})
    path.unlink(missing_ok=True)
  for stale in before.keys() - {name.name for name in named}:
    before[stale].unlink()


def length_of(path: str | os.PathLike) -> int:
  """Number of records in a file.

  Raises:
    OSError: it cannot be read.
  """
  name = str(path)
  try:
    return _readers.get(name).num_records()
  except RuntimeError as error:
    raise OSError(errno.EIO, str(error).splitlines()[0], name) from error
