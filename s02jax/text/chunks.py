"""Division of long texts into pauses and chunks of like length.

  text ─► pauses <#1.5#> ─► sentences ─► atoms ─► chunks of like length

An atom is rarely cut: it is a word with the space after it, or the characters
up to a comma where words have no spaces. Between two atoms a chunk may end, at
a price: nothing at the end of a paragraph, little after a sentence, more after
a comma, much inside a word. A chunk costs the square of its distance from the
budget. The cheapest cuts through the next few budgets of text decide where the
next chunk ends. So chunks come out alike, none exceeds the budget, and memory
does not grow with the text.
"""

import dataclasses
import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator

import sentencex

from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.text.clean import clean
from s02jax.text.phonetic import UNIT

CONTEXT = 40.0  # expected seconds of one pass, its prompt included
HORIZON = 3  # budgets of text that are looked at to place one cut
MAX_PAUSE, MIN_PAUSE = 99.99, 0.01  # seconds

# Seconds of a character at an unhurried pace, by the first word of its Unicode
# name; other letters and marks take as long as Latin ones.
_LETTER = 0.075
_LETTERS = {
  "ARABIC": 0.1,
  "CJK": 0.22,
  "DEVANAGARI": 0.08,
  "HANGUL": 0.18,
  "HIRAGANA": 0.13,
  "KATAKANA": 0.13,
}
_FIGURE = 0.35  # a figure or a symbol is read out as a word
_STOP, _COMMA = 0.3, 0.15  # seconds of silence after a mark
_STOPS = ".!?…;:。！？；：؟۔؛।॥"
_COMMAS = ",،、，"

# Prices of a cut; for comparison, a chunk of half a budget costs 0.25.
_PARAGRAPH, _SENTENCE, _CLAUSE, _PHRASE = 0.0, 0.05, 0.3, 0.5
_WORD, _CHARACTER = 1.5, 4.0

_CLOSING = "\"'”’»›」』）】》〉])"
# In scripts without spaces a mark alone ends an atom.
_WIDE = "、，；：。！？…"
_ATOM = re.compile(
  rf"\s+|[^\s{_WIDE}]*"
  rf"(?:[{_WIDE}]+[{re.escape(_CLOSING)}]*|(?=\s|$))\s*"
)
_MARK = re.compile(r"<#(.*?)(?:#>|$)", re.DOTALL)
_NUMBER = re.compile(r"[0-9]{1,2}(\.[0-9]{1,2})?")
_MOOD = re.compile(r"emotion(?: ([\w:.,-]{1,60}))?")


@dataclasses.dataclass(frozen=True)
class Speech:
  """Text to be spoken in one pass."""

  text: str  # with its spaces


@dataclasses.dataclass(frozen=True)
class Pause:
  """Silence between two texts."""

  seconds: float  # length of the silence


@dataclasses.dataclass(frozen=True)
class Emotion:
  """Emotion of all that follows, up to the next one."""

  written: str  # such as sad:0.6; "" is that of the request


Part = Speech | Pause | Emotion


# ------------------------------------------------------------------- reading


def parse(text: str) -> Iterator[Part]:
  """Splits `text` at its marks: speech, pauses and emotions, in order.

  Raises:
    UserError: a mark that is neither <#seconds#> nor <#emotion …#>.
  """
  end = 0
  for mark in _MARK.finditer(text):
    if mark.start() > end:
      yield Speech(text[end : mark.start()])
    mood = _MOOD.fullmatch(mark[1]) if mark[0].endswith("#>") else None
    yield Emotion(mood[1] or "") if mood else Pause(_seconds_of_mark(mark))
    end = mark.end()
  if end < len(text):
    yield Speech(text[end:])


def _seconds_of_mark(mark: re.Match) -> float:
  """Seconds of a pause mark; raises UserError if it is malformed."""
  good = mark[0].endswith("#>") and _NUMBER.fullmatch(mark[1])
  if not good or not MIN_PAUSE <= float(mark[1]) <= MAX_PAUSE:
    raise UserError(
      f"the pause {mark[0][:20]!r} is malformed: write <#1.5#>, with"
      f" {MIN_PAUSE} to {MAX_PAUSE} seconds, at most two decimals."
    )
  return float(mark[1])


@functools.cache
def _seconds_of(character: str) -> float:
  """Seconds that a character, or a word by its sounds, takes to read."""
  if len(character) > 1:
    phones = character.count("-") + 1
    syllable = character[1].islower()
    return _LETTERS["CJK"] if syllable else phones * _LETTER
  if character in _STOPS:
    return _STOP
  if character in _COMMAS:
    return _COMMA
  first = unicodedata.name(character, "").partition(" ")[0]
  category = unicodedata.category(character)[0]
  if category in "LM":
    return _LETTERS.get(first, _LETTER)
  return _FIGURE if category in "NS" else 0.0


def expected_seconds(text: str) -> float:
  """Estimated seconds in which an unhurried reader speaks `text`."""
  return sum(map(_seconds_of, _units(text)))


def _units(text: str) -> Iterable[str]:
  """Characters of a text, and the sounds of a word in brackets as one."""
  return UNIT.findall(text) if "(" in text else text


# ----------------------------------------------------------------- sentences


def sentences(text: str, language: str) -> Iterator[str]:
  """Splits one paragraph into sentences, with the spaces after them.

  Where sentencex ends a sentence after a likely abbreviation, the two parts are
  joined: cutting a sentence is worse than keeping two together.
  """
  held = ""
  for part in sentencex.segment(languages.resolve(language).code, text):
    if held and not _ends(held, part):
      held += part
      continue
    if held:
      yield held
    held = part
  if held:
    yield held


def _ends(sentence: str, following: str) -> bool:
  """Whether a sentence is over where sentencex ends it."""
  bare = sentence.rstrip().rstrip(_CLOSING)
  if not bare.endswith(".") or bare.endswith(".."):
    return True
  if following[:1].islower() or following[:1].isdigit():
    return False
  word = re.split(r"[\s.(\[]", bare[:-1])[-1]
  return len(word) > 2 or word.islower()


# --------------------------------------------------------------------- atoms


@dataclasses.dataclass(frozen=True)
class _Atom:
  """Piece of text that is kept in one chunk."""

  text: str  # with the spaces after it
  seconds: float  # expected length
  price: float  # of a cut behind it


def _atoms(text: str, language: str, longest: float) -> Iterator[_Atom]:
  """Splits `text` into atoms of at most `longest` seconds."""
  for paragraph in text.splitlines(keepends=True):
    parts = list(sentences(paragraph, language))
    for i, sentence in enumerate(parts):
      price = _SENTENCE if i + 1 < len(parts) else _PARAGRAPH
      pieces = [m[0] for m in _ATOM.finditer(sentence) if m[0]]
      for j, piece in enumerate(pieces):
        last = j + 1 == len(pieces)
        yield from _divide(piece, price if last else _price(piece), longest)


def _price(piece: str) -> float:
  """Price of a cut behind `piece`, inside of a sentence."""
  mark = piece.rstrip().rstrip(_CLOSING)[-1:]
  if mark in _COMMAS:
    return _PHRASE
  if mark in _STOPS.replace(".", "") or mark in "—–":
    return _CLAUSE
  # Thai has no marks: its spaces stand between phrases and sentences.
  return _CLAUSE if "\u0e00" <= mark <= "\u0e7f" else _WORD


def _divide(piece: str, price: float, longest: float) -> Iterator[_Atom]:
  """Splits `piece` into runs of characters where it is too long for an atom."""
  seconds = expected_seconds(piece)
  if seconds <= longest:
    yield _Atom(piece, seconds, price)
    return
  run, length = "", 0.0
  for character in _units(piece):
    more = _seconds_of(character)
    # A mark stays with what it marks, unless it is a flood of marks.
    joins = unicodedata.category(character[-1])[0] in "MPZ" and (
      len(character) == 1
    )
    if run and length + more > longest / 2 and not (joins and length < longest):
      yield _Atom(run, length, _CHARACTER)
      run, length = "", 0.0
    run, length = run + character, length + more
  yield _Atom(run, length, price)


# -------------------------------------------------------------------- chunks


def _first_cut(atoms: list[_Atom], budget: float, final: bool) -> int:
  """Number of atoms of the next chunk, on the cheapest way through `atoms`.

  Args:
    atoms: at least one.
    budget: seconds that no chunk may exceed, unless one atom does.
    final: whether the text ends with them; else the last chunk may go on, and
      costs nothing.
  """
  count = len(atoms)
  # Cost of the cheapest way from atom i to the end, and its first cut.
  cost, cut = [0.0] * (count + 1), [count] * (count + 1)
  for i in reversed(range(count)):
    cost[i], seconds = float("inf"), 0.0
    for j in range(i, count):
      seconds += atoms[j].seconds
      if j > i and seconds > budget:
        break
      short = (1 - seconds / budget) ** 2
      here = short + atoms[j].price if j + 1 < count else short * final
      if here + cost[j + 1] < cost[i]:
        cost[i], cut[i] = here + cost[j + 1], j + 1
  return cut[0]


def _balanced(atoms: Iterable[_Atom], budget: float) -> Iterator[str]:
  """Joins consecutive atoms into texts, none longer than the budget."""
  atoms = iter(atoms)
  held: list[_Atom] = []
  seconds, final = 0.0, False
  while True:
    while not final and seconds <= HORIZON * budget:
      atom = next(atoms, None)
      if atom is None:
        final = True
      else:
        held.append(atom)
        seconds += atom.seconds
    if not held:
      return
    taken = _first_cut(held, budget, final)
    yield "".join(atom.text for atom in held[:taken])
    seconds -= sum(atom.seconds for atom in held[:taken])
    held = held[taken:]


def chunks(
  text: str, language: str, context: float = CONTEXT
) -> Iterator[Part]:
  """Divides `text` into speech, pauses and emotions, in order.

  The texts and the marks, joined, are `clean(text)`. A text
  that fits into one pass is one chunk between pauses; of a longer text each
  chunk leaves half of the pass to the one before it, as its prompt.

  Args:
    text: with pauses, such as "Wait <#1.5#> a moment."
    language: code or alias.
    context: expected seconds of one pass.

  Raises:
    UserError: a malformed pause, or an unknown language.
  """
  text = clean(text)
  total = sum(
    expected_seconds(part.text)
    for part in parse(text)
    if isinstance(part, Speech)
  )
  budget = context if total <= context else context / 2
  for part in parse(text):
    if not isinstance(part, Speech):
      yield part
    else:
      atoms = _atoms(part.text, language, budget / 4)
      yield from map(Speech, _balanced(atoms, budget))
