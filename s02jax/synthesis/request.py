"""What one may ask of synthesis, and what is refused with a sentence."""

import dataclasses
import unicodedata

import numpy as np

from s02jax import languages
from s02jax.errors import UserError
from s02jax.synthesis.voice import Voice

# ISO 15924 code -> name for people, and words of the Unicode names of its
# letters. A language of another script is not checked.
SCRIPTS = {
  "Arab": ("Arabic", {"ARABIC"}),
  "Cyrl": ("Cyrillic", {"CYRILLIC"}),
  "Deva": ("Devanagari", {"DEVANAGARI"}),
  "Grek": ("Greek", {"GREEK"}),
  "Hans": ("Chinese", {"CJK"}),
  "Hant": ("Chinese", {"CJK"}),
  "Jpan": ("Japanese", {"CJK", "HIRAGANA", "KATAKANA"}),
  "Kore": ("Korean", {"CJK", "HANGUL"}),
  "Latn": ("Latin", {"LATIN"}),
  "Thai": ("Thai", {"THAI"}),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """A text to be said as somebody would say it."""

  text: str
  language: str  # code or alias
  # Exactly one of the two says who that is.
  reference: np.ndarray | None = None  # float [n], at the bundle's rate
  voice: Voice | None = None
  reference_text: str | None = None  # what is said there; None is zero-shot


@dataclasses.dataclass(frozen=True, kw_only=True)
class Utterance:
  """An answer."""

  wave: np.ndarray  # float32 [n] at the bundle's rate
  tokens: np.ndarray  # int32 [s]
  ended: bool  # by itself, not by the limit
  redrawn: bool = False  # a loop or a long silence was drawn anew


def check_text(text: str, language: str, what: str = "text") -> str:
  """`text` in NFC, without spaces at its ends.

  Args:
    text: to be spoken.
    language: a code or alias of `languages`.
    what: the text's name in messages.

  Raises:
    UserError: unknown language, no letter, or none of the language's script.
  """
  row = languages.resolve(language)
  text = unicodedata.normalize("NFC", text).strip()
  letters = [c for c in text if unicodedata.category(c).startswith("L")]
  if not letters:
    raise UserError(
      f"the {what} {text!r} has no letter to speak; write what is to be said"
      " in words."
    )
  name, words = SCRIPTS.get(row.script, ("", set()))
  if words and not any(
    words.intersection(unicodedata.name(c, "").split()) for c in letters
  ):
    raise UserError(
      f"the {what} {text[:40]!r} has no letter of the {name} script, in which"
      f" {row.name} ({row.code}) is written; give its own language, or write it"
      " in that script."
    )
  return text


def check_speaker(request: Request) -> None:
  """Raises UserError unless a request names one speaker, in one way."""
  if (request.reference is None) == (request.voice is None):
    raise UserError(
      f"the request {request.text[:40]!r} needs either a reference or a voice;"
      " give exactly one of the two."
    )
  if request.voice is not None and request.reference_text is not None:
    raise UserError(
      "reference_text is the transcript of a reference; a voice brings its own"
      " prompt."
    )


def token_limit(text: str) -> int:
  """Most audio tokens that `text` may take, several times what it needs.

  Slow speech has some 2 tokens a byte; a figure is read out as a word.
  """
  figures = sum(c.isnumeric() for c in text)
  return min(50 + 4 * len(text.encode()) + 20 * figures, 3000)
