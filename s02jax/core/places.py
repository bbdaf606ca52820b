"""Folders and files on a disk or in an object store, by path or URL.

`at` makes a Path of a path. Of a URL it makes what is declared a Path as well
and has its methods, but asks fsspec: `s3://bucket/folder` needs the package
s3fs, `gs://` gcsfs, `memory://` nothing. What must lie on a disk to be read,
since it is mapped into memory or read by a library in C++, `local` copies
there. Stores have no folders: nothing needs to be made before a file in it.
What opens stores is imported with the first URL: an export does without.
"""

import os
import pathlib
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

from s02jax.core.errors import UserError

if TYPE_CHECKING:
  from upath import UPath

Named = str | os.PathLike[str]

# A Path of a URL holds one slash of the two. One letter is a drive, no scheme.
_URL = re.compile(r"([a-z][a-z0-9+]+):/+(.*)", re.DOTALL)
# Extras of this package that bring what reads a scheme.
_EXTRAS = {"s3": "s3", "gs": "gcs"}


def scheme(where: object) -> str:
  """Scheme of a URL, also of one made a Path, such as "s3"; "" of a path."""
  found = _URL.match(str(where))
  return found[1] if found and found[1] != "file" else ""


def at(where: Named) -> pathlib.Path:
  """Folder or file that a path or a URL names; nothing is looked up.

  Raises:
    UserError: a URL that no installed package understands.
  """
  found = _URL.match(str(where))
  if found is None:
    return pathlib.Path(where)
  if found[1] == "file":
    return pathlib.Path("/", found[2])
  import fsspec.config
  import upath

  url = f"{found[1]}://{found[2].rstrip('/')}"
  # Another process may have written the object that this one asks for: a list
  # of names that was read before is not believed.
  fsspec.config.conf.setdefault(found[1], {})["use_listings_cache"] = False
  try:
    fsspec.get_filesystem_class(found[1])
  except (ImportError, ValueError) as error:
    extra = _EXTRAS.get(found[1])
    how = f" (pip install 's02jax[{extra}]')" if extra else ""
    raise UserError(
      f"{url} cannot be opened: {error}; install what reads {found[1]}://"
      f"{how}, or mount the bucket on every host and give the path there."
    ) from error
  return cast(pathlib.Path, upath.UPath(url))


def absolute(where: Named) -> pathlib.Path:
  """Place of a name, whatever the present folder will be."""
  place = at(where)
  return place if stored(place) else place.absolute()


def stored(place: pathlib.Path) -> "UPath | None":
  """Object, or folder of objects, that a place is; None on a disk."""
  return None if isinstance(place, pathlib.Path) else place


def make_folder(place: pathlib.Path) -> None:
  """Makes a folder and its parents on a disk; a store has none to make."""
  if stored(place) is None:
    place.mkdir(parents=True, exist_ok=True)


def local(where: Named) -> pathlib.Path:
  """File on a disk with the content of a place: itself, or a copy of it.

  Raises:
    OSError: there is no such file, or it cannot be copied now.
  """
  place = at(where)
  found = stored(place)
  if found is None:
    return place
  from s02jax.core import object_cache

  return object_cache.fetch(found)


def claim(paths: Sequence[str]) -> None:
  """Says that these files, all in one folder, will be read again and again.

  Raises:
    UserError: they are objects, and the copies of all that this process reads
      would have no room together.
  """
  if paths and scheme(paths[0]):
    from s02jax.core import object_cache

    object_cache.claim(*(cast("UPath", at(path)) for path in paths))


def part_of(place: pathlib.Path) -> pathlib.Path:
  """Name on a disk under which a place is written, before it is whole.

  It is `.NAME.part` in the same folder; for an object, a name among the copies
  of objects on this host.
  """
  found = stored(place)
  if found is None:
    return place.with_name(f".{place.name}.part")
  from s02jax.core import object_cache

  return object_cache.part_of(found)


def put(file: pathlib.Path, place: pathlib.Path) -> None:
  """Moves a file on a disk to a place, whole or not at all.

  Raises:
    OSError: it cannot be written there now.
  """
  found = stored(place)
  if found is None:
    os.replace(file, place)
    return
  from s02jax.core import object_cache

  with object_cache.as_os_errors(found):
    found.fs.put_file(str(file), found.path)
  file.unlink()


def move(place: pathlib.Path, name: pathlib.Path) -> None:
  """Gives a file another name in the same disk or store.

  Raises:
    OSError: it is not there, or cannot be moved now.
  """
  found = stored(place)
  if found is None:
    os.replace(place, name)
    return
  from s02jax.core import object_cache

  with object_cache.as_os_errors(found):
    found.fs.mv(found.path, cast("UPath", name).path)


def remove_folder(place: pathlib.Path) -> None:
  """Removes a folder with all that is in it."""
  found = stored(place)
  if found is None:
    shutil.rmtree(place)
    return
  from s02jax.core import object_cache

  with object_cache.as_os_errors(found):
    for path in found.fs.find(found.path):
      found.fs.rm_file(path)


def move_folder(folder: pathlib.Path, target: pathlib.Path) -> None:
  """Gives a folder another name; objects one after another."""
  found = stored(folder)
  if found is None:
    folder.rename(target)
    return
  from s02jax.core import object_cache

  with object_cache.as_os_errors(found):
    for path in map(str, found.fs.find(found.path)):
      name = path.removeprefix(found.path)
      found.fs.mv(path, f"{cast('UPath', target).path}{name}")


def read_spans(
  folder: pathlib.Path, spans: Sequence[tuple[str, int, int]]
) -> Iterator[bytes]:
  """Parts of files in a folder; those of objects are read many at a time.

  Args:
    folder: folder of the files.
    spans: name of a file, number of the first byte, of the first not to read.
  """
  found = stored(folder)
  if found is None:
    for name, first, last in spans:
      with (folder / name).open("rb") as file:
        file.seek(first)
        yield file.read(last - first)
    return
  from s02jax.core import object_cache

  for begin in range(0, len(spans), 512):
    part = spans[begin : begin + 512]
    some = [span for span in part if span[2] > span[1]]
    with object_cache.as_os_errors(found):
      read = found.fs.cat_ranges(
        [f"{found.path}/{name}" for name, _, _ in some],
        [first for _, first, _ in some],
        [last for _, _, last in some],
        on_error="raise",
      )
    contents = iter(cast(list[bytes], read))
    for _, first, last in part:
      yield next(contents) if last > first else b""
