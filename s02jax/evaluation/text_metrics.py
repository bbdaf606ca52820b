"""Word and character error rates, after each language's normalisation."""

import dataclasses
import unicodedata
from collections.abc import Sequence

import jiwer

from s02jax.languages import Language

# Letters that Arabic writers use for one another, and the stretching mark.
_ARABIC = str.maketrans({"أ": "ا", "إ": "ا", "آ": "ا", "ى": "ي", "ـ": None})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ErrorRate:
  """Edits over the whole set divided by its reference units."""

  value: float | None  # None where no reference has a unit
  n: int  # texts compared


def normalise(text: str, language: Language) -> str:
  """Case, compatibility forms and punctuation removed; single spaces.

  An apostrophe within a word stays; a hyphen separates words.
  """
  text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
  if language.normaliser == "arabic":
    text = "".join(c for c in text if unicodedata.category(c) != "Mn")
    text = text.translate(_ARABIC)
  words = "".join(_letter(c) for c in text).split()
  words = [word.strip("'") for word in words]
  joint = " " if language.separator else ""
  return joint.join(word for word in words if word)


def _letter(char: str) -> str:
  if char == "'" or unicodedata.category(char)[0] in "LMN":
    return char
  return " "


def error_rate(
  texts: Sequence[str],
  heard: Sequence[str],
  languages: Sequence[Language],
  *,
  unit: str,
) -> ErrorRate:
  """Corpus-level rate of `unit`, "word" or "character".

  Characters are compared without spaces, texts that normalise to nothing are
  left out.
  """
  pairs = [
    (normalise(text, language), normalise(answer, language))
    for text, answer, language in zip(texts, heard, languages, strict=True)
  ]
  if unit == "character":
    pairs = [(a.replace(" ", ""), b.replace(" ", "")) for a, b in pairs]
  pairs = [pair for pair in pairs if pair[0]]
  if not pairs:
    return ErrorRate(value=None, n=0)
  truth, heard = [a for a, _ in pairs], [b for _, b in pairs]
  if unit == "character":
    rate = jiwer.process_characters(truth, heard).cer
  else:
    rate = jiwer.process_words(truth, heard).wer
  return ErrorRate(value=float(rate), n=len(pairs))
