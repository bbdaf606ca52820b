"""Atomic writes: files and folders get their name only once they are whole.

Everything is written beside its name, as `.NAME.part`, and renamed at the end:
a process that is killed in between leaves the former content under the name.
A file in an object store is written on this host's disk, then put there whole.
"""

import contextlib
import json
import pathlib
import shutil
from collections.abc import Generator
from typing import Any

from s02jax.core import inputs, places
from s02jax.core.errors import UserError
from s02jax.core.places import Named as Path


def part_of(path: Path) -> pathlib.Path:
  """Temporary name on a disk under which `path` is written."""
  return places.part_of(places.at(path))


@contextlib.contextmanager
def atomic(path: Path) -> Generator[pathlib.Path]:
  """Context whose temporary file becomes `path` if the block ends well.

  Yields:
    Temporary name to write to, in the same folder, which must exist. After an
    exception that file is removed and `path` is as it was.
  """
  temporary = part_of(path)
  try:
    yield temporary
    places.put(temporary, places.at(path))
  finally:
    # The folder may be gone, or not be one.
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(out: Path) -> Generator[pathlib.Path]:
  """Context whose temporary folder replaces `out` if the block ends well.

  Yields:
    Empty folder beside `out`; parents are made where they are missing.

  Raises:
    UserError: a URL: a store has no folder that appears whole.
  """
  inputs.check_on_disk(out, "the folder to write")
  out = pathlib.Path(out)
  temporary = part_of(out)
  try:
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    yield temporary
    _replace_folder(temporary, out)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(new: pathlib.Path, out: pathlib.Path) -> None:
  """Renames `new` to `out`, whose former content is removed."""
  if not out.exists():
    new.rename(out)
    return
  old = out.with_name(f".{out.name}.old")
  shutil.rmtree(old, ignore_errors=True)
  out.rename(old)
  new.rename(out)
  shutil.rmtree(old)


@contextlib.contextmanager
def explain_errors(path: Path, what: str) -> Generator[None]:
  """Context that turns an OSError of writing into one sentence.

  Args:
    path: file or folder that is written.
    what: name of the content, such as "the report".

  Raises:
    UserError: the block raised an OSError.
  """
  try:
    yield
  except OSError as error:
    raise UserError(
      f"{path}: cannot write {what} ({error.strerror or error}); give a place"
      " where you may write, with room for it."
    ) from error


def read_json(path: pathlib.Path, verb: str) -> Any:
  """Content of a JSON file that the command `verb` writes.

  Raises:
    UserError: the file is missing or holds something else.
  """
  try:
    return json.loads(path.read_text("utf-8"))
  except (OSError, ValueError) as error:
    raise UserError(
      f"{path}: cannot be read ({error}); `{verb}` writes it."
    ) from error


def write_bytes(path: Path, data: bytes) -> None:
  """Writes a file in one piece; parents are made where they are missing."""
  places.make_folder(places.at(path).parent)
  with atomic(path) as temporary:
    temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
  """Writes a file of UTF-8 in one piece, like `write_bytes`."""
  write_bytes(path, text.encode())


def write_json(path: Path, values: Any) -> None:
  """Writes indented JSON in one piece, like `write_bytes`."""
  text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
  write_text(path, text + "\n")
