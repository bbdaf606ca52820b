r"""Patterns of written forms, and templates of what is spoken for them.

  "{d}. {month}[ {Y}]"  ─►  "{d:ordinal} {month}[ {Y:year}]"

In a pattern `{slot}` is a number, a month or a word of the table's lists, a
space stands for one or more spaces, `~` for a space or none, `[…]` for a part
that may be missing. `{a}` and `{a2}` are two slots of one kind. An entry "*ssa"
of a list is any word that ends so; such a list cannot begin a pattern. In a
template `{slot:reading}` is read so; a part in brackets is left out where one
of its slots did not occur.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping

from s02jax.text.spoken.numbers import Numbers
from s02jax.text.spoken.table import Table

# Characters of scripts that put no spaces between words, or none before what
# is joined to a number: a number or an abbreviation may touch them.
RUNNING = (
  "\u0e00-\u0e7f\u1100-\u11ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f"
  "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0002ffff"
)
# Signs of vowels and tones that `\w` leaves out though they belong to words.
VOWELS = "\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963"
MARKS = VOWELS + "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
# Letter or digit that borders a word.
LETTER = rf"(?:[^\W_{RUNNING}]|[{VOWELS}])"
# Particles of one letter that Arabic writes together with the next word.
PREFIX = rf"(?<!{LETTER})[وفبلك]"
BEFORE = rf"(?:(?<!{LETTER})|(?<={PREFIX}))(?<!\d[.,:/])"
AFTER = rf"(?!{LETTER})"
_WORD_END = rf"(?:(?<!{LETTER})|{AFTER})"  # what ends in a period ends anyhow
AFTER_DIGIT = rf"(?!{LETTER})(?![.,:/]\d)"
_SPACE = r"[ \t\u00a0\u202f\u2009]"

_DIGITS = {
  "D": r"\d+",
  "d": r"(?:0?[1-9]|[12]\d|3[01])(?!\d)",
  "m": r"(?:0?[1-9]|1[0-2])(?!\d)",
  "Y": r"[12]\d{3}(?!\d)",
  "y": r"\d\d(?!\d)",
  "H": r"(?:[01]?\d|2[0-4])(?!\d)",
  "h": r"(?:1[0-2]|0?[1-9])(?!\d)",
  "M": r"[0-5]\d(?!\d)",
  "S": r"[0-5]\d(?!\d)",
}
# Capitals of the Latin, Greek and Cyrillic scripts.
UPPER = "".join(filter(str.isupper, map(chr, range(0x530))))
_LOWER = "".join(filter(str.islower, map(chr, range(0x2000))))
_AHEAD = {
  "next": r"(?=[ \u00a0\u202f]?[^\W\d_])",
  "Next": rf"(?=[ \u00a0\u202f][{UPPER}])",
  "low": rf"(?=[ \u00a0\u202f][{_LOWER}])",
  "fig": r"(?=\d)",
}
# "L" and "C" alone are words or initials. Cyrillic keyboards have letters that
# look like I, X and C.
_ALIKE = str.maketrans("ІХС", "IXC")
ROMAN = (
  r"(?=[IVXІХ]|[LCС][IVXLCІХС])[CС]{0,3}(?:[XХ][CС]|[XХ]L|L?[XХ]{0,3})"
  r"(?:[IІ][XХ]|[IІ]V|V?[IІ]{0,3})"
)
_NUMBERS = ("n", "i", "a", "b")
_READINGS = {"Y": "year", "D": "digits"}
_SLOT = re.compile(r"\{(\w+?)(\d*)(?::([\w-]+))?\}")


@dataclasses.dataclass(frozen=True)
class Rule:
  """Written form of one class, and how it is read."""

  kind: str  # class of the form, such as "date"
  regex: re.Pattern[str]  # of the written form
  # Words of a match, None where the form is another one after all.
  read: Callable[[re.Match[str]], str | None]
  starts: str  # "digit", "word" or the characters it may begin with
  words: tuple[str, ...] = ()  # patterns of its beginnings, of a "word" rule


def roman(written: str) -> int:
  """Value of a Roman number in capitals."""
  letters = written.translate(_ALIKE)
  values = [dict(I=1, V=5, X=10, L=50, C=100)[c] for c in letters]
  pairs = zip(values, [*values[1:], 0], strict=True)
  return sum(-a if a < b else a for a, b in pairs)


def number(table: Table) -> str:
  """Pattern of a number with its thousands and decimals."""
  mark = re.escape(table.number.mark)
  return rf"(?:{integer(table)})(?:{mark}\d+)?"


def integer(table: Table) -> str:
  """Pattern of a whole number with its thousands."""
  inner = r"\d{2,3}" if table.code == "hi" else r"\d{3}"
  grouped = "|".join(
    rf"\d{{1,3}}(?:{re.escape(g)}{inner}){{0,4}}{re.escape(g)}\d{{3}}(?!\d)"
    for g in table.groups
  )
  return rf"{grouped}|\d+"


def either_case(word: str) -> str:
  """Pattern of a word that may begin a sentence, spaces of any kind or none.

  "*ssa" is any word without a capital that ends so.
  """
  if word[0] == "*":
    return rf"(?![{UPPER}])[^\W\d_]+{re.escape(word[1:])}"
  parts = [re.escape(part) for part in word.split(" ")]
  first = word[0].upper()
  if first != word[0] and len(first) == 1:
    parts[0] = (
      rf"[{re.escape(word[0])}{first}]{parts[0][len(re.escape(word[0])) :]}"
    )
  gap = rf"{_SPACE}*" if "." in word else rf"{_SPACE}+"
  return gap.join(parts)


def any_of(words: Iterable[str]) -> str:
  """Pattern of any of some words, the longest first."""
  return "|".join(map(either_case, sorted(words, key=len, reverse=True)))


def joined(words: Iterable[str]) -> str:
  """Words with a space between two only where they would run together."""
  made = [""]
  for word in filter(None, words):
    meet = re.match(LETTER, made[-1][-1:]) and re.match(LETTER, word)
    made.append(f" {word}" if meet else word)
  return re.sub(" +", " ", "".join(made))


def key(written: str) -> str:
  """Form in which a written word is looked up: no spaces, no capitals."""
  return re.sub(r"\s+", "", written).casefold()


class Compiler:
  """Compiler of the patterns and templates of one language."""

  def __init__(self, table: Table, numbers: Numbers):
    """Compiles by the slots and lists of `table`."""
    self._table, self._numbers = table, numbers
    self._lists = {
      name: {key(w): spoken for w, spoken in words.items()}
      for name, words in table.lists.items()
    }

  def rule(self, kind: str, written: str, spoken: str) -> Rule:
    """Rule of a pattern and its template.

    Raises:
      ValueError: a slot that is unknown, or one that would begin at any word.
    """
    body = self._pattern(written)
    starts, words = self._start(written)
    before = BEFORE if starts in ("digit", "word") else ""
    if starts in "-−":
      before = r"(?<![0-9A-Za-z)\]%°℃])"  # there it parts two numbers
    regex = re.compile(before + body + self._end(written))

    def read(match: re.Match[str]) -> str:
      return self.render(spoken, match.groupdict())

    return Rule(kind, regex, read, starts, words)

  def _pattern(self, written: str) -> str:
    """Regular expression of a pattern, one named group a slot."""
    made, end = [], 0
    for slot in _SLOT.finditer(written):
      made += [self._literal(written[end : slot.start()])]
      made += [self._slot(slot[1], slot[1] + slot[2])]
      end = slot.end()
    return "".join([*made, self._literal(written[end:])])

  def _literal(self, text: str) -> str:
    """Regular expression of the text between slots."""
    special = {"[": "(?:", "]": ")?", " ": f"{_SPACE}+", "~": f"{_SPACE}?"}
    return "".join(special.get(c, re.escape(c)) for c in text)

  def _slot(self, kind: str, name: str) -> str:
    """Regular expression of a slot."""
    if kind in _AHEAD:
      return _AHEAD[kind]
    return f"(?P<{name}>{self._content(kind)})"

  def _content(self, kind: str) -> str:
    """Regular expression of what may stand in a slot."""
    table = self._table
    if kind in _DIGITS:
      return _DIGITS[kind]
    if kind == "n":
      return number(table)
    if kind in ("i", "a", "b"):
      return f"(?:{integer(table)})(?!{re.escape(table.number.mark)}\\d)"
    if kind == "month":
      return any_of(table.month_numbers)
    if kind == "roman":
      return ROMAN
    if kind == "w":
      return r"[^\W\d_]+"
    if kind in table.lists:
      return any_of(table.lists[kind])
    raise ValueError(f"{table.code}.toml: there is no slot {{{kind}}}")

  def _start(self, written: str) -> tuple[str, tuple[str, ...]]:
    """Kind of a rule's first character, and patterns of its first word."""
    slot = _SLOT.match(written)
    if slot is None:
      literal = re.match(r"[^\[{~ ]+", written)
      assert literal is not None, written
      if literal[0][0].isdecimal():
        return "digit", ()
      if literal[0][0].isalpha():
        return "word", (self._literal(literal[0]),)
      return literal[0][0], ()
    if slot[1] in _DIGITS or slot[1] in _NUMBERS:
      return "digit", ()
    if any(w[0] == "*" for w in self._table.lists.get(slot[1], ())):
      raise ValueError(
        f"{self._table.code}.toml: {written!r} begins with a list of endings"
      )
    return "word", (self._content(slot[1]),)

  def _end(self, written: str) -> str:
    """Regular expression of what may not follow a rule's last character."""
    slot = re.search(r"\{(\w+?)\d*\}\]*$", written)
    if slot is None:
      last = written.rstrip("]")[-1]
      return AFTER if last.isalpha() and _borders(last) else ""
    if slot[1] in _DIGITS or slot[1] in _NUMBERS:
      word = _WORD_END if written.endswith("]") else ""  # it may be missing
      return r"(?!\d)(?![.,:/]\d)" + word
    if slot[1] in _AHEAD or slot[1] == "w":
      return ""
    if slot[1] == "roman":
      return AFTER
    return _WORD_END

  # -------------------------------------------------------------- templates

  def render(self, template: str, found: Mapping[str, str | None]) -> str:
    """Words of a template with the slots that were found."""

    def part(match: re.Match[str]) -> str:
      inner = match[1]
      names = [s[1] + s[2] for s in _SLOT.finditer(inner)]
      whole = all(found.get(name) is not None for name in names)
      return inner if whole else ""

    plain = re.sub(r"\[([^\[\]]*)\]", part, template)
    words = _SLOT.sub(lambda s: self._word(s, found), plain)
    return re.sub(" +", " ", words).strip()

  def _word(self, slot: re.Match[str], found: Mapping[str, str | None]) -> str:
    """Words of one slot of a template."""
    kind, name, reading = slot[1], slot[1] + slot[2], slot[3]
    value = found.get(name)
    if kind == "month":
      value = value or found.get("m" + slot[2])
      return self.month(value) if value else ""
    if value is None:
      return ""
    if kind == "roman":
      return self._numbers.read(str(roman(value)), reading or "number")
    if kind in self._lists:
      words = self._lists[kind].get(key(value), value)
      return value if words.casefold() == value.casefold() else words
    if not value[:1].isdecimal():
      return value
    if kind in _DIGITS:
      return self._numbers.read(value, reading or _READINGS.get(kind, "number"))
    return self._numbers.read(self._numbers.parse(value), reading or "number")

  def month(self, written: str) -> str:
    """Name of a month that is written as a number or by name."""
    if written.isdecimal():
      return self._table.months[int(written) - 1]
    return self._table.months[self._months[key(written)] - 1]

  @functools.cached_property
  def _months(self) -> dict[str, int]:
    return {key(name): i for name, i in self._table.month_numbers.items()}


def _borders(character: str) -> bool:
  """Whether a word that ends so must not run on into the next one."""
  return re.match(LETTER, character) is not None
