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
MOST_STEPS = 1000  # of the solver: more hold up everybody else


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
class Settings:
  """How it is to be said."""

  seed: int = 0  # the same seed and request give the same samples
  steps: int = 16  # of the Euler solver
  guidance: float = 1.5  # of flow matching; 1 is none
  temperature: float = 0.7  # of the AR model; 0 takes the likeliest token
  top_k: int = 0  # likeliest tokens to choose from; 0 is all
  top_p: float = 1.0  # probability mass to choose from
  repetition_penalty: float = 1.0  # above 1, what was just said is less likely

  def check(self) -> None:
    """Raises UserError for a setting out of range, by its name."""
    for name, good, want in (
      ("steps", 1 <= self.steps <= MOST_STEPS, f"1 to {MOST_STEPS}"),
      ("guidance", 0 <= self.guidance < np.inf, "0 or more"),
      ("temperature", 0 <= self.temperature < np.inf, "0 or more"),
      ("top_k", self.top_k >= 0, "0 or more"),
      ("top_p", 0 < self.top_p <= 1, "above 0, at most 1"),
      (
        "repetition_penalty",
        0 < self.repetition_penalty < np.inf,
        "above 0",
      ),
    ):
      if not good:
        raise UserError(f"{name} is {getattr(self, name)}; it must be {want}.")


DEFAULTS = Settings()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Utterance:
  """An answer."""

  wave: np.ndarray  # float32 [n] at the bundle's rate
  tokens: np.ndarray  # int32 [s]
  ended: bool  # by itself, not by the limit
  redrawn: bool = False  # a loop or a long silence was drawn anew


def check_words(text: str, what: str = "text") -> str:
  """`text` in NFC, without spaces at its ends.

  Args:
    text: in any language.
    what: the text's name in messages.

  Raises:
    UserError: it has no letter.
  """
  text = unicodedata.normalize("NFC", text).strip()
  if not _letters(text):
    raise UserError(
      f"the {what} {text!r} has no letter to speak; write what is to be said"
      " in words."
    )
  return text


def check_text(text: str, language: str) -> str:
  """`check_words` of a text to be spoken in a language, code or alias.

  Raises:
    UserError: unknown language, no letter, or none of the language's script.
  """
  row = languages.resolve(language)
  text = check_words(text)
  name, words = SCRIPTS.get(row.script, ("", set()))
  if words and not any(
    words.intersection(unicodedata.name(c, "").split()) for c in _letters(text)
  ):
    raise UserError(
      f"the text {text[:40]!r} has no letter of the {name} script, in which"
      f" {row.name} ({row.code}) is written; give its own language, or write it"
      " in that script."
    )
  return text


def _letters(text: str) -> list[str]:
  return [c for c in text if unicodedata.category(c).startswith("L")]


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
