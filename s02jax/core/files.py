"""Files and folders that have their name only once they are whole."""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

from s02jax.core.errors import UserError


def replace_folder(new: pathlib.Path, out: pathlib.Path) -> None:
  """Moves `new` to `out`, whose former content goes."""
  if not out.exists():
    new.rename(out)
    return
  old = out.with_name(f".{out.name}.old")
  shutil.rmtree(old, ignore_errors=True)
  out.rename(old)
  new.rename(out)
  shutil.rmtree(old)


def write_atomically(path: pathlib.Path, content: str) -> None:
  """Writes a file that has its name only when it is whole.

  Raises:
    UserError: it cannot be written.
  """
  temporary = path.with_name(f".{path.name}.part")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text(content, encoding="utf-8")
    os.replace(temporary, path)
  except OSError as error:
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)
    raise UserError(
      f"{path}: cannot be written ({error.strerror}); give --out a folder"
      " you may write to, with room for it."
    ) from error


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a file that has its name only when it is whole."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name}.part")
  temporary.write_text(text, encoding="utf-8")
  os.replace(temporary, path)


def write_json(path: pathlib.Path, values: Mapping[str, Any]) -> None:
  """The same, of an object."""
  write_text(path, json.dumps(values, indent=2) + "\n")
