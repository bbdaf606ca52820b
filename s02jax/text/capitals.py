"""Texts in capitals, folded to sentence case: models know words in lower case.

Folded is a sentence in capitals, and a run of words in capitals inside another
one, such as a heading that runs into its paragraph. A lone word in capitals
among other words stays: it may be an acronym. `docs/text.md` has the rule.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence

from s02jax.core import languages
from s02jax.text.spoken import patterns, table

LONG = 5  # letters of a word that is hardly an acronym
SHARE = 0.8  # of the letters of a sentence in capitals, at least
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
# Nobody is hurt by an end after an abbreviation: its next word keeps a capital.
_END = re.compile(r"([.!?…]+[\"'”’»)\]]*\s+|[。！？]+|\n+)")
_TURKIC = str.maketrans({"I": "ı", "İ": "i"})
_OTHERS = str.maketrans({"İ": "i"})


def fold(text: str, language: str) -> str:
  """Folds what is written in capitals; any other text stays as it is.

  Args:
    text: clean, with pauses or without.
    language: code or alias.

  Raises:
    UserError: unknown language.
  """
  code = languages.resolve(language).code
  if not any(_is_capital(word) for word in _WORD.findall(text)):
    return text
  whole = _is_shouted(text)
  sentences = _END.split(text)  # each but the last with its end after it
  for i in range(0, len(sentences), 2):
    shouted = whole or _is_shouted(sentences[i])
    sentences[i] = _fold_sentence(sentences[i], code, shouted)
  return "".join(sentences)


def _is_capital(word: str) -> bool:
  """Whether a word has two letters or more, all capitals but for ß."""
  return len(word) > 1 and word.replace("ß", "").isupper()


def _is_shouted(text: str) -> bool:
  """Whether a text is in capitals, and more than a short acronym."""
  words = [word for word in _WORD.findall(text) if _is_capital(word)]
  letters = [c for c in text if unicodedata.category(c)[0] == "L"]
  capitals = sum(c.isupper() for c in letters)
  enough = len(words) > 1 or any(len(word) >= LONG for word in words)
  return enough and capitals >= SHARE * len(letters)


def _fold_sentence(sentence: str, code: str, shouted: bool) -> str:
  """Folds a whole sentence, or its runs of words in capitals."""
  words = list(_WORD.finditer(sentence))
  runs = [words] if shouted else _runs(sentence, words)
  made, end = [], 0
  for run in runs:
    before = ""
    for word in run:
      made.append(sentence[end : word.start()])
      made.append(_Folding(code, sentence, word, before, words[0] is word).word)
      end, before = word.end(), word[0]
  return "".join([*made, sentence[end:]])


def _runs(sentence: str, words: Sequence[re.Match]) -> list[list[re.Match]]:
  """Runs of words in capitals: two words or more, one of them long."""
  runs: list[list[re.Match]] = [[]]
  for word in words:
    gap = sentence[runs[-1][-1].end() : word.start()] if runs[-1] else ""
    if runs[-1] and gap not in (" ", "-"):
      runs.append([])
    if word[0].isupper() and (_is_capital(word[0]) or len(word[0]) == 1):
      runs[-1].append(word)
    elif runs[-1]:
      runs.append([])
  return [run for run in runs if _is_long([w[0] for w in run])]


def _is_long(run: Sequence[str]) -> bool:
  """Whether words in capitals are hardly some acronyms in a row."""
  words = [word for word in run if _is_capital(word)]
  return len(words) > 1 and any(len(word) >= LONG for word in words)


class _Folding:
  """Fold of one word in its place."""

  def __init__(
    self, code: str, sentence: str, match: re.Match, before: str, first: bool
  ):
    """Looks at a word.

    Args:
      code: of the language.
      sentence: that the word is in.
      match: of the word.
      before: word before it in the run, or "".
      first: whether it begins the sentence.
    """
    self._code, self._written, self._before = code, match[0], before
    self._left = sentence[: match.start()][-2:]
    self._right = sentence[match.end() :][:2]
    self._first = first

  @property
  def word(self) -> str:
    """Word as it is to be written."""
    written = self._written
    if not written.replace("ß", "").isupper() or self._stays():
      return written
    small = lower(written, self._code)
    unit = _units(self._code).get(small)
    if unit and self._left.strip()[-1:].isdecimal():
      return unit
    form = _forms(self._code).get(small + self._right[:1].replace(" ", ""))
    form = form and form.rstrip(".") or _forms(self._code).get(small)
    if form:
      return form
    if self._code == "en" and re.match(r"i(?:['’]|$)", small):
      return "I" + small[1:]
    if not self._first:
      return small
    kept = 2 if self._code == "nl" and written.startswith("IJ") else 1
    return written[:kept] + small[kept:]

  def _stays(self) -> bool:
    """Whether the word is part of a number: a unit, a currency, IV, A4."""
    written, known = self._written, table.load(self._code)
    if self._right[:1].isdecimal():
      return True
    if self._left.strip()[-1:].isdecimal():
      return (
        written in known.units
        or written in known.currency_symbols
        or (
          len(written) == 1 and self._left[-1:].isdecimal() and written != "S"
        )
      )
    if re.match(r" ?\d", self._right):
      return written in known.currency_symbols
    numeral = re.fullmatch(patterns.ROMAN, written) is not None
    counted = lower(self._before, self._code) in _counted(self._code)
    return numeral and counted


def lower(word: str, code: str) -> str:
  """Writes a word in the small letters of a language.

  Turkish has a small I without a dot, and a capital one with a dot.
  """
  return word.translate(_TURKIC if code == "tr" else _OTHERS).lower()


@functools.cache
def _forms(code: str) -> dict[str, str]:
  """Words that the front end knows by their capitals: small -> written."""
  found = table.load(code)
  written = [*found.month_numbers, *found.abbreviations, *found.magnitudes]
  for words in found.lists.values():
    written += words
  for rules in found.rules.values():
    for rule in rules:
      written += _WORD.findall(re.sub(r"\{.*?\}", " ", rule))
  return {
    lower(word, code): word
    for word in written
    if word[:1].isupper() and re.fullmatch(r"[^\W\d_]{2,}\.?", word)
  }


@functools.cache
def _counted(code: str) -> frozenset[str]:
  """Words after which a Roman number is read, in small letters."""
  lists = table.load(code).lists.values()
  return frozenset(lower(word, code) for words in lists for word in words)


@functools.cache
def _units(code: str) -> dict[str, str]:
  """Symbols of units by their small letters; those in small letters first."""
  found: dict[str, str] = {}
  for symbol in sorted(table.load(code).units, reverse=True):
    found.setdefault(lower(symbol, code), symbol)
  return found
