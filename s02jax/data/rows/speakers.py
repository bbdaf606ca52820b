"""Clips by speaker: other clips of a speaker as references."""

import threading
from collections.abc import Callable, Sequence

import numpy as np

from s02jax.data.records import Corpus

Vectors = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]  # of waves
# Rows whose voices are computed at once.
AHEAD = 32


# -------------------------------------------------------------- references


class Speakers:
  """Clips by speaker."""

  def __init__(self, speaker: np.ndarray):
    self._order = np.argsort(speaker, kind="stable")
    _, first, inverse, counts = np.unique(
      speaker[self._order],
      return_index=True,
      return_inverse=True,
      return_counts=True,
    )
    n = len(speaker)
    # Of every record: clips of its speaker, where they begin, its own place.
    self.clips = np.empty(n, int)
    self._first = np.empty(n, int)
    self._place = np.empty(n, int)
    self.clips[self._order] = counts[inverse]
    self._first[self._order] = first[inverse]
    self._place[self._order] = np.arange(n) - first[inverse]

  def other(
    self, record: np.ndarray, besides: np.ndarray, draw: np.ndarray
  ) -> np.ndarray:
    """Another clip of each record's speaker.

    Args:
      record: int[k].
      besides: int[k], a second clip of the speaker not to take; -1 for none.
      draw: float[k] in [0, 1), which of the rest.

    Returns:
      int[k]; -1 where there is no other.
    """
    two = besides >= 0
    rest = self.clips[record] - 1 - two
    place = (draw * np.maximum(rest, 0)).astype(int)
    mine = self._place[record]
    theirs = np.where(two, self._place[besides], np.iinfo(int).max)
    place = place + (place >= np.minimum(mine, theirs))
    place = place + (two & (place >= np.maximum(mine, theirs)))
    found = self._order[
      np.minimum(self._first[record] + place, len(self._order) - 1)
    ]
    return np.where(rest > 0, found, -1)

  def others(
    self, record: int, random: np.random.Generator, most: int
  ) -> list[int]:
    """At most so many other clips of a record's speaker, in random order."""
    rest = int(self.clips[record]) - 1
    places = random.choice(rest, min(rest, most), replace=False)
    places += places >= self._place[record]
    return self._order[self._first[record] + places].tolist()


class Voices:
  """Vectors of clips, each computed once, many at a time. Thread-safe."""

  def __init__(self, corpus: Corpus, compute: Vectors):
    self._corpus = corpus
    self._compute = compute
    self._known: dict[int, np.ndarray] = {}
    self._lock = threading.Lock()

  def __call__(
    self, records: Sequence[int], soon: Callable[[], Sequence[int]]
  ) -> np.ndarray:
    """f32[len(records), o]; `soon`: records that are asked for next."""
    with self._lock:
      if not self._known.keys() >= {*records}:
        missing = sorted({*records, *soon()} - self._known.keys())
        waves = [self._corpus.wave(record) for record in missing]
        found = self._compute(waves)
        self._known.update(zip(missing, found, strict=True))
      return np.stack([self._known[record] for record in records])
