"""Everyday sentences: patterns of our own whose places a draw fills."""

import functools
import pathlib
import re
import tomllib

import numpy as np

from data_pipelines.hashing import digest
from data_pipelines.natural.splits import split_of

_PARTS = 10  # of the patterns; one is for `seen`, one for `unseen`
_PLACE = re.compile(r"\{(\w+)\}")


class Everyday:
  """Patterns of one language, each of them in one split alone."""

  def __init__(self, language: str, seed: int):
    """Reads the patterns of a language that `LANGUAGES` has."""
    data = _read(language)
    self._seed = seed
    self._fill = data["fill"]
    self._numbers = {
      row["name"]: (row["least"], row["most"]) for row in data["number"]
    }
    self._patterns: dict[str, list[str]] = {}
    for pattern in data["sentences"]["list"]:
      self._patterns.setdefault(split_of(pattern, _PARTS), []).append(pattern)

  def text(self, split: str, number: int, part: int, attempt: int = 0) -> str:
    """Draws a sentence.

    Args:
      split: that it belongs to.
      number: of the text.
      part: of the text, from 0; parts that follow have other patterns.
      attempt: another number draws another sentence.
    """
    patterns = self._patterns[split]
    start = digest("pattern", split, str(self._seed), str(number))
    pattern = patterns[(start + part + attempt) % len(patterns)]
    rng = np.random.default_rng(
      [self._seed, digest("everyday", split), number, part, attempt]
    )
    return _PLACE.sub(lambda place: self._filled(place[1], rng), pattern)

  def _filled(self, kind: str, rng: np.random.Generator) -> str:
    if kind in self._numbers:
      least, most = self._numbers[kind]
      return str(rng.integers(least, most + 1))
    words = self._fill[kind]
    return words[int(rng.integers(len(words)))]


def _path(language: str) -> pathlib.Path:
  return pathlib.Path(__file__).with_name(f"everyday_{language}.toml")


def known(language: str) -> bool:
  """Returns True for a language that has patterns."""
  return _path(language).exists()


@functools.cache
def _read(language: str) -> dict:
  return tomllib.loads(_path(language).read_text("utf-8"))
