"""Markdown as it is read aloud.

Headings, paragraphs, items and rows of tables are sentences of their own; the
cells of a row are parted by commas, and the items of a numbered list keep their
numbers. Of links and pictures their words are read, of code its characters.
"""

import re
from collections.abc import Sequence

import markdown_it
from markdown_it.token import Token

from s02jax.core.errors import UserError
from s02jax.text.markup import tags
from s02jax.text.markup.document import PARAGRAPH, Document, ended

DEEPEST = 100  # levels of quotations and lists inside of one another
_FRONT_MATTER = re.compile(
  r"\A---[ \t]*\n(?=[\w-]+[ \t]*:)(?s:.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)"
)
_TASK = re.compile(r"\A\[[ xX]\][ \t]+")


def read(text: str) -> Document:
  """Reads a text in CommonMark, with tables and strikethrough.

  Raises:
    UserError: quotations and lists that are nested too deep.
  """
  dropped: dict[str, None] = {}
  front = _FRONT_MATTER.match(text)
  if front:
    text = text[front.end() :]
    dropped["the front matter"] = None
  parser = markdown_it.MarkdownIt("commonmark", {"maxNesting": DEEPEST})
  tokens = parser.enable(["table", "strikethrough"]).parse(text)
  if any(token.level >= DEEPEST - 1 for token in tokens):
    raise UserError(
      f"the Markdown has quotations or lists in more than {DEEPEST} levels;"
      " make it flatter, or read it by --markup none."
    )
  reading = _Reading(dropped)
  for token in tokens:
    reading.block(token)
  return Document(pieces=("".join(reading.made),), dropped=tuple(dropped))


class _Reading:
  """Text of the blocks that were read so far."""

  def __init__(self, dropped: dict[str, None]):
    self.made: list[str] = []
    self._dropped = dropped
    self._numbers: list[int | None] = []  # of the next item, by open list
    self._start = ""  # of the next text: the number of its item
    self._cells: list[str] | None = None  # of the open row of a table

  def block(self, token: Token) -> None:
    """Reads a token of a block."""
    match token.type:
      case "ordered_list_open":
        self._numbers.append(int(token.attrGet("start") or 1))
      case "bullet_list_open":
        self._numbers.append(None)
      case "ordered_list_close" | "bullet_list_close":
        self._numbers.pop()
      case "list_item_open":
        self._begin_item()
      case "inline" if self._cells is not None:
        self._cells.append(self._inline(token.children or []))
      case "inline":
        self._add(_TASK.sub("", self._inline(token.children or [])))
      case "fence" | "code_block":
        lines = token.content.splitlines()
        self._add("\n".join(line for line in lines if line.strip()))
      case "html_block":
        self._add(self._tags(token.content))
      case "tr_open":
        self._cells = []
      case "tr_close":
        cells, self._cells = self._cells or [], None
        self._add(", ".join(filter(str.strip, cells)))

  def _begin_item(self) -> None:
    """Keeps the number of an item for its first text."""
    number = self._numbers[-1]
    if number is not None:
      self._start = f"{number}: "
      self._numbers[-1] = number + 1

  def _add(self, text: str) -> None:
    """Adds a text that is a sentence of its own."""
    if text.strip():
      self.made += [self._start, ended(text.strip()), PARAGRAPH]
      self._start = ""

  def _inline(self, tokens: Sequence[Token]) -> str:
    """Words of the tokens inside of a block."""
    made = []
    for token in tokens:
      match token.type:
        case "softbreak" | "hardbreak":
          made.append("\n")
        case "image":
          made.append(self._inline(token.children or []))
        case "html_inline":
          made.append(self._tags(token.content))
        case _:
          made.append(token.content)
    return "".join(made)

  def _tags(self, content: str) -> str:
    """Text with tags in it, and what they do."""
    found = tags.read(content)
    self._dropped |= dict.fromkeys(found.dropped)
    return found.text()
