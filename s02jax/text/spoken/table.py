"""Tables of the languages: a TOML file each, and CLDR for what it leaves out.

`docs/text.md` lists the sections of a table. `common.toml` holds what all
languages share: symbols of units and currencies, top-level domains.
"""

import dataclasses
import decimal
import functools
import importlib.resources
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import babel
from babel.dates import get_day_names, get_month_names

from s02jax.text import spellout
from s02jax.text.normalize.numbers import NumberWords, number_words

Forms = Mapping[str, str]  # plural category of CLDR -> words

# Our code -> CLDR's, where Babel's default is of another place or script.
_LOCALES = {"yue": "yue_Hant_HK", "zh": "zh_Hans_CN"}
_SECTIONS = {
  "abbreviations", "currencies", "fractions", "lists", "magnitudes",
  "money_symbols", "months", "numbers", "patterns", "phone", "readings",
  "rules", "signs", "symbols", "unit_readings", "units",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Currency:
  """Words of a currency and of its hundredth part."""

  forms: Forms  # words of the currency
  reading: str  # of numbers before them, such as "feminine"
  sub_forms: Forms  # words of the hundredth part; empty if it is not named
  sub_reading: str  # of numbers before them


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unit:
  """Words of a unit of measurement."""

  forms: Forms  # each with {0} where the number stands
  reading: str  # of numbers before them


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
  """Words and rules by which one language is read aloud."""

  code: str  # of the language
  locale: babel.Locale  # of CLDR
  number: NumberWords  # marks and words of numbers, shared with evaluation
  groups: str  # characters that part thousands
  numbers: Mapping[str, Any]  # section [numbers]
  readings: Mapping[str, Any]  # name -> rule set of CLDR, or its description
  patterns: Mapping[str, str]  # class -> template of what is spoken
  rules: Mapping[str, Mapping[str, str]]  # class -> written -> spoken
  lists: Mapping[str, Mapping[str, str]]  # slot -> written -> spoken
  months: tuple[str, ...]  # names of 1 to 12 as spoken in a date
  month_numbers: Mapping[str, int]  # written name -> 1 to 12
  units: Mapping[str, Unit]  # symbol -> words
  currencies: Mapping[str, Currency]  # ISO code -> words
  currency_symbols: Mapping[str, str]  # symbol or code -> ISO code
  abbreviations: Mapping[str, str]  # written -> spoken
  symbols: Mapping[str, str]  # character -> words; "" is not spoken
  signs: Mapping[str, str]  # character of an address -> words
  fractions: Mapping[str, str]  # "1/2" -> words
  magnitudes: Mapping[str, Forms]  # "Mio." -> words, reading of numbers
  phone: Mapping[str, Any]  # section [phone]
  domains: tuple[str, ...]  # endings of addresses on the internet
  extensions: tuple[str, ...]  # endings of file names

  def plural(self, number: str) -> str:
    """Plural category of a number written in ASCII, such as "1.50"."""
    whole, point, decimals = number.partition(".")
    last = whole[-9:] + point + decimals[:9]  # no rule looks further
    return self.locale.plural_form(decimal.Decimal(last))


def form(forms: Forms, category: str) -> str:
  """Form of a plural category, or the nearest one that is given."""
  for name in (category, "other", "many", "one"):
    if name in forms:
      return forms[name]
  return next(iter(forms.values()), "")


def _locale(code: str) -> babel.Locale:
  """Locale of CLDR; of a language that it lacks, the one of none."""
  try:
    return babel.Locale.parse(_LOCALES.get(code, code.replace("-", "_")))
  except babel.UnknownLocaleError:
    return babel.Locale("root")


@functools.cache
def load(code: str) -> Table:
  """Loads the table of a language; one without a file has CLDR's words alone.

  Raises:
    ValueError: the file has a section that is unknown.
  """
  common, own = _read("common"), _read(code)
  unknown = set(own) - _SECTIONS
  if unknown:
    raise ValueError(f"{code}.toml: unknown section {sorted(unknown)[0]!r}")
  locale = _locale(code)
  number, numbers = number_words(code), own.get("numbers", {})
  months, month_numbers = _months(code, locale, own.get("months", {}))
  spaces = "\u00a0\u202f\u2009" + (" " if number.spaced else "")
  usual = "," if number.mark == "." else "."
  return Table(
    code=code,
    locale=locale,
    number=number,
    groups=numbers.get("groups", usual + "'’" + spaces),
    numbers=numbers,
    readings=own.get("readings", {}),
    patterns=_patterns(number) | own.get("patterns", {}),
    rules=own.get("rules", {}),
    lists=_lists(own.get("lists", {})) | {"weekday": _weekdays(locale)},
    months=months,
    month_numbers=month_numbers,
    units=_units(locale, common["units"], own),
    currencies=_currencies(locale, own.get("currencies", {})),
    currency_symbols=common["currencies"] | own.get("money_symbols", {}),
    abbreviations=own.get("abbreviations", {}),
    symbols=common["symbols"] | own.get("symbols", {}),
    signs=own.get("signs", {}),
    fractions=own.get("fractions", {}),
    magnitudes={
      written: {"other": words} if isinstance(words, str) else words
      for written, words in own.get("magnitudes", {}).items()
    },
    phone=own.get("phone", {}),
    domains=tuple(common["domains"]["endings"]),
    extensions=tuple(common["files"]["endings"]),
  )


def _read(name: str) -> dict[str, Any]:
  """Contents of tables/<name>.toml, empty where there is no such file."""
  path = (
    importlib.resources.files("s02jax.text.spoken") / "tables" / f"{name}.toml"
  )
  return tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}


def _patterns(number: NumberWords) -> dict[str, str]:
  """Templates that a language without its own ones is read by."""
  first = number.percent_first
  return {
    "date": "{d} {month} {Y}",
    "day": "{d} {month}",
    "time": "{H} {M}",
    "hour": "{H}",
    "seconds": "{H} {M} {S}",
    "minus": "minus",
    "percent": f"{number.percent} {{n}}"
    if first
    else f"{{n}} {number.percent}",
    "mixed": "{n} {f}",
    "fraction": "{a} / {b}",
    "money": "{n} {currency}",
    "money_big": "{n} {magnitude} {currency}",
    "range": "–",
    "hashtag": "{w}",
    "mention": "@ {w}",
  }


def _lists(own: Mapping[str, Any]) -> dict[str, dict[str, str]]:
  """Lists as mappings; the words of an array are spoken as written."""
  return {
    name: dict(words) if isinstance(words, dict) else {w: w for w in words}
    for name, words in own.items()
  }


def _months(
  code: str, locale: babel.Locale, own: Mapping[str, Any]
) -> tuple[tuple[str, ...], dict[str, int]]:
  """Names of the months as spoken, and the number of each written name."""
  names = get_month_names("wide", "format", locale)
  spoken = tuple(
    re.sub(r"\d+", lambda m: spellout.cardinal(int(m[0]), code), name)
    for name in own.get("spoken", [names[i] for i in range(1, 13)])
  )
  written: dict[str, int] = {}
  for context in ("format", "stand-alone"):
    for width in ("wide", "abbreviated"):
      for i, name in get_month_names(width, context, locale).items():
        if any(c.isalpha() for c in name):
          written.setdefault(name, i)
          written.setdefault(name.rstrip("."), i)
          if width == "abbreviated" and name.rstrip(".") not in names.values():
            written.setdefault(name.rstrip(".") + ".", i)
  for i, words in enumerate(own.get("also", []), 1):
    written |= dict.fromkeys(words, i)
  return spoken, written


def _weekdays(locale: babel.Locale) -> dict[str, str]:
  """Weekdays by their written names, short and long."""
  long = get_day_names("wide", "format", locale)
  short = get_day_names("abbreviated", "format", locale)
  return {long[i]: long[i] for i in long} | {short[i]: long[i] for i in long}


def _units(
  locale: babel.Locale, common: Mapping[str, str], own: Mapping[str, Any]
) -> dict[str, Unit]:
  """Units by symbol: the table's words, or CLDR's in full length."""
  readings = {
    symbol: reading
    for reading, symbols in own.get("unit_readings", {}).items()
    for symbol in symbols
  }
  found = {}
  for symbol, words in (common | own.get("units", {})).items():
    if isinstance(words, str):
      name, end = words.rstrip("."), "." * words.endswith(".")
      reading = readings.get(symbol, readings.get(name, "number"))
      forms = {k: v + end for k, v in _cldr_unit(locale, name).items()}
      if own.get("numbers", {}).get("joined"):
        forms = {k: re.sub(r" ?(\{0\}) ?", r"\1", v) for k, v in forms.items()}
    else:
      reading, forms = readings.get(symbol, "number"), words
    if forms:
      found[symbol] = Unit(forms=forms, reading=reading)
  return found


def _cldr_unit(locale: babel.Locale, name: str) -> dict[str, str]:
  """Patterns of CLDR for a unit, such as "length-kilometer"."""
  data = locale._data["unit_patterns"].get(name)
  if data is None or "long" not in data:
    return {}
  patterns = dict(data["long"])
  plurals = ("zero", "one", "two", "few", "many", "other")
  found = {k: patterns[k] for k in plurals if isinstance(patterns.get(k), str)}
  return {k: " ".join(words.split()) for k, words in found.items()}


def _currencies(
  locale: babel.Locale, own: Mapping[str, Any]
) -> dict[str, Currency]:
  """Currencies by ISO code: the table's words, or CLDR's."""
  plural = locale._data["currency_names_plural"]
  found = {
    iso: Currency(
      forms=dict(plural[iso]) if plural.get(iso) else {"other": name},
      reading="number",
      sub_forms={},
      sub_reading="number",
    )
    for iso, name in locale.currencies.items()
  }
  for iso, words in own.items():
    sub = dict(words.get("sub", {}))
    found[iso] = Currency(
      forms={k: v for k, v in words.items() if k not in ("sub", "reading")},
      reading=words.get("reading", "number"),
      sub_reading=sub.pop("reading", "number"),
      sub_forms=sub,
    )
  return found
