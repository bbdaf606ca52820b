"""Copies of objects on a disk of this host, shared by all its processes.

The folder is $S02_OBJECTS, else `s02jax/objects` in the user's cache. A copy
has a name made of the object's URL and version, so that another object under
the same URL is another copy. It gets that name once it is whole; the processes
of a host that want the same object wait for the one that fetches it. Copies
hold $S02_OBJECTS_GIB together, 50 where it is not set: those that nobody asked
for the longest make room for new ones.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import pathlib
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

from s02jax.core.errors import UserError

if TYPE_CHECKING:
  from upath import UPath

# Seconds after which a half-written file is one of a process that was killed.
STALE = 24 * 3600
GIB = 50.0  # of all copies, where $S02_OBJECTS_GIB does not say it


def folder() -> pathlib.Path:
  """Folder of the copies; made where it is missing."""
  home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
  path = pathlib.Path(
    os.environ.get("S02_OBJECTS") or pathlib.Path(home) / "s02jax" / "objects"
  )
  path.mkdir(parents=True, exist_ok=True)
  return path


def limit() -> int:
  """Bytes that all copies may hold together.

  Raises:
    UserError: $S02_OBJECTS_GIB is no number above 0.
  """
  said = os.environ.get("S02_OBJECTS_GIB") or str(GIB)
  try:
    gib = float(said)
  except ValueError:
    gib = 0.0
  if not gib > 0:
    raise UserError(
      f"S02_OBJECTS_GIB is {said!r}; it must be a number above 0, the GiB that"
      " copies of objects may hold on this host."
    )
  return int(gib * 2**30)


def fetch(place: "UPath") -> pathlib.Path:
  """Copy of an object, fetched where it is not there yet.

  Raises:
    OSError: there is no such object, or it cannot be fetched now.
  """
  with as_os_errors(place):
    info = place.fs.info(place.path)
    version = place.fs.ukey(place.path)
  key = hashlib.sha256(f"{place} {version}".encode()).hexdigest()[:32]
  copy = folder() / f"{key}-{place.name}"
  if not _used(copy):
    with _alone(copy.with_name(f".{key}.lock")):
      if not _used(copy):
        _copy(place, copy, int(info["size"]))
  return copy


def part_of(place: "UPath") -> pathlib.Path:
  """Name of a file of this process that is to become an object."""
  key = hashlib.sha256(str(place).encode()).hexdigest()[:16]
  return folder() / f".{key}-{place.name}.{os.getpid()}.part"


def _used(copy: pathlib.Path) -> bool:
  """Whether a copy is there; it then counts as used now."""
  try:
    os.utime(copy)
  except FileNotFoundError:
    return False
  return True


def _copy(place: "UPath", copy: pathlib.Path, size: int) -> None:
  """Fetches an object under a name of its own, then gives it its name."""
  _make_room(copy.parent, size)
  part = copy.with_name(f".{copy.name}.{os.getpid()}.part")
  try:
    with as_os_errors(place):
      place.fs.get_file(place.path, str(part))
    if part.stat().st_size != size:
      raise OSError(errno.EIO, "the object changed while it was read", place)
    os.replace(part, copy)
  finally:
    part.unlink(missing_ok=True)


def _make_room(where: pathlib.Path, size: int) -> None:
  """Removes copies, those used longest ago first, until `size` more fit."""
  most = limit()
  with _alone(where / ".room.lock"):
    found = []
    for path in where.iterdir():
      with contextlib.suppress(FileNotFoundError):
        if not path.name.endswith(".lock"):
          state = path.stat()
          found.append((state.st_mtime_ns, state.st_size, path))
    held = sum(bytes_ for _, bytes_, _ in found)
    stale = time.time_ns() - STALE * 10**9
    for used, bytes_, path in sorted(found):
      if held + size <= most:
        break
      # One that is being written is somebody's, and not there to be removed.
      if used < stale or not path.name.startswith("."):
        path.unlink(missing_ok=True)
        held -= bytes_


@contextlib.contextmanager
def _alone(lock: pathlib.Path) -> Generator[None]:
  """Context in which no other process or thread of this host has the lock."""
  file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
  try:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield
  finally:
    os.close(file)


_claimed: dict[str, int] = {}


def claim(*objects: "UPath") -> None:
  """Says that this process will want these objects again and again.

  Args:
    objects: objects of one folder.

  Raises:
    UserError: what was claimed until now is more than copies may hold, so that
      each would be fetched for every few reads.
    OSError: the folder cannot be listed now.
  """
  where = objects[0].parent
  with as_os_errors(where):
    listed = where.fs.ls(where.path, detail=True)
  sizes = {pathlib.PurePosixPath(x["name"]).name: x["size"] for x in listed}
  for place in objects:
    _claimed[str(place)] = int(sizes.get(place.name) or 0)
  if (needed := sum(_claimed.values())) > limit():
    raise UserError(
      f"{where} and what else is read have {needed / 2**30:.3g} GiB, and the"
      f" copies of objects in {folder()} may hold {limit() / 2**30:.3g}; raise"
      " S02_OBJECTS_GIB, or mount the bucket and give the path there."
    )


@contextlib.contextmanager
def as_os_errors(place: "UPath") -> Generator[None]:
  """Context that makes every error of a store's client an OSError."""
  try:
    yield
  except OSError:
    raise
  except Exception as error:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    raise OSError(errno.EIO, reason, str(place)) from error
