"""Languages of the system: a table of one entry each.

A new language is one more entry. All code that depends on a language (the text
model's tags, the corpus builders, the metrics) reads it from here. A user's own
languages are read from a file, see `docs/new_language.md`; corpora and bundles
keep the entries in their cards, so that the file is needed once.
"""

import dataclasses
import json
import os
import pathlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_type_hints

from s02jax.core.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Language:
  """Codes, script and metric of one language."""

  code: str  # our code, in records, tags and flags
  name: str  # English name; in lower case, the name in the test sets
  script: str  # ISO 15924 code of its script
  metric: Literal["wer", "cer"]  # edit distance over words or characters
  normaliser: Literal["casefold", "chinese", "arabic"]  # applied before that
  espeak: str  # name of espeak-ng's voice
  asr: str  # code in Whisper-like recognisers
  separator: str = " "  # characters between two written words
  aliases: tuple[str, ...] = ()  # codes in other people's data
  # Of a user's language alone: words for a decimal mark and for %, if any.
  point: str = ""
  percent: str = ""


def _language(
  code: str,
  name: str,
  script: str = "Latn",
  metric: Literal["wer", "cer"] = "wer",
  normaliser: Literal["casefold", "chinese", "arabic"] = "casefold",
  espeak: str = "",
  asr: str = "",
  separator: str = " ",
  aliases: tuple[str, ...] = (),
) -> Language:
  """Language with the usual values where they are not given."""
  return Language(
    code=code,
    name=name,
    script=script,
    metric=metric,
    normaliser=normaliser,
    espeak=espeak or code,
    asr=asr or code,
    separator=separator,
    aliases=aliases,
  )


# fmt: off
LANGUAGES: tuple[Language, ...] = (
  _language("zh", "Chinese", "Hans", "cer", "chinese", espeak="cmn",
            separator="", aliases=("cmn", "zh-cn", "zh-tw", "zh-hans",
                                   "zh-hant")),
  _language("en", "English", espeak="en-us",
            aliases=("en-us", "en-gb", "en-au", "en-in")),
  _language("yue", "Cantonese", "Hant", "cer", "chinese", separator="",
            aliases=("zh-hk", "zh-yue", "yue-hk")),
  _language("ja", "Japanese", "Jpan", "cer", separator="",
            aliases=("ja-jp",)),
  _language("ko", "Korean", "Kore", "cer", aliases=("ko-kr",)),
  _language("ar", "Arabic", "Arab", "cer", "arabic",
            aliases=("ar-sa", "ar-eg", "arb")),
  _language("es", "Spanish", aliases=("es-es", "es-mx", "es-419")),
  _language("tr", "Turkish", aliases=("tr-tr",)),
  _language("id", "Indonesian", aliases=("id-id",)),
  _language("pt", "Portuguese", aliases=("pt-pt", "pt-br")),
  _language("fr", "French", aliases=("fr-fr", "fr-ca")),
  _language("it", "Italian", aliases=("it-it",)),
  _language("nl", "Dutch", aliases=("nl-nl", "nl-be")),
  _language("vi", "Vietnamese", metric="cer", aliases=("vi-vn",)),
  _language("de", "German", aliases=("de-de", "de-at", "de-ch")),
  _language("ru", "Russian", "Cyrl", aliases=("ru-ru",)),
  _language("uk", "Ukrainian", "Cyrl", aliases=("uk-ua",)),
  _language("th", "Thai", "Thai", "cer", separator="", aliases=("th-th",)),
  _language("pl", "Polish", aliases=("pl-pl",)),
  _language("ro", "Romanian", aliases=("ro-ro",)),
  _language("el", "Greek", "Grek", "cer", aliases=("el-gr",)),
  _language("cs", "Czech", aliases=("cs-cz",)),
  _language("fi", "Finnish", aliases=("fi-fi",)),
  _language("hi", "Hindi", "Deva", "cer", aliases=("hi-in",)),
  _language("bg", "Bulgarian", "Cyrl", aliases=("bg-bg",)),
  _language("hr", "Croatian", aliases=("hr-hr",)),
  _language("da", "Danish", aliases=("da-dk",)),
  _language("hu", "Hungarian", aliases=("hu-hu",)),
  _language("ms", "Malay", aliases=("ms-my",)),
  _language("nb", "Norwegian", asr="no", aliases=("no", "nn", "nb-no",
                                                  "nn-no")),
  _language("sk", "Slovak", aliases=("sk-sk",)),
  _language("sv", "Swedish", aliases=("sv-se",)),
)
# fmt: on

BY_CODE: dict[str, Language] = {
  language.code: language for language in LANGUAGES
}


def by_any_code(languages: Iterable[Language]) -> dict[str, Language]:
  """Index of languages by code and alias.

  Raises:
    ValueError: two languages claim the same code.
  """
  table: dict[str, Language] = {}
  for language in languages:
    for code in (language.code, *language.aliases):
      if code in table:
        raise ValueError(f"language code {code!r} is claimed twice")
      table[code] = language
  return table


_BY_ANY_CODE = by_any_code(LANGUAGES)


def resolve(code: str) -> Language:
  """Language of a code or an alias, in upper or lower case, with "-" or "_".

  Raises:
    UserError: no such language; the message lists the codes.
  """
  found = _BY_ANY_CODE.get(code.strip().lower().replace("_", "-"))
  if found is None:
    codes = ", ".join(BY_CODE)
    named = code[:40]
    raise UserError(
      f"language {named!r} is unknown: the codes are {codes}; a file of your"
      " own language adds one (docs/new_language.md)."
    )
  return found


# --------------------------------------------------------- a user's languages

_OWN = frozenset(BY_CODE)
_VARIABLE = "S02JAX_LANGUAGES"  # tells them to processes that start later
_CODE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*")


def is_own(code: str) -> bool:
  """Returns whether a language is of the table, not a user's."""
  return code in _OWN


def add(languages: Iterable[Language]) -> None:
  """Makes languages of a user known to this process and those that it starts.

  Raises:
    UserError: a code that another language has.
  """
  for language in languages:
    if BY_CODE.get(language.code) == language:
      continue
    for code in (language.code, *language.aliases):
      if code in _BY_ANY_CODE:
        name = _BY_ANY_CODE[code].name
        raise UserError(
          f"language {language.name}: the code {code!r} is that of {name};"
          " choose another."
        )
    BY_CODE[language.code] = language
    _BY_ANY_CODE.update(by_any_code([language]))
    os.environ[_VARIABLE] = json.dumps(rows(BY_CODE))


def read_file(path: pathlib.Path) -> list[Language]:
  """Reads languages from a TOML file, a table for each, named by its code.

  Raises:
    UserError: no such file, or an entry that is none; the message names it.
  """
  try:
    tables = tomllib.loads(path.read_text("utf-8"))
  except (OSError, ValueError) as error:
    raise UserError(f"{path}: cannot be read as TOML ({error}).") from error
  if not tables:
    raise UserError(f"{path}: no language; write [code] and below it name.")
  return [_parse(path, code, row) for code, row in tables.items()]


def rows(codes: Iterable[str]) -> list[dict[str, Any]]:
  """Entries of a user's languages among `codes`, for a card in JSON."""
  return [dataclasses.asdict(BY_CODE[c]) for c in codes if not is_own(c)]


def add_rows(found: Iterable[Mapping[str, Any]]) -> None:
  """Makes the languages known that a card has from `rows`."""
  add(
    Language(**(dict(row) | {"aliases": tuple(row["aliases"])}))
    for row in found
  )


def _parse(path: pathlib.Path, code: str, row: Any) -> Language:
  """Language of a table of a file; raises UserError."""
  where = f"{path}: [{code}]"
  if not _CODE.fullmatch(code):
    raise UserError(f"{where} is no code such as sw, in small letters.")
  if not isinstance(row, dict):
    raise UserError(f"{path}: {code} is no table; write [{code}].")
  kinds = get_type_hints(_language)
  known = {*kinds, "point", "percent"} - {"code", "return"}
  for name, value in row.items():
    if name not in known:
      raise UserError(f"{where}: {name} is unknown; it has {sorted(known)}.")
    choices = get_args(kinds.get(name, str))
    if name == "aliases":
      if not isinstance(value, list) or not all(
        isinstance(alias, str) and _CODE.fullmatch(alias) for alias in value
      ):
        raise UserError(f"{where}: aliases is no list of codes.")
    elif not isinstance(value, str) or choices and value not in choices:
      wanted = f"one of {', '.join(choices)}" if choices else "a text"
      raise UserError(f"{where}: {name} is {value!r}; give {wanted}.")
  if not row.get("name"):
    raise UserError(f"{where}: name is missing.")
  words = {key: row[key] for key in ("point", "percent") if key in row}
  rest = {key: value for key, value in row.items() if key not in words}
  rest["aliases"] = tuple(rest.get("aliases", ()))
  return dataclasses.replace(_language(code, **rest), **words)


add_rows(json.loads(os.environ.get(_VARIABLE, "[]")))
