"""Languages of the system: a table of one entry each.

A new language is one more entry. All code that depends on a language (the text
model's tags, the corpus builders, the metrics) reads it from here.
"""

import dataclasses
from collections.abc import Iterable
from typing import Literal

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
    raise UserError(f"language {named!r} is unknown: the codes are {codes}.")
  return found
