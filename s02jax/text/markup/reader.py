"""Reader of documents: the kinds of marks, and which file has which."""

import pathlib
from collections.abc import Callable

from s02jax.core.errors import UserError
from s02jax.text.clean import visible
from s02jax.text.markup import markdown, ssml, subtitles, tags
from s02jax.text.markup.document import Document

_READERS: dict[str, Callable[[str], Document]] = {
  "none": tags.read,
  "markdown": markdown.read,
  "ssml": ssml.read,
  "srt": subtitles.read,
}
KINDS = tuple(_READERS)
_SUFFIXES = {
  ".md": "markdown",
  ".markdown": "markdown",
  ".ssml": "ssml",
  ".srt": "srt",
}


def kind_of(path: str) -> str:
  """Kind of the marks in a file, by the suffix of its name."""
  return _SUFFIXES.get(pathlib.PurePath(path).suffix.lower(), "none")


def read(text: str, kind: str) -> Document:
  """Reads a text with marks of one kind.

  Args:
    text: as it was written.
    kind: one of KINDS.

  Raises:
    UserError: the marks are wrong, or the kind is unknown.
  """
  if kind not in _READERS:
    raise UserError(f"markup {kind!r} is unknown: there is {', '.join(KINDS)}.")
  return _READERS[kind](visible(text))
