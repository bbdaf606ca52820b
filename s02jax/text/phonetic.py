"""Words written by their sounds: pinyin with tones, and ARPAbet.

  危险/(wei1)(xian3)      the two characters before the slash are read so
  read/(R EH1 D)          the word before it is read so

Models meet the sounds alone, `(wei1)(xian3)` and `(R-EH1-D)`, which may be
typed too; `written` makes the one of the other. Tones are 1 to 5, 5 the neutral
one; ü may be v; stress is 0, 1 or 2 behind a vowel. Anything else in brackets
is ordinary text, and so are the sounds of another language.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Sequence

from s02jax.core import languages

VOWELS = (
  "AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY",
  "UH", "UW",
)  # fmt: skip
CONSONANTS = (
  "B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P",
  "R", "S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
# Initial and final; some that no word has, such as "bua", pass too.
_SYLLABLE = (
  r"(?:(?:zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])?(?:[iuüv]?a(?:ng?|o|i)?"
  r"|(?:[iuüv]|u:)?e(?:ng?|i|r)?|i(?:ng?|u|ong)?|ong|ou?|u(?:o|i|n)?"
  r"|(?:[üv]|u:)n?)|h?ng?|m|r)"
)
_PINYIN = rf"\({_SYLLABLE}[1-5]\)"
_PHONE = rf"(?:(?:{'|'.join(VOWELS)})[0-2]|{'|'.join(CONSONANTS)})"
_ARPABET = rf"\((?=[^()]*[0-2]){_PHONE}(?:[ -]{_PHONE})*\)"
# What a text is measured and cut by: sounds in brackets, else a character.
UNIT = re.compile(r"\([a-z]{1,6}[1-5]\)|\([A-Z0-2-]+\)|.", re.DOTALL)
# Stands for sounds while other steps change a text; Unicode's "no character".
_HELD = "\ufdd0"


def _as_pinyin(run: str) -> str:
  """Syllables in small letters, v for ü."""
  return run.lower().replace("u:", "v").replace("ü", "v")


def _as_arpabet(run: str) -> str:
  """Phones in capitals with hyphens between, so that no space parts them."""
  return run.upper().replace(" ", "-")


@dataclasses.dataclass(frozen=True)
class _Notation:
  """Sounds of one language as they are typed."""

  spelt: re.Pattern  # groups: a word, the sounds that are given for it
  bare: re.Pattern  # sounds alone
  canonical: Callable[[str], str]
  whole: bool  # the sounds are those of the whole word, not of its end


@functools.cache
def _notation(language: str) -> _Notation | None:
  """Notation of a language; None where it has none."""
  match languages.resolve(language).code:
    case "zh":
      run = f"(?:{_PINYIN})+"
      spelt = re.compile(rf"([\u3400-\u9fff]+)/({run})", re.IGNORECASE)
      return _Notation(spelt, re.compile(run), _as_pinyin, whole=False)
    case "en":
      word = r"(?<![\w'’])([^\W\d_][\w'’]*)"
      spelt = re.compile(rf"{word}/({_ARPABET})", re.IGNORECASE)
      return _Notation(spelt, re.compile(_ARPABET), _as_arpabet, whole=True)
  return None


LANGUAGES = ("en", "zh")


def written(text: str, language: str) -> str:
  """Writes words that bring their sounds by these alone.

  Args:
    text: in any language.
    language: code or alias.
  """
  notation = _notation(language)
  if notation is None or "(" not in text:
    return text

  def sounds(match: re.Match) -> str:
    run = notation.canonical(match[2])
    return run if notation.whole else match[1][: -run.count("(")] + run

  text = notation.spelt.sub(sounds, text)
  text = notation.bare.sub(lambda match: notation.canonical(match[0]), text)
  # What becomes a word in front of a slash later has no part in the sounds.
  return re.sub(f"/+(?={notation.bare.pattern})", "", text)


def plain(text: str, language: str) -> tuple[str, list[str]]:
  """Leaves out the sounds behind words; returns the text and what was left out.

  Sounds alone, which stand for no written word, stay.
  """
  notation = _notation(language)
  if notation is None or "(" not in text:
    return text, []
  found = [match[0] for match in notation.spelt.finditer(text)]
  return notation.spelt.sub(lambda match: match[1], text), found


def any_plain(text: str) -> str:
  """Text without the sounds behind words of any language, to tell it by."""
  for code in LANGUAGES:
    text, _ = plain(text, code)
  return text


def hold(text: str, language: str) -> tuple[str, list[str]]:
  """Puts a mark in the place of each run of sounds; returns the runs too."""
  notation = _notation(language)
  if notation is None or "(" not in text:
    return text, []
  text = text.replace(_HELD, "")
  return notation.bare.sub(_HELD, text), notation.bare.findall(text)


def put_back(text: str, runs: Sequence[str]) -> str:
  """Puts the runs of sounds that `hold` gave into their places."""
  rest = iter(runs)
  return re.sub(_HELD, lambda _: next(rest), text) if runs else text


def has_sounds(text: str, language: str) -> bool:
  """Whether a text has sounds of the language in it."""
  notation = _notation(language)
  return notation is not None and notation.bare.search(text) is not None
