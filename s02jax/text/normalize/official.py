"""Normalisation `official`: repeats the benchmarks' own scripts, with flaws.

It mirrors, for `zh` and `en`, the function `process_one` of `run_wer.py` in
BytedanceSpeech/seed-tts-eval (read at commit 95003fe), and the line before it
that passes Paraformer's transcript through `zhconv` to zh-cn:

1. every character of `zhon.hanzi.punctuation + string.punctuation` is deleted,
   the ASCII apostrophe excepted: "well-known" becomes "wellknown", and the
   typographic apostrophe goes;
2. two spaces become one, in a single pass;
3. zh: every character becomes a word (only the transcript is simplified, not
   the text; nothing is lower-cased); en: lower case.

Spaces that are left over do not count, for jiwer's default transform drops
them. No other punctuation is touched: « ¿ ؟ । stay, and cost errors.

The MiniMax report published figures for 24 languages but no script. It states
which languages are counted in characters, and the rest here cannot be
verified: languages counted in words are treated as en, those counted in
characters as en and then split into characters as zh.
"""

import functools
import string

from s02jax.core.languages import Language
from s02jax.text.normalize import chinese


def official_reference(text: str, language: Language) -> str:
  """Normalises the text that was to be spoken."""
  text = text.translate(_deleted()).replace("  ", " ")
  if language.code != "zh":
    text = text.lower()
  return " ".join(text) if language.metric == "cer" else text


def official_hypothesis(text: str, language: Language) -> str:
  """Normalises the transcript of what was spoken."""
  if language.code == "zh":
    text = chinese.mainland(text)
  return official_reference(text, language)


@functools.cache
def _deleted() -> dict[int, None]:
  """Table for `str.translate` that deletes punctuation."""
  from zhon import hanzi

  marks = (hanzi.punctuation + string.punctuation).replace("'", "")
  return dict.fromkeys(map(ord, marks))
