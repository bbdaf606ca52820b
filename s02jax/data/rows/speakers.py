"""Clips grouped by speaker, to draw references, prompts and fillers from."""

import numpy as np


class SpeakerClips:
  """Clips of a corpus grouped by speaker.

  Attributes:
    clips: int[len(corpus)], clips of each record's speaker, itself included.
  """

  def __init__(self, speaker: np.ndarray):
    """Groups the records by `speaker`, int[len(corpus)]."""
    self._order = np.argsort(speaker, kind="stable")
    _, first, inverse, counts = np.unique(
      speaker[self._order],
      return_index=True,
      return_inverse=True,
      return_counts=True,
    )
    n = len(speaker)
    # For every record: clips of its speaker, the place in `_order` where they
    # begin, and its own place among them.
    self.clips = np.empty(n, int)
    self._first = np.empty(n, int)
    self._place = np.empty(n, int)
    self.clips[self._order] = counts[inverse]
    self._first[self._order] = first[inverse]
    self._place[self._order] = np.arange(n) - first[inverse]

  def other(
    self, record: np.ndarray, besides: np.ndarray, draw: np.ndarray
  ) -> np.ndarray:
    """Draws another clip of each record's speaker.

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
    """Draws up to `most` other clips of a record's speaker, in random order."""
    rest = int(self.clips[record]) - 1
    places = random.choice(rest, min(rest, most), replace=False)
    places += places >= self._place[record]
    return self._order[self._first[record] + places].tolist()
