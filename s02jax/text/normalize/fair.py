"""Normalisation `fair`: forgives only differences that no listener hears.

It consists of small steps from text to text; `STEPS` lists those of each
language in order. A language without steps of its own takes the common ones, so
a 33rd needs no line here.

Kept, because they are heard or because nobody can tell: every letter and
every combining mark that spells one (Vietnamese tones, Hindi vowels), accents,
an apostrophe within a word. Not unified: kana with kanji, British with
American spelling, one compound with two words, "3 €" with "€3".
"""

import functools
import re
import unicodedata
from collections.abc import Callable

from s02jax.core.languages import LANGUAGES, Language
from s02jax.text.normalize import chinese, numbers

Step = Callable[[str], str]

_APOSTROPHES = {ord(c): "'" for c in "’‘ʼʻ′´`＇"} | {ord(c): " " for c in "″‴⁗"}
# Marks of trade, and what only chooses how the character before is drawn.
_UNHEARD = {ord(c): None for c in "™℠®©\u20e3"} | dict.fromkeys(
  range(0xFE00, 0xFE10)
)
_ARABIC = str.maketrans(
  dict.fromkeys("أإآٱ", "ا") | dict.fromkeys("ىی", "ي") | {"ک": "ك", "ـ": None}
)


def apostrophes(text: str) -> str:
  """Unifies apostrophes of all shapes."""
  return text.translate(_APOSTROPHES)


def compatibility(text: str) -> str:
  """Applies NFKC and drops trade marks: no full-width forms, no ligatures."""
  return unicodedata.normalize("NFKC", text.translate(_UNHEARD))


def lower_case(text: str) -> str:
  """Folds case; ß becomes ss."""
  return text.casefold()


def turkish_lower_case(text: str) -> str:
  """Folds case as Turkish does: I becomes ı, İ becomes i."""
  return text.replace("İ", "i").replace("I", "ı").casefold()


def spoken_only(text: str) -> str:
  """Keeps letters, their marks, digits, inner apostrophes; all else is space.

  Invisible format characters (soft hyphen, joiners, directions) vanish, and so
  does a mark that stands on no letter, as NFKC leaves of a lone accent.
  """
  words = (
    "'".join(map(_on_a_letter, word.split("'"))).strip("'")
    for word in text.translate(_SPOKEN).split()
  )
  return " ".join(word for word in words if word)


class _SpokenTable(dict[int, int | str | None]):
  """Table of `spoken_only` for `str.translate`, filled on demand."""

  def __missing__(self, code: int) -> int | str | None:
    kind = unicodedata.category(chr(code))
    kept = chr(code) == "'" or kind[0] in "LMN"
    self[code] = None if kind == "Cf" else code if kept else " "
    return self[code]


_SPOKEN = _SpokenTable()


def _on_a_letter(part: str) -> str:
  """Drops combining marks in front of the first letter."""
  while part and unicodedata.category(part[0])[0] == "M":
    part = part[1:]
  return part


def without_spaces(text: str) -> str:
  """Drops spaces, in scripts that put none between words."""
  return text.replace(" ", "")


def without_acute(text: str) -> str:
  """Drops stress marks: за́мок, één."""
  apart = unicodedata.normalize("NFD", text).replace("\u0301", "")
  return unicodedata.normalize("NFC", apart)


def arabic_letters(text: str) -> str:
  """Drops Arabic vowel signs and tatweel; unifies alef, ya and kaf."""
  bare = "".join(c for c in text if unicodedata.category(c) != "Mn")
  return bare.translate(_ARABIC)


def yo_as_ye(text: str) -> str:
  """Writes Russian ё as е, as print mostly does."""
  return text.replace("ё", "е")


def comma_below(text: str) -> str:
  """Writes Romanian ș and ț with a comma, where old fonts had cedillas."""
  return text.replace("ş", "ș").replace("ţ", "ț")


def final_sigma(text: str) -> str:
  """Restores Greek final sigma, which case folding removes."""
  return re.sub(r"σ\b", "ς", text)


def split_ligatures(text: str) -> str:
  """Writes French œ and æ as two letters."""
  return text.replace("œ", "oe").replace("æ", "ae")


def new_tone_place(text: str) -> str:
  """Moves Vietnamese tone marks: hòa, khỏe, thủy become hoà, khoẻ, thuỷ."""
  apart = unicodedata.normalize("NFD", text)
  moved = re.sub(
    r"(?:(?<=o)([\u0300\u0301\u0303\u0309\u0323])([ae])"
    r"|(?<=u)([\u0300\u0301\u0303\u0309\u0323])(y))(?!\w)",
    r"\2\4\1\3",
    apart,
  )
  return unicodedata.normalize("NFC", moved)


def thai_letters(text: str) -> str:
  """Unifies Thai vowels: sara am in one piece, sara ae not as two sara e."""
  text = re.sub("\u0e4d([\u0e48-\u0e4b]?)\u0e32", "\\1\u0e33", text)
  return text.replace("เเ", "แ")


# Steps beside the common ones, by the normaliser of the language's table row.
_FAMILY: dict[str, tuple[Step, ...]] = {
  "casefold": (),
  "chinese": (chinese.simplified,),
  "arabic": (arabic_letters,),
}
# Further steps, by the language's code.
_OWN: dict[str, tuple[Step, ...]] = {
  "fr": (split_ligatures,),
  "el": (final_sigma,),
  "nl": (without_acute,),
  "vi": (new_tone_place,),
  "ru": (without_acute, yo_as_ye),
  "uk": (without_acute,),
  "bg": (without_acute,),
  "th": (thai_letters,),
  "ro": (comma_below,),
  "nb": (without_acute,),
}
_LOWER_CASE: dict[str, Step] = {"tr": turkish_lower_case}


def _steps(language: Language) -> tuple[Step, ...]:
  """Steps of a language in order."""
  return (
    apostrophes,
    compatibility,
    functools.partial(numbers.spell, code=language.code),
    apostrophes,
    _LOWER_CASE.get(language.code, lower_case),
    compatibility,
    *_FAMILY[language.normaliser],
    *_OWN.get(language.code, ()),
    spoken_only,
    *(() if language.separator else (without_spaces,)),
  )


STEPS: dict[str, tuple[Step, ...]] = {
  row.code: _steps(row) for row in LANGUAGES
}


def fair(text: str, language: Language) -> str:
  """Normalises a text, so that only audible differences remain."""
  for step in STEPS.get(language.code) or _steps(language):
    text = step(text)
  return text
