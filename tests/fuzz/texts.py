"""Texts that are mutated at random, and whether all of their words are there.

Every other seed is a text of known words with what people's texts have between
them, in any of the languages; the others are any pieces in a row, in any kind
of marks. Free of JAX and pytest, for `alone.run`.
"""

import logging
import random
import re
import unicodedata

from s02jax.core.errors import UserError
from s02jax.synthesis import long_text
from s02jax.text import front
from s02jax.text.front import Audience
from tests.text.sentences import SENTENCES

PIECES = (
  "🎉", "❤\ufe0f", "\u200b", "\u00ad", "\ufeff", "\u202e", "\u00a0", "\x00",
  "<b>", "</b>", "<br>", "<x y='1'>", "<", ">", "&amp;", "&nbsp;", "&", "#",
  "**", "_", "`", "|", "\n\n", "\n- ", "\n1. ", "\n# ", "***", "—", "…", "?!",
  "<#0.5#>", "<break time='1s'/>", "12", "3.5.2024", "$5", "50 %", "(", ")",
  "☃", "∀", "\ue000", "שלום", "東京", "привет", "Ωμέγα", "\u0301", "...", "--",
  "x" * 60, "-" * 300, "http://a.bc/d", "MP3", "IV", "\t", "“", "”", "*",
  "(wei1)", "/(R EH1 D)", "/(", "\ufdd0",
)  # fmt: skip
MARKS = (
  *PIECES, *"<>&/=\"'[](){}!-", "<p>", "</p>", "<s>", "-->", "\n",
  "00:00:01,0 --> 00:00:02,0\n", "<!--", "<![CDATA[", "\ud800", "<#", "#>",
  "```", "    ", "|-|", "[a](b)", "word",
)  # fmt: skip
LONE = ("שלום", "東京", "привет", "Ωμέγα")  # in scripts of their own
CAPITALS_DIFFER = ("de", "tr", "el")  # whose small letters they do not tell
BLOCK = 62  # seeds in a row of one language
UNSPACED = ("zh", "yue", "ja", "th")


class _Messages(logging.Handler):
  """Handler that collects what is logged."""

  def __init__(self):
    super().__init__()
    self.text = ""

  def emit(self, record):
    self.text += record.getMessage() + "\n"


def check(seed: int) -> str | None:
  """Reads a mutated text; returns its fault, "" if it was rightly refused."""
  rng = random.Random(seed)
  if seed % 2 == 0:
    return _marks_are_read(rng)
  codes = sorted(SENTENCES)
  # In blocks: reading a language's table takes as long as reading many texts.
  return _words_stay(rng, codes[seed // BLOCK % len(codes)])


def _marks_are_read(rng: random.Random) -> str | None:
  """Reads pieces in any order; what is read is in words."""
  markup = rng.choice(("none", "markdown", "ssml", "srt"))
  pieces = rng.choices(MARKS, k=rng.randrange(30))
  if pieces and rng.random() < 0.05:
    pieces += rng.choice(pieces) * rng.choice((100, 5000))
  text = "".join(pieces)
  try:
    found = front.read(text, rng.choice(("en", None)), markup=markup)
  except UserError as error:
    return ascii(text) if "\n" in str(error) else ""
  again = front.words(found.text, found.language)
  return None if again == found.text else ascii(text)


def _words_stay(rng: random.Random, code: str) -> str | None:
  """Reads a text as corpora do, and in passages: no word is lost.

  Words in a script of their own are there or in a warning.
  """
  text, known = _mutated(rng, code)
  if lost := _lost(known, front.words(text, code)):
    return f"{code} words lost {lost}: {ascii(text)}"
  markup = rng.choice(("none", "none", "markdown"))
  audience = Audience(languages=tuple(dict.fromkeys((code, "en", "es", "de"))))
  log = _Messages()
  logging.getLogger().addHandler(log)
  try:
    read = long_text.read(text, code, audience=audience, markup=markup)
    parts = read.parts(rng.choice((4.0, 10.0, 40.0)))
  except UserError as error:  # a malformed pause, which is the writer's
    return "" if "pause" in str(error) else f"{ascii(text)}: {error}"
  finally:
    logging.getLogger().removeHandler(log)
  said = " ".join(p.text for p in parts if isinstance(p, long_text.Passage))
  if lost := _lost(known, said):
    return f"{code} {markup} lost {lost}: {ascii(text)} -> {said}"
  everything = _letters(said + log.text)
  lone = [w for w in LONE if w in text and _letters(w) not in everything]
  return f"{code} {markup} lost {lone}: {ascii(text)}" if lone else None


def _lost(known: list[str], said: str) -> str | None:
  """First of the known words that is not said behind those before it."""
  spoken, place = _letters(said), 0
  for word in known:
    place = spoken.find(_letters(word), place)
    if place < 0:
      return word
    place += len(_letters(word))
  return None


def _known(code: str) -> list[str]:
  """Words of the language that are read as they are written, of three letters.

  A shorter one may be a unit behind a number.
  """
  sentence = SENTENCES[code]
  if code in UNSPACED:
    return [run for run in re.split(r"[\W\d]+", sentence) if run]
  return [word for word in re.findall(r"[^\W\d_]+", sentence) if len(word) > 2]


def _mutated(rng: random.Random, code: str) -> tuple[str, list[str]]:
  """Makes a text of known words and what stands between them; and the words."""
  made, known = [], rng.choices(_known(code), k=rng.randrange(1, 30))
  may_shout = code not in CAPITALS_DIFFER
  for word in known:
    for _ in range(rng.choice((0, 0, 1, 1, 3))):
      made.append(rng.choice(PIECES) + rng.choice(("", " ")))
    cut = rng.randrange(len(word) + 1)
    hidden = rng.choice(("", "", "\u00ad", "\u200b", "\u2060"))
    loud = word.upper() if rng.random() < 0.1 and may_shout else word
    made += [" ", loud[:cut] + hidden + loud[cut:], " "]
  text = "".join(made)
  return (text.upper() if rng.random() < 0.05 and may_shout else text), known


def _letters(text: str) -> str:
  """Letters of a text, to compare by."""
  folded = unicodedata.normalize("NFKD", text.casefold())
  return re.sub(r"[\W\d_]+", "", folded.replace("\u0301", ""))
