"""Numbers in words by Unicode CLDR's spell-out rules (RBNF), all 32 languages.

The package `unicode_rbnf` computes them. What CLDR spells unlike the written
language is mended here, once for evaluation and for reading aloud.
"""

import functools
import re

import unicode_rbnf

# Our code -> name of CLDR's file, where it is another.
_CLDR = {"nb": "no"}
# Patterns and replacements, where CLDR's words are not the written ones.
_AMENDED = {
  "zh": (("〇", "零"),),
  "ja": (("〇", "零"),),
  "ar": (
    ("إثنان", "اثنان"),
    (r"(ثلاث|أربع|خمس|ست|سبع|ثماني|تسع)ة مائة", r"\1مائة"),
    ("ثمانيمائة", "ثمانمائة"),
  ),
  "el": (("χίλιάδες", "χιλιάδες"), ("εννενήντα", "ενενήντα")),
}


@functools.cache
def is_spelled(code: str) -> bool:
  """Whether CLDR has words for the numbers of a language."""
  return _engine(code) is not None


@functools.lru_cache(maxsize=65536)
def cardinal(number: int, code: str, *, year: bool = False) -> str:
  """Words of a number, as a year or not; its digits where CLDR has none.

  Args:
    number: not negative.
    code: of the language.
    year: use the language's rules of years, "nineteen ninety-nine".
  """
  engine = _engine(code)
  if engine is None:
    return " ".join(str(number))
  purpose = unicode_rbnf.FormatPurpose
  kind = purpose.YEAR if year else purpose.CARDINAL
  return _amended(engine.format_number(number, purpose=kind).text, code)


@functools.lru_cache(maxsize=4096)
def ordinal(number: int, code: str) -> str:
  """Ordinal of a number by the shortest rules of the language."""
  engine = _engine(code)
  if engine is None:
    return " ".join(str(number))
  purpose = unicode_rbnf.FormatPurpose.ORDINAL
  return _amended(engine.format_number(number, purpose=purpose).text, code)


@functools.lru_cache(maxsize=65536)
def by_rules(number: int, code: str, rules: str) -> str:
  """Words of a number by one named rule set of CLDR.

  Args:
    number: not negative.
    code: of the language.
    rules: name such as "spellout-cardinal-feminine".

  Raises:
    ValueError: the language has no such rule set.
  """
  engine = _engine(code)
  if engine is None or rules not in engine.rulesets:
    known = ", ".join(rule_sets(code))
    raise ValueError(f"{code} has no rules {rules!r}; it has {known}")
  found = engine.format_number(number, ruleset_names=[rules]).text
  return _amended(" ".join(found.split()), code)


def rule_sets(code: str) -> list[str]:
  """Names of the public rule sets of a language."""
  engine = _engine(code)
  return [] if engine is None else [n for n in engine.rulesets if "spell" in n]


def _amended(words: str, code: str) -> str:
  """Words of CLDR as they are written."""
  for wrong, right in _AMENDED.get(code, ()):
    words = re.sub(wrong, right, words)
  return words


@functools.cache
def _engine(code: str) -> unicode_rbnf.RbnfEngine | None:
  """Speller of a language, None where CLDR has none."""
  try:
    return unicode_rbnf.RbnfEngine.for_language(_CLDR.get(code, code))
  except ValueError:
    return None
