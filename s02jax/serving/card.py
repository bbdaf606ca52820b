"""The file card.json of an export: sizes, file names, SHA-256 digests."""

import concurrent.futures
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from s02jax.core import languages
from s02jax.core.errors import UserError

FORMAT_VERSION = 2
CARD = "card.json"


def read_card(folder: pathlib.Path) -> dict[str, Any]:
  """Reads the card of an export and checks the digests of its files.

  Raises:
    UserError: no card, one of another version, or a file that is missing or
      differs from what was exported, by its name.
  """
  try:
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    version = card["format_version"]
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise UserError(
      f"{folder}: not an export; give the folder that `s02 export` wrote."
    ) from error
  if version != FORMAT_VERSION:
    raise UserError(
      f"{folder}: exported by another version (format {version}, this one reads"
      f" {FORMAT_VERSION}); use the code in the folder itself."
    )
  _check(folder, card["files"])
  languages.add_rows(card.get("added_languages", ()))
  return card


def _check(folder: pathlib.Path, files: Mapping[str, str]) -> None:
  """Raises UserError for a file that is missing or has another digest."""
  with concurrent.futures.ThreadPoolExecutor() as pool:
    found = pool.map(lambda name: _digest_or_none(folder / name), files)
    for (name, expected), digest in zip(files.items(), found, strict=True):
      if digest is None:
        raise UserError(f"{folder}: {name} is missing; copy it again.")
      if digest != expected:
        raise UserError(
          f"{folder}: {name} is not what was exported; copy it again."
        )


def _digest_or_none(path: pathlib.Path) -> str | None:
  """SHA-256 of a file, None where there is none."""
  return digest(path) if path.is_file() else None


def digest(path: pathlib.Path) -> str:
  """SHA-256 of a file, hexadecimal."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
