"""Document: what is left of a text with marks, and what had no effect."""

import dataclasses
import re
import unicodedata

from s02jax.core import languages
from s02jax.text import spellout
from s02jax.text.chunks import MAX_PAUSE, MIN_PAUSE

PARAGRAPH = "\n\n"
# Ways of SSML's <say-as> in which the front end reads a text by its form.
AS_WRITTEN = {
  "address", "currency", "date", "duration", "fraction", "measure", "name",
  "time", "unit",
}  # fmt: skip
_SPELT = {"characters", "digits", "spell-out", "telephone", "verbatim"}
_COUNTED = {"cardinal", "number", "ordinal"}
_FULL_STOPS = {"CJK": "。", "HIRAGANA": "。", "KATAKANA": "。"}
_FULL_STOPS |= {"DEVANAGARI": "।", "ARABIC": ".", "THAI": ""}
_CLOSERS = "\"'”’»›」』）】》〉)]*_"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SayAs:
  """Text whose reading the writer chose."""

  kind: str  # one of `KINDS`
  text: str  # as written

  def words(self, language: str) -> str:
    """Writes the text so that the front end reads it as was asked."""
    code = languages.resolve(language).code
    bare = re.sub(r"\s", "", self.text)
    if self.kind in _COUNTED:
      if not re.fullmatch(r"[0-9]{1,12}", bare):
        return self.text
      if self.kind == "ordinal":
        return spellout.ordinal(int(bare), code)
      return spellout.cardinal(int(bare), code)
    if self.kind not in _SPELT:
      return self.text
    groups = re.split(r"[\s./-]+", self.text.strip())
    if self.kind == "characters" or self.kind == "spell-out":
      groups = ["".join(groups)]
    spelt = (" ".join(_spelt(c, code) for c in group) for group in groups)
    return ", ".join(spelt)


KINDS = AS_WRITTEN | _SPELT | _COUNTED


def _spelt(character: str, code: str) -> str:
  """Word of a digit, or the character."""
  if character.isdecimal():
    return spellout.cardinal(unicodedata.decimal(character), code)
  return character


@dataclasses.dataclass(frozen=True, kw_only=True)
class Document:
  """Text without its marks."""

  pieces: tuple[str | SayAs, ...]  # in order; pauses are <#seconds#>
  dropped: tuple[str, ...] = ()  # marks without effect, each once
  speed: float = 1.0  # asked for the whole text
  language: str | None = None  # code or alias, where the text names one

  def text(self, language: str | None = None) -> str:
    """Joins the pieces.

    Args:
      language: code or alias, by which <say-as> is read; None leaves it as it
        is written.
    """
    return "".join(
      piece
      if isinstance(piece, str)
      else piece.text
      if language is None
      else piece.words(language)
      for piece in self.pieces
    )


def pause(seconds: float) -> str:
  """Mark of a pause; "" for one that is too short to be heard."""
  if seconds < MIN_PAUSE:
    return ""
  return f" <#{min(seconds, MAX_PAUSE):.2f}#> "


def ended(text: str) -> str:
  """Text with a full stop of its script where it has no mark at its end.

  Headings, items of lists and rows of tables are sentences of their own.
  """
  bare = text.rstrip()
  last = bare.rstrip(_CLOSERS)[-1:]
  if not any(c.isalnum() for c in bare) or not (
    last.isalnum() or unicodedata.category(last or " ")[0] in "MS"
  ):
    return text
  script = unicodedata.name(last, "").partition(" ")[0]
  return bare + _FULL_STOPS.get(script, ".") + text[len(bare) :]
