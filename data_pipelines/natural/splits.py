"""Splits of the texts: decided by each text alone, and what is left out."""

import pathlib
import unicodedata
from collections.abc import Iterable

from data_pipelines.hashing import digest
from s02jax.core.errors import UserError


def text_key(text: str) -> str:
  """Key shared by texts that sound alike: letters and digits, caseless."""
  return "".join(
    character
    for character in text.casefold()
    if unicodedata.category(character)[0] in "LMN"
  )


def split_of(text: str, parts: int = 20) -> str:
  """Split that a text may occur in alone; one of `parts` is each held-out."""
  place = digest("natural", text_key(text)) % parts
  return {0: "seen", 1: "unseen"}.get(place, "train")


class Excluded:
  """Texts that no corpus may hold, such as those of a benchmark."""

  def __init__(self, paths: Iterable[pathlib.Path]):
    """Reads files of lines, whole folders of them included.

    A text is excluded if its letters are those of a line, of a part of a line
    between bars, or occur within one.

    Raises:
      UserError: a file cannot be read.
    """
    found: list[str] = []
    for path in paths:
      files = [path]
      if path.is_dir():
        files = sorted(x for x in path.rglob("*") if x.is_file())
      for file in files:
        found += _lines(file)
    self._text = "\n".join(map(text_key, found))
    self.digest = f"{digest(self._text):016x}" if found else ""

  def __contains__(self, text: str) -> bool:
    return bool(key := text_key(text)) and key in self._text


def _lines(path: pathlib.Path) -> list[str]:
  try:
    return path.read_text("utf-8").splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f"cannot read {path}: {error}") from error
