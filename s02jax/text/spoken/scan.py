"""Scan of a text: finds the written forms, reads them, joins the words."""

import dataclasses
import functools
import re
import unicodedata
from collections.abc import Iterator

from s02jax.core import languages
from s02jax.text.spoken import classes, patterns, table
from s02jax.text.spoken.patterns import LETTER, Rule

# Classes between which a dash is read as "to".
_RANGED = {
  "date", "time", "money", "measure", "percent", "number", "ordinal",
  "fraction", "special",
}  # fmt: skip
_DASH = re.compile(r"[ \u00a0\u202f]?[–—〜～~][ \u00a0\u202f]?|-")
_LAST = re.compile(r"\s*\Z")
_PREFIX = re.compile(rf"{patterns.PREFIX}$")
_NARROW = str.maketrans("％＄＆＋＝＃＠￥￡￦＜＞٪٫٬", "%$&+=#@¥£₩<>%.,")
_NUMERALS = (
  "²³¹\u2070-\u2089\u2150-\u218b\u2460-\u249b\u24ea-\u24ff\u2776-\u2793"
)
_PASSES = 10  # of `spoken`; what is read hardly ever holds anything to read


@dataclasses.dataclass(frozen=True, kw_only=True)
class Token:
  """Written form in a text, and what is spoken for it."""

  start: int  # place of its first character in the text's NFC
  end: int  # place behind its last one
  kind: str  # class, such as "date"; see `classes.KINDS`
  written: str  # characters of the text
  spoken: str  # words; empty for what is not spoken


class Reader:
  """Reader of the written forms of one language; safe between threads."""

  def __init__(self, code: str):
    """Compiles the language's table."""
    self.table = table.load(code)
    rules = classes.Classes(self.table).rules()
    self._rules: dict[str, list[Rule]] = {"digit": [], "word": []}
    self._rules |= {"pictograph": [], "numeral": []}
    self._signs: dict[str, list[Rule]] = {}
    for rule in rules:
      if rule.starts in self._rules:
        self._rules[rule.starts].append(rule)
      else:
        for sign in rule.starts:
          self._signs.setdefault(sign, []).append(rule)
    self._gate = self._compiled_gate(rules)
    to = self.table.patterns["range"]
    self._to = to if self.table.numbers.get("joined") else f" {to} "

  def _compiled_gate(self, rules: list[Rule]) -> re.Pattern[str]:
    """Pattern of the places where a written form may begin."""
    words = dict.fromkeys(w for r in rules for w in r.words)
    signs = "".join(map(re.escape, self._signs))
    return re.compile(
      rf"(?P<digit>[0-9])|(?P<pictograph>[{classes.DROPPED}])"
      rf"|(?P<numeral>[{_NUMERALS}])|(?P<sign>[{signs}])"
      rf"|(?<!{LETTER})(?=[^\W\d])(?P<word>{'|'.join(words)})"
    )

  def tokens(self, text: str) -> Iterator[Token]:
    """Finds the forms of a text in NFC whose characters are `_plain`."""
    place = 0
    while gate := self._gate.search(text, place):
      start = gate.start()
      found = self._first(text, start, str(gate.lastgroup))
      if found is None:
        place = start + 1
        continue
      match, kind, words = found
      yield Token(
        start=start, end=match.end(), kind=kind, written=match[0], spoken=words
      )
      place = match.end()

  def _first(
    self, text: str, start: int, group: str
  ) -> tuple[re.Match[str], str, str] | None:
    """First rule that reads the form at `start`."""
    signs = group in ("sign", "numeral")  # "²" may be "squared" in a table
    first = self._signs.get(text[start], ()) if signs else ()
    for rule in (*first, *self._rules.get(group, ())):
      match = rule.regex.match(text, start)
      if match is not None and match.end() > start:
        words = rule.read(match)
        if words is not None:
          if not self.table.numbers.get("joined"):
            words = _period_kept(rule.kind, words, match)
          return match, rule.kind, words
    return None

  def ranged(self, text: str, tokens: list[Token]) -> list[Token]:
    """Adds the dashes between two forms that make a range."""
    made: list[Token] = []
    for before, after in zip(tokens, [*tokens[1:], None], strict=False):
      made.append(before)
      if after is None or not {before.kind, after.kind} <= _RANGED:
        continue
      gap = text[before.end : after.start]
      # A dash in spaces parts sentences too: "May 2024 – 5 games".
      alike = before.kind in (after.kind, "number") or not gap[:1].isspace()
      if (
        alike and _DASH.fullmatch(gap) and (gap != "-" or _grows(before, after))
      ):
        made.append(
          Token(
            start=before.end,
            end=after.start,
            kind="range",
            written=gap,
            spoken=self._to,
          )
        )
    return made


def _period_kept(kind: str, words: str, match: re.Match[str]) -> str:
  """Words of a match, with its period if that ends the sentence too."""
  if not match[0].endswith(".") or words.endswith(".") or not words:
    return words
  if kind in ("money", "measure"):  # others may go before a name: "2024 r. Ewa"
    last = classes.ends_sentence(match)
  else:
    last = _LAST.match(match.string, match.end()) is not None
  return f"{words}." if last else words


def _grows(before: Token, after: Token) -> bool:
  """Whether a hyphen between two forms leads from less to more."""
  first = re.match(r"\d+", before.written)
  last = re.match(r"\d+", after.written)
  if first is None or last is None:
    return before.kind == after.kind
  if before.kind == "time":
    return True
  low, high = first[0].lstrip("0"), last[0].lstrip("0")
  return (len(low), low) < (len(high), high)


@functools.cache
def reader(code: str) -> Reader:
  """Reader of a language, compiled once."""
  return Reader(code)


def _plain(text: str) -> str:
  """NFC with digits of any script as ASCII, and wide signs as narrow ones."""
  text = unicodedata.normalize("NFC", text)
  if text.isascii():
    return text
  return "".join(
    str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text
  ).translate(_NARROW)


def tokens(text: str, language: str) -> list[Token]:
  """Finds what is not read as it is written; in order, apart.

  Args:
    text: of any length; the places are those of its NFC.
    language: code or alias.

  Raises:
    UserError: unknown language.
  """
  found = reader(languages.resolve(language).code)
  plain = _plain(text)
  return found.ranged(plain, list(found.tokens(plain)))


def spoken(text: str, language: str) -> str:
  """Writes a text in the words that a speaker says for it; returns NFC.

  A text without anything to read out comes back as it is, and what was read is
  not read again: `spoken(spoken(x, l), l) == spoken(x, l)`.

  Args:
    text: of any length, with pauses such as <#1.5#>, which stay.
    language: code or alias.

  Raises:
    UserError: unknown language.
  """
  text = unicodedata.normalize("NFC", text)
  for _ in range(_PASSES):
    found = tokens(text, language)
    if all(token.kind == "verbatim" for token in found):
      return text
    text = _join(text, found)
  return text


def _join(text: str, found: list[Token]) -> str:
  """Text with its forms replaced by words, a space where two words meet."""
  made, end, last = [], 0, ""
  for token in found:
    between = text[end : token.start]
    if between:
      last = _append(made, last, between)
    if token.spoken:
      words = token.spoken.rstrip(" " if _closes(text, token.end) else "")
      last = _append(made, last, words if made else words.lstrip(" "))
    elif last[-1:].isspace() and _closes(text, token.end):
      made[-1] = made[-1][:-1]
      last = made[-1] or "x"
    end = token.end
  _append(made, last, text[end:])
  return unicodedata.normalize("NFC", "".join(made))


def _closes(text: str, place: int) -> bool:
  """Whether a space before `place` would be one too many."""
  return place == len(text) or text[place].isspace() or text[place] in ".,;:!?)"


def _append(made: list[str], last: str, piece: str) -> str:
  """Appends a piece, one space before it where two words would meet."""
  if last.endswith(" "):
    piece = piece.removeprefix(" ")  # words of a table may bring their own
  attached = _PREFIX.search(last) is not None
  if piece and not attached and _joins(last[-1:], piece[0]):
    made.append(" ")
  made.append(piece)
  return piece or last


def _joins(before: str, after: str) -> bool:
  """Whether two characters would make one word of two."""
  both = re.match(LETTER, before) and re.match(LETTER, after)
  marked = unicodedata.category(before or " ")[0] == "M"
  return bool(both or (marked and re.match(LETTER, after)))
