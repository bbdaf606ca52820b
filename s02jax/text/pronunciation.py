"""Pronunciation dictionary: words respelt before they are spoken.

It is a file of tab-separated lines (.tsv), `word respelling` for all languages
or `word respelling language` for one, with # before a remark; or a JSON file:

  {"en": {"SQL": "sequel", "Nguyen": "win"}, "all": {"s02": "S zero two"}}
"""

import collections
import functools
import json
import pathlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from s02jax.core import languages
from s02jax.core.errors import UserError

ALL = "all"
_Words = dict[str, dict[str, str]]  # language or ALL -> word -> respelling
# Scripts whose words are not separated, or take endings that no dictionary
# lists: their words are found inside of others.
_RUNNING = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "IDEOGRAPHIC")


class Pronunciation:
  """Dictionary that respells whole words, whatever their case."""

  def __init__(self, entries: Mapping[str, Mapping[str, str]]):
    """Stores the entries: language code or "all" -> word -> respelling."""
    self._entries = entries
    self._tables: dict[str, _Table] = {}

  @classmethod
  def load(cls, path) -> "Pronunciation":
    """Loads a .tsv or .json file.

    Raises:
      UserError: it cannot be read, or an entry is wrong; it names the line.
    """
    path = pathlib.Path(path)
    readers = {".tsv": _read_tsv, ".json": _read_json}
    if path.suffix.lower() not in readers:
      raise UserError(
        f"{path}: a pronunciation dictionary is a .tsv or a .json file."
      )
    try:
      text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
      raise UserError(
        f"{path}: cannot be read ({e}); give a file in UTF-8."
      ) from e
    listed = readers[path.suffix.lower()](text, str(path))
    return cls(_gather(listed))

  def respell(self, text: str, language: str) -> str:
    """Respells the words of `text`, the longest entry first; returns NFC.

    Pause marks are left alone, and what was respelt is not respelt again.

    Args:
      text: to be spoken.
      language: code or alias.
    """
    text, table = _nfc(text), self._table(languages.resolve(language).code)
    made, i = [], 0
    while i < len(text):
      end = text.find("#>", i) + 2 if text.startswith("<#", i) else 0
      end = max(end, i + 1)
      other = table.find(text, i) if end == i + 1 else None
      if other is not None:
        end, respelling = other
        made.append(respelling)
      else:
        made.append(text[i:end])
      i = end
    return "".join(made)

  def _table(self, code: str) -> "_Table":
    """Table of a language, made when it is first needed."""
    if code not in self._tables:
      entries = self._entries.get(ALL, {}), self._entries.get(code, {})
      self._tables[code] = _Table(entries)
    return self._tables[code]


class _Table:
  """Words of one language by their first letter and length."""

  def __init__(self, sources: Iterable[Mapping[str, str]]):
    """Merges dicts of word -> respelling; later ones override earlier ones."""
    self._respellings: dict[str, str] = {}
    lengths: dict[str, set[int]] = collections.defaultdict(set)
    for word, respelling in (x for source in sources for x in source.items()):
      word = _nfc(word)
      self._respellings[word.casefold()] = _nfc(respelling)
      lengths[_key(word)].add(len(word))
    # First letter -> lengths of the words, longest first.
    self._lengths = {k: sorted(v, reverse=True) for k, v in lengths.items()}

  def find(self, text: str, start: int) -> tuple[int, str] | None:
    """Finds the longest word at `start`; its end and respelling, or None."""
    for length in self._lengths.get(_key(text[start]), ()):
      end = start + length
      respelling = self._respellings.get(text[start:end].casefold())
      if respelling is not None and _is_whole(text, start, end):
        return min(end, len(text)), respelling
    return None


def _nfc(text: str) -> str:
  """Canonical composition of `text`."""
  return unicodedata.normalize("NFC", text)


def _key(word: str) -> str:
  """First letter of a word, case folded."""
  return word[0].casefold()


@functools.cache
def _kind(character: str) -> str:
  """Kind of a character: mark, running, letter (or figure), "" ends a word."""
  category = unicodedata.category(character)[0]
  if category == "M":
    return "mark"
  if category not in "LN" and character != "_":
    return ""
  name = unicodedata.name(character, "")
  return "running" if name.startswith(_RUNNING) else "letter"


def _is_whole(text: str, start: int, end: int) -> bool:
  """Whether text[start:end] lies between borders of words."""
  following = _kind(text[end]) if end < len(text) else ""
  if following == "mark":
    return False
  last = _kind(_bare(text[start:end])[-1:] or text[end - 1])
  if following and last == "letter":
    return False
  before = _bare(text[max(0, start - 8) : start])[-1:]
  return not (before and _kind(before) and _kind(text[start]) == "letter")


def _bare(text: str) -> str:
  """Text without the combining marks at its end."""
  while text and _kind(text[-1]) == "mark":
    text = text[:-1]
  return text


# --------------------------------------------------------------------- files

_Entries = Iterator[tuple[str, str, str, str]]  # where, language, word, other


def _read_tsv(text: str, name: str) -> _Entries:
  """Entries of a .tsv file's text; raises UserError that names the line."""
  for number, line in enumerate(text.split("\n"), 1):
    if not line.strip() or line.startswith("#"):
      continue
    where = f"{name}, line {number}"
    columns = [column.strip() for column in line.split("\t")]
    if len(columns) not in (2, 3):
      raise UserError(
        f"{where}: {len(columns)} columns; write a word, its respelling and, if"
        " it is for one language, its code, with tabs between."
      )
    word, respelling, language = (*columns, ALL)[:3]
    yield where, language, word, respelling


def _read_json(text: str, name: str) -> _Entries:
  """Entries of a .json file's text; raises UserError that names the line."""
  try:
    # Pairs, so that a word that is there twice is seen.
    pairs = json.loads(text, object_pairs_hook=list)
  except ValueError as e:
    line = getattr(e, "lineno", 1)
    raise UserError(f"{name}, line {line}: not JSON ({e}).") from e
  if not _is_object(pairs) or not all(_is_object(words) for _, words in pairs):
    raise UserError(
      f'{name}, line 1: must be {{"en": {{"word": "respelling"}}}}, with a'
      ' language code or "all" in front.'
    )
  for language, words in pairs:
    for word, respelling in words:
      where = f"{name}, line {_line_of(text, word)}"
      if not isinstance(respelling, str):
        raise UserError(
          f"{where}: the respelling of {word!r} must be a string."
        )
      yield where, language, word.strip(), respelling.strip()


def _is_object(value) -> bool:
  """Whether a value was a JSON object, which `_read_json` reads as pairs."""
  return isinstance(value, list) and all(isinstance(x, tuple) for x in value)


def _line_of(text: str, word: str) -> int:
  """Last line on which `word` is a JSON key; 1 if it is escaped there."""
  keys = re.escape(json.dumps(word, ensure_ascii=False)) + r"\s*:"
  found = list(re.finditer(keys, text))
  return text.count("\n", 0, found[-1].start()) + 1 if found else 1


def _gather(listed: Iterable[tuple[str, str, str, str]]) -> _Words:
  """Checks entries and groups them by language.

  Raises:
    UserError: a wrong entry; it names the line.
  """
  entries: _Words = collections.defaultdict(dict)
  seen: dict[tuple[str, str], str] = {}
  for where, language, word, respelling in listed:
    if not word or not respelling:
      raise UserError(f"{where}: the word or its respelling is empty.")
    if "<#" in word or "<#" in respelling:
      raise UserError(f"{where}: pauses have no place in a dictionary.")
    try:
      code = language if language == ALL else languages.resolve(language).code
    except UserError as e:
      raise UserError(f"{where}: {e}, and {ALL!r} for all of them") from e
    key = code, _nfc(word).casefold()
    if key in seen:
      raise UserError(
        f"{where}: {word!r} is already given in {seen[key]}; keep one."
      )
    seen[key] = where
    entries[code][word] = respelling
  return dict(entries)
