"""Numbers as words: "6,5 %" becomes "sechs Komma fünf Prozent" in German.

Recognisers write digits where a text has words, and the other way round, and
no listener hears which. The words come from Unicode CLDR's spell-out rules
(package `unicode_rbnf`), which has all of the 32 languages. No rule can know
case and gender ("два", "две"), dates, times of a clock, or ordinals but the
English ones: these are left alone. So are signs of currencies and degrees and a
minus, which `fair` then takes for punctuation and drops. Where a space parts
thousands, "200 300" is one number, as it is mostly meant; both sides of a
comparison are read alike, so that this costs only where one of them is in
words.

In a language that CLDR cannot spell, each digit becomes a word of its own; see
`is_spoken`.
"""

import dataclasses
import functools
import re
import unicodedata

import babel

from s02jax.core import languages
from s02jax.text import spellout

_LONGEST = 12  # digits of a number; longer ones are read digit by digit


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumberWords:
  """Marks and words of a language around the digits of a number."""

  mark: str  # before the decimals, as written
  point: str  # before the decimals, as spoken
  percent: str  # the word for %
  percent_first: bool = False  # spoken before the number
  spaced: bool = False  # "10 000" is one number
  year: bool = False  # 1999 is read as nineteen ninety-nine
  glued: bool = False  # to the counter that follows: 3월


def _row(mark: str, point: str, percent: str, **more: bool) -> NumberWords:
  """Entry of WORDS in short form."""
  return NumberWords(mark=mark, point=point, percent=percent, **more)


# fmt: off
WORDS: dict[str, NumberWords] = {
  "zh": _row(".", "点", "百分之", percent_first=True),
  "en": _row(".", "point", "percent", year=True),
  "yue": _row(".", "點", "百分之", percent_first=True),
  "ja": _row(".", "点", "パーセント"),
  "ko": _row(".", "점", "퍼센트", glued=True),
  "ar": _row(".", "فاصل", "بالمئة"),
  "es": _row(",", "coma", "por ciento", spaced=True),
  "tr": _row(",", "virgül", "yüzde", percent_first=True),
  "id": _row(",", "koma", "persen"),
  "pt": _row(",", "vírgula", "por cento", spaced=True),
  "fr": _row(",", "virgule", "pour cent", spaced=True),
  "it": _row(",", "virgola", "per cento"),
  "nl": _row(",", "komma", "procent", year=True),
  "vi": _row(",", "phẩy", "phần trăm"),
  "de": _row(",", "Komma", "Prozent", year=True),
  "ru": _row(",", "запятая", "процентов", spaced=True),
  "uk": _row(",", "кома", "відсотків", spaced=True),
  "th": _row(".", "จุด", "เปอร์เซ็นต์"),
  "pl": _row(",", "przecinek", "procent", spaced=True),
  "ro": _row(",", "virgulă", "la sută"),
  "el": _row(",", "κόμμα", "τοις εκατό"),
  "cs": _row(",", "celá", "procent", spaced=True),
  "fi": _row(",", "pilkku", "prosenttia", spaced=True),
  "hi": _row(".", "दशमलव", "प्रतिशत"),
  "bg": _row(",", "цяло и", "процента", spaced=True),
  "hr": _row(",", "zarez", "posto"),
  "da": _row(",", "komma", "procent", year=True),
  "hu": _row(",", "egész", "százalék", spaced=True),
  "ms": _row(".", "perpuluhan", "peratus"),
  "nb": _row(",", "komma", "prosent", spaced=True),
  "sk": _row(",", "celých", "percent", spaced=True),
  "sv": _row(",", "komma", "procent", spaced=True, year=True),
}
# fmt: on


def number_words(code: str) -> NumberWords:
  """Marks and words of numbers in a language; of a user's own, as it says.

  A code that is not in the table of languages has a mark and no words.
  """
  if code in WORDS:
    return WORDS[code]
  language = languages.BY_CODE.get(code)
  if language is None:
    return _row(".", "", "")
  try:
    mark = babel.Locale.parse(code, sep="-").number_symbols["latn"]["decimal"]
  except (babel.UnknownLocaleError, ValueError, KeyError):
    mark = "."
  return _row(mark, language.point, language.percent)


def spell(text: str, code: str) -> str:
  """Spells every number of a text, set apart by spaces but in Korean.

  Args:
    text: in NFKC, with digits of any script.
    code: of the language.
  """
  if re.search(r"\d", text) is None:
    return text
  text = western_digits(text)
  words = number_words(code)
  if code == "en":
    text = re.sub(
      r"(?<![\d.,])(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b",
      lambda m: f" {_ordinal(m[1].replace(',', ''))} ",
      text,
      flags=re.IGNORECASE,
    )
  if code in ("zh", "yue"):
    text = re.sub(
      r"(?<![\d.,])\d{4}(?=年)", lambda m: _each_digit(m[0], code), text
    )
  gap = "" if words.glued else " "
  return _pattern(words).sub(lambda m: gap + _read(m, code, words) + gap, text)


def is_spoken(code: str) -> bool:
  """Whether numbers of a language become words; else digits stay digits."""
  return spellout.is_spelled(code)


def western_digits(text: str) -> str:
  """Writes digits and Arabic number signs of any script as ASCII."""
  text = text.translate({0x66A: "%", 0x66B: ".", 0x66C: ","})
  return "".join(
    str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text
  )


@functools.cache
def _pattern(words: NumberWords) -> re.Pattern:
  """Pattern of a number with its thousands, decimals and percent sign."""
  group = "[',]" if words.mark == "." else "['.]"
  if words.spaced:
    group = f"(?:{group}| )"
  mark = re.escape(words.mark)
  # Groups of two are India's: 1,00,000.
  inner = r"\d{2,3}" if words.mark == "." else r"\d{3}"
  return re.compile(
    r"(?:(?P<before>%)\s?)?"
    rf"(?P<whole>(?<!\d)\d{{1,3}}(?:{group}{inner})*{group}\d{{3}}(?!\d)"
    r"|\d+)"
    rf"(?:{mark}(?P<decimals>\d+))?"
    r"(?:\s?(?P<after>%))?"
  )


def _read(match: re.Match, code: str, words: NumberWords) -> str:
  """Words of a number found by `_pattern`."""
  whole = re.sub(r"\D", "", match["whole"])
  grouped = whole != match["whole"]
  parts = [_whole(whole, code, words.year and not grouped)]
  if match["decimals"]:
    parts += [words.point, _each_digit(match["decimals"], code)]
  if match["before"] or match["after"]:
    place = 0 if words.percent_first else len(parts)
    parts.insert(place, words.percent)
  return " ".join(parts)


def _whole(digits: str, code: str, year: bool) -> str:
  """Words of a whole number; of a year, where `year` allows it."""
  leading_zero = len(digits) > 1 and digits[0] == "0"
  if len(digits) > _LONGEST or leading_zero:
    return _each_digit(digits, code)
  return spellout.cardinal(
    int(digits), code, year=year and is_year(int(digits), code)
  )


def is_year(number: int, code: str) -> bool:
  """Whether a number without a thousands mark is read in two halves."""
  return 1100 <= number < 2000 or (code == "en" and 2010 <= number < 2100)


def _each_digit(digits: str, code: str) -> str:
  """Words of the digits, one by one."""
  return " ".join(spellout.cardinal(int(digit), code) for digit in digits)


def _ordinal(digits: str) -> str:
  """English ordinal of a number."""
  return spellout.ordinal(int(digits[-_LONGEST:]), "en")
