"""Records of one ArrayRecord data set that lies in several files.

Files are opened when a record of theirs is read, and as many stay open as half
of what the operating system grants the process: a corpus of a thousand files
is read under `ulimit -n 1024`. What ArrayRecord cannot read is an OSError, as
for any other file, and its file is opened anew for the next try.
"""

import bisect
import collections
import errno
import itertools
import os
import resource
import threading
from collections.abc import Sequence
from typing import Any

from array_record.python import array_record_module

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
    made = array_record_module.ArrayRecordReader(path, options=_OPTIONS)
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
      paths: the files, in the order of their records.
      lengths: number of records in each.
    """
    self._paths = [os.fspath(path) for path in paths]
    self._ends = [*itertools.accumulate(lengths)]
    if len(self._paths) != len(self._ends):
      raise ValueError(f"{len(self._paths)} files of {len(self._ends)} lengths")

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


def length_of(path: str | os.PathLike) -> int:
  """Number of records in a file.

  Raises:
    OSError: it cannot be read.
  """
  path = os.fspath(path)
  try:
    return _readers.get(path).num_records()
  except RuntimeError as error:
    raise OSError(errno.EIO, str(error).splitlines()[0], path) from error
