"""Which language a text is in.

The script that takes longest to read aloud decides first. Where several
languages share it, letters that only one of them has decide, and after them
py3langid: naive Bayes over the byte n-grams of 139 languages.
"""

import collections
import functools
import unicodedata
from collections.abc import Collection, Sequence

from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.core.languages import Language
from s02jax.text.checks import SCRIPTS
from s02jax.text.chunks import expected_seconds

# Share of kana among kana and Chinese characters from which on a text is
# Japanese; less is a quotation.
KANA = 0.15
# The likeliest language must be so many times likelier than the next.
ODDS = 1.2
_CHINESE = {"Hans", "Hant"}
# Letters that no other of our languages of the script has.
_ONLY = {"ru": "ыэё", "uk": "іїєґ", "yue": "咗嘅唔喺嗰啲嚟哋嘢㗎"}
# What py3langid calls Norwegian; it has our codes for all others.
_LABELS = {"no": "nb", "nn": "nb"}


def detect(text: str, candidates: Collection[str] | None = None) -> str:
  """The code of the language that `text` is written in.

  Args:
    text: of any length; from some twenty letters on, the answer is rarely
      wrong.
    candidates: codes or aliases to choose from; None is all of ours.

  Raises:
    UserError: it cannot be told, or py3langid is needed and missing.
  """
  codes = languages.BY_CODE if candidates is None else candidates
  rows = [languages.resolve(code) for code in codes]
  text = unicodedata.normalize("NFC", text)
  letters = _letters(text)
  seconds = _seconds(letters, {row.script for row in rows})
  most = max(seconds.values(), default=0.0)
  if not most:
    raise _undecidable(text)
  rows = _by_letters([r for r in rows if seconds[r.script] == most], text)
  if len(rows) == 1:
    return rows[0].code
  words = SCRIPTS[rows[0].script][1]
  own = "".join(c if _word(c) in words else " " for c in text)
  return _likeliest(" ".join(own.split()), rows, text)


@functools.cache
def _word(character: str) -> str:
  """The word of its Unicode name that tells a letter's script, or ""."""
  if unicodedata.category(character)[0] not in "LM":
    return ""
  name = unicodedata.name(character, "").replace("-", " ").split()
  known = set[str]().union(*(words for _, words in SCRIPTS.values()))
  return next((word for word in name if word in known), "")


def _letters(text: str) -> dict[str, str]:
  """Letters of `text` by `_word`."""
  found: dict[str, list[str]] = collections.defaultdict(list)
  for character in text:
    found[_word(character)].append(character)
  return {word: "".join(characters) for word, characters in found.items()}


def _seconds(
  letters: dict[str, str], scripts: Collection[str]
) -> dict[str, float]:
  """Of each script, how long its letters take to read."""

  def total(*words: str) -> float:
    return sum(expected_seconds(letters.get(word, "")) for word in words)

  seconds = {script: total(*SCRIPTS[script][1]) for script in scripts}
  kana = total("HIRAGANA", "KATAKANA")
  if "Jpan" in scripts and _CHINESE.intersection(scripts):
    quoted = kana < KANA * (kana + total("CJK"))
    losers = {"Jpan"} if quoted else _CHINESE.intersection(scripts)
    seconds |= dict.fromkeys(losers, 0.0)
  if "Kore" in scripts:  # Chinese characters alone are not Korean
    seconds["Kore"] = total("HANGUL")
  return seconds


def _by_letters(rows: list[Language], text: str) -> list[Language]:
  """The row with most letters of its own, or all rows where there are none."""
  counts = [sum(c in _ONLY.get(r.code, "") for c in text.lower()) for r in rows]
  most = max(counts)
  return [rows[counts.index(most)]] if most else rows


@functools.cache
def _identifier():
  try:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier
  except ImportError as e:
    raise UserError(
      "to tell languages of one script apart, s02jax needs py3langid: pip"
      " install 's02jax[serve]', or give the language."
    ) from e
  return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _likeliest(words: str, rows: Sequence[Language], text: str) -> str:
  """The code of the row that `words` most likely are of."""
  codes = {row.code for row in rows}
  shares: dict[str, float] = dict.fromkeys(codes, 0.0)
  for label, probability in _identifier().rank(words):
    code = _LABELS.get(label, label)
    if code in codes:
      shares[code] += float(probability)
  best, next_best = sorted(codes, key=lambda code: -shares[code])[:2]
  if shares[best] < ODDS * shares[next_best]:
    raise _undecidable(text)
  return best


def _undecidable(text: str) -> UserError:
  return UserError(
    f"the language of {text[:40]!r} cannot be told: give its code, such as en."
  )
