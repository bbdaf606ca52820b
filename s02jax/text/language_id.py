"""Language identification of texts, among given languages alone.

The script that takes longest to read aloud decides first. Where several
languages share it, letters that only one of them has decide; then, in a short
text, its common words; after them py3langid: naive Bayes over byte n-grams.
"""

import collections
import functools
import re
import unicodedata
from collections.abc import Collection, Sequence

from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.core.languages import Language
from s02jax.text.checks import SCRIPTS, script_words
from s02jax.text.chunks import expected_seconds
from s02jax.text.common_words import WORDS

# Least share of kana among kana and Chinese characters of a Japanese text; less
# is a quotation.
KANA = 0.15
SHORT = 24  # letters of a text that its words are looked up of, at most
_CHINESE = {"Hans", "Hant"}
# Letters that no other supported language of the script has.
_ONLY = {"ru": "ыэё", "uk": "іїєґ", "yue": "咗嘅唔喺嗰啲嚟哋嘢㗎"}
# py3langid's codes that differ from ours.
_LABELS = {"no": "nb", "nn": "nb"}


def detect(text: str, candidates: Collection[str] | None = None) -> str:
  """Detects the language of `text`; returns its code.

  Args:
    text: of any length; from some twenty letters on, the answer is rarely
      wrong.
    candidates: codes or aliases to choose from, the likeliest first: it is
      taken where nothing tells two apart. None is all supported ones.

  Raises:
    UserError: no letter of a candidate's script, or py3langid is needed and
      missing.
  """
  codes = languages.BY_CODE if candidates is None else candidates
  rows = [languages.resolve(code) for code in codes]
  text = unicodedata.normalize("NFC", text)
  letters = _letters(text)
  seconds = _seconds(letters, {row.script for row in rows})
  most = max(seconds.values(), default=0.0)
  if not most:
    return _without_letters(text, rows)
  rows = _by_letters([r for r in rows if seconds[r.script] == most], text)
  if len(rows) == 1:
    return rows[0].code
  words = script_words(rows[0].script)
  own = "".join(c if _word(c) in words else " " for c in text)
  rows = _by_words(rows, text)
  return _likeliest(" ".join(own.split()), rows)


def _without_letters(text: str, rows: Sequence[Language]) -> str:
  """Language of a text without a letter of a candidate's script.

  Raises:
    UserError: it has other letters, or there are several candidates.
  """
  foreign = any(unicodedata.category(c)[0] == "L" for c in text)
  if not foreign and len(rows) == 1 and any(map(str.isalnum, text)):
    return rows[0].code
  if foreign and len(rows) < len(languages.BY_CODE):
    raise UserError(
      f"the language of {text[:40]!r} cannot be told: it is in a script that"
      f" none of {', '.join(row.code for row in rows)} is written in, and these"
      " models know no other language."
    )
  raise UserError(
    f"the language of {text[:40]!r} cannot be told: give its code, such as en."
  )


@functools.cache
def _word(character: str) -> str:
  """Word of a letter's Unicode name that tells its script, or ""."""
  if unicodedata.category(character)[0] not in "LM":
    return ""
  name = unicodedata.name(character, "").replace("-", " ").split()
  known = set[str]().union(*(words for _, words in SCRIPTS.values()))
  return next((word for word in name if word in known), "")


def _letters(text: str) -> dict[str, str]:
  """Letters of `text`, grouped by `_word`."""
  found: dict[str, list[str]] = collections.defaultdict(list)
  for character in text:
    found[_word(character)].append(character)
  return {word: "".join(characters) for word, characters in found.items()}


def _seconds(
  letters: dict[str, str], scripts: Collection[str]
) -> dict[str, float]:
  """Seconds that the letters of each script take to read."""

  def total(*words: str) -> float:
    return sum(expected_seconds(letters.get(word, "")) for word in words)

  seconds = {script: total(*script_words(script)) for script in scripts}
  kana = total("HIRAGANA", "KATAKANA")
  chinese = _CHINESE.intersection(scripts)
  if kana and kana >= KANA * (kana + total("CJK")):
    seconds |= dict.fromkeys(chinese, 0.0)
  elif chinese and "Jpan" in scripts:
    seconds["Jpan"] = 0.0
  if "Kore" in scripts:  # Chinese characters alone are not Korean
    seconds["Kore"] = total("HANGUL")
  return seconds


def _by_letters(rows: list[Language], text: str) -> list[Language]:
  """Language with most letters of its own, or all where there are none."""
  counts = [sum(c in _ONLY.get(r.code, "") for c in text.lower()) for r in rows]
  most = max(counts)
  return [rows[counts.index(most)]] if most else rows


def _by_words(rows: list[Language], text: str) -> list[Language]:
  """Languages of most words of a short text, all where there are none."""
  words = re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text.casefold())
  if sum(map(len, words)) > SHORT:
    return rows
  counts = [
    sum(word.replace("’", "'") in WORDS.get(row.code, ()) for word in words)
    for row in rows
  ]
  return [r for r, n in zip(rows, counts, strict=True) if n == max(counts)]


@functools.cache
def identifier():
  """Classifier of py3langid; raises UserError if it is not installed."""
  try:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier
  except ImportError as e:
    raise UserError(
      "to tell languages of one script apart, s02jax needs py3langid: pip"
      " install 's02jax[serve]', or give the language."
    ) from e
  return LanguageIdentifier.from_model_file(MODEL_FILE)


def _likeliest(words: str, rows: Sequence[Language]) -> str:
  """Code of the language that `words` most likely are in; at par, the first.

  The scores are logarithms: of a long text, the probabilities of all languages
  but one would be zero.
  """
  if len(rows) == 1:
    return rows[0].code
  scores = {row.code: float("-inf") for row in rows}
  for label, score in identifier().rank(words):
    code = _LABELS.get(label, label)
    if code in scores:
      scores[code] = max(scores[code], float(score))
  return max(scores, key=lambda code: scores[code])
