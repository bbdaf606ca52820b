"""Checks of a text to be spoken: letters, script, length."""

import unicodedata
from collections.abc import Collection

from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.text import phonetic
from s02jax.text.clean import clean

# ISO 15924 code -> name for messages, and the words by which the Unicode names
# of its letters are known. Languages of other scripts are not checked.
SCRIPTS = {
  "Arab": ("Arabic", {"ARABIC"}),
  "Armn": ("Armenian", {"ARMENIAN"}),
  "Beng": ("Bengali", {"BENGALI"}),
  "Cyrl": ("Cyrillic", {"CYRILLIC"}),
  "Deva": ("Devanagari", {"DEVANAGARI"}),
  "Ethi": ("Ethiopic", {"ETHIOPIC"}),
  "Geor": ("Georgian", {"GEORGIAN"}),
  "Grek": ("Greek", {"GREEK"}),
  "Gujr": ("Gujarati", {"GUJARATI"}),
  "Guru": ("Gurmukhi", {"GURMUKHI"}),
  "Hans": ("Chinese", {"CJK"}),
  "Hant": ("Chinese", {"CJK"}),
  "Hebr": ("Hebrew", {"HEBREW"}),
  "Jpan": ("Japanese", {"CJK", "HIRAGANA", "KATAKANA"}),
  "Khmr": ("Khmer", {"KHMER"}),
  "Knda": ("Kannada", {"KANNADA"}),
  "Kore": ("Korean", {"CJK", "HANGUL"}),
  "Laoo": ("Lao", {"LAO"}),
  "Latn": ("Latin", {"LATIN"}),
  "Mlym": ("Malayalam", {"MALAYALAM"}),
  "Mymr": ("Burmese", {"MYANMAR"}),
  "Orya": ("Odia", {"ORIYA"}),
  "Sinh": ("Sinhala", {"SINHALA"}),
  "Taml": ("Tamil", {"TAMIL"}),
  "Telu": ("Telugu", {"TELUGU"}),
  "Thai": ("Thai", {"THAI"}),
}
_OTHER: tuple[str, frozenset[str]] = ("", frozenset())


def script_words(script: str) -> Collection[str]:
  """Words in the Unicode names of a script's letters; none if it is unknown."""
  return SCRIPTS.get(script, _OTHER)[1]


def check_words(text: str, what: str = "text") -> str:
  """Checks that a text has a letter; returns it clean.

  Args:
    text: in any language.
    what: name of the text in messages.

  Raises:
    UserError: it has no letter.
  """
  text = clean(text)
  if not _letters(text):
    raise UserError(
      f"the {what} {text!r} has no letter to speak; write what is to be said"
      " in words."
    )
  return text


def check_text(text: str, language: str) -> str:
  """Checks a text to be spoken; returns it clean.

  Args:
    text: to be spoken.
    language: code or alias.

  Raises:
    UserError: unknown language, no letter, or none of the language's script.
  """
  row = languages.resolve(language)
  text = check_words(text)
  if not in_script(text, language):
    name, _ = SCRIPTS[row.script]
    raise UserError(
      f"the text {text[:40]!r} has no letter of the {name} script, in which"
      f" {row.name} ({row.code}) is written; give its own language, or write it"
      " in that script."
    )
  return text


def in_script(text: str, language: str) -> bool:
  """Whether a text has a letter of the script, or sounds, of a language.

  Args:
    text: of any length.
    language: code or alias; of some, any letter will do.

  Raises:
    UserError: unknown language.
  """
  letters = _letters(text)
  row = languages.resolve(language)
  if row.script not in SCRIPTS:
    return bool(letters)
  _, words = SCRIPTS[row.script]
  return phonetic.has_sounds(text, language) or any(
    words.intersection(unicodedata.name(c, "").split()) for c in letters
  )


def _letters(text: str) -> list[str]:
  """Letters of a text, of any script."""
  return [c for c in text if unicodedata.category(c).startswith("L")]


def token_limit(text: str) -> int:
  """Limit of audio tokens for `text`: several times what it needs.

  Slow speech has some 2 tokens a byte; a figure is read out as a word.
  """
  figures = sum(c.isnumeric() for c in text)
  return min(50 + 4 * len(text.encode()) + 20 * figures, 3000)
