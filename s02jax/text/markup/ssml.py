"""SSML 1.1, as much of it as a request has: the rest is left out by its name.

<break>, <p>, <s>, <sub alias>, <say-as> and <emotion> act, and <prosody rate>
where it holds for the whole text. Other elements, <phoneme> among them, have no
effect; their words are read. Entities cannot be declared.
"""

import dataclasses
import re
from collections.abc import Sequence
from xml.parsers import expat

from s02jax.core.errors import UserError
from s02jax.text.markup import tags
from s02jax.text.markup.document import (
  KINDS,
  PARAGRAPH,
  Document,
  SayAs,
  ended,
)

RATES = {
  "x-slow": 0.5,
  "slow": 0.75,
  "medium": 1.0,
  "default": 1.0,
  "fast": 1.25,
  "x-fast": 1.5,
}
DEEPEST = 1000  # elements inside of one another
_ROOT = re.compile(
  r"\s*(?:<\?xml[^>]*\?>)?\s*(?:<!--.*?-->\s*)*<(?:speak[\s>/]|!DOCTYPE)", re.S
)
_UNSPOKEN = {"desc", "lexicon", "lookup", "meta", "metadata", "title"}


def read(text: str) -> Document:
  """Reads a text in SSML; <speak> around it may be missing.

  Raises:
    UserError: not XML, a declaration of a type or of entities, or an attribute
      without a meaning.
  """
  if not _ROOT.match(text):
    text = f"<speak>{text}</speak>"
  reading = _Reading()
  parser = expat.ParserCreate()
  parser.buffer_text = True
  parser.StartDoctypeDeclHandler = _refuse_types
  parser.StartElementHandler = reading.start
  parser.EndElementHandler = reading.end
  parser.CharacterDataHandler = reading.words
  try:
    parser.Parse(text.encode(), True)
  except expat.ExpatError as error:
    raise UserError(
      f"the SSML is not XML: {expat.ErrorString(error.code)} in line"
      f" {error.lineno}, column {error.offset + 1}."
    ) from error
  return reading.document()


def _refuse_types(*_: object) -> None:
  raise UserError(
    "the SSML declares a document type: leave <!DOCTYPE …> out, no entities can"
    " be declared."
  )


@dataclasses.dataclass(frozen=True)
class _Element:
  """Element that is open."""

  name: str  # in small letters
  attributes: dict[str, str]  # by their names as written
  begin: int  # number of pieces before it


class _Reading:
  """Handlers of the parser, and what they have read so far."""

  def __init__(self):
    self._pieces: list[str | SayAs] = []
    self._open: list[_Element] = []
    self._silent = 0  # open elements whose words are not read
    self._rates: list[tuple[float, str]] = []  # of a <prosody>; its letters
    self._dropped: dict[str, None] = {}
    self._language: str | None = None

  def document(self) -> Document:
    """Document of all that was read."""
    speed, everything = 1.0, _letters(self._pieces)
    for rate, letters in self._rates:
      if letters == everything:
        speed *= rate
      else:
        self._dropped["<prosody rate> around a part of the text"] = None
    return Document(
      pieces=tuple(self._pieces),
      dropped=tuple(self._dropped),
      speed=speed,
      language=self._language,
    )

  def start(self, name: str, found: dict[str, str]) -> None:
    """Begins an element."""
    name = name.lower()
    if len(self._open) >= DEEPEST:
      raise UserError(f"the SSML has elements in more than {DEEPEST} levels.")
    self._open.append(_Element(name, found, len(self._pieces)))
    replaced = name == "sub" and "alias" in found
    if self._silent or replaced or name in _UNSPOKEN:
      if replaced and not self._silent:
        self._pieces.append(found["alias"])
      self._silent += 1
    elif name == "break":
      self._pieces.append(tags.seconds_mark(found))
    elif name == "emotion":
      self._pieces.append(tags.emotion_mark({"name": ""} | found))
    elif name in ("p", "s"):
      self._pieces.append(PARAGRAPH if name == "p" else " ")
    elif name == "speak":
      self._language = found.get("xml:lang", self._language)
    elif name == "say-as" and found.get("interpret-as") in KINDS:
      pass
    elif name == "prosody":
      self._prosody(found)
    elif name != "sub":
      self._dropped[f"<{name}>"] = None

  def end(self, _: str) -> None:
    """Ends an element."""
    element = self._open.pop()
    inside = self._pieces[element.begin :]
    if self._silent:
      self._silent -= 1
    elif element.name == "emotion":
      self._pieces.append(tags.emotion_mark(None))
    elif element.name in ("p", "s"):
      text = Document(pieces=tuple(inside)).text().rstrip()
      mark = ended(text)[len(text) :]
      self._pieces.append(mark + (PARAGRAPH if element.name == "p" else " "))
    elif element.name == "say-as":
      kind = element.attributes.get("interpret-as", "")
      if kind in KINDS:
        text = Document(pieces=tuple(inside)).text()
        self._pieces[element.begin :] = [SayAs(kind=kind, text=text)]
    elif element.name == "prosody" and "rate" in element.attributes:
      rate = _rate(element.attributes["rate"])
      self._rates.append((rate, _letters(inside)))

  def words(self, text: str) -> None:
    """Reads words."""
    if not self._silent:
      self._pieces.append(text)

  def _prosody(self, found: dict[str, str]) -> None:
    """Notes what of a <prosody> has no effect."""
    for name in found:
      if name != "rate":
        self._dropped[f"<prosody {name}>"] = None


def _letters(pieces: Sequence[str | SayAs]) -> str:
  """All that is to be heard of some pieces: letters and digits."""
  text = Document(pieces=tuple(pieces)).text()
  return "".join(filter(str.isalnum, re.sub(r"<#.*?#>", "", text)))


def _rate(written: str) -> float:
  """Speed of a <prosody rate>, such as fast, 120%, +20% or 1.2.

  Raises:
    UserError: none of these.
  """
  if written in RATES:
    return RATES[written]
  match = re.fullmatch(r"([+-]?)([0-9]{1,4}(?:\.[0-9]{1,4})?)(%?)", written)
  if match is None:
    raise UserError(
      f"<prosody rate={written[:20]!r}>: write {', '.join(RATES)}, or such as"
      " 120%."
    )
  value = float(match[2]) / (100 if match[3] else 1)
  return {"": value, "+": 1 + value, "-": 1 - value}[match[1]]
