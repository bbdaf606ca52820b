"""Clips grouped by speaker, to draw references, prompts and fillers from."""

import numpy as np


class SpeakerClips:
  """Clips of a corpus grouped by speaker; four bytes a clip of its own."""

  def __init__(self, speaker: np.ndarray):
    """Groups the records by `speaker`, int[len(corpus)], which it keeps."""
    self._speaker = speaker
    # Clips by speaker, and of each by number: their places are searched for.
    order = np.argsort(speaker, kind="stable")
    self._order = order.astype(np.int32)
    self._counts = np.bincount(speaker)
    self._first = np.cumsum(self._counts) - self._counts

  @property
  def clips(self) -> np.ndarray:
    """Clips of each record's speaker, itself included, int[len(corpus)]."""
    return self._counts[self._speaker]

  def _place(self, record: np.ndarray) -> np.ndarray:
    """Place of each record among the clips of its speaker, int[k]."""
    speaker = self._speaker[record]
    low = self._first[speaker]
    begin, high = low, low + self._counts[speaker] - 1
    while np.any(low < high):
      middle = (low + high) // 2
      below = self._order[middle] < record
      low, high = (
        np.where(below, middle + 1, low),
        np.where(below, high, middle),
      )
    return low - begin

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
    speaker = self._speaker[record]
    rest = self._counts[speaker] - 1 - two
    place = (draw * np.maximum(rest, 0)).astype(int)
    mine = self._place(record)
    second = self._place(np.where(two, besides, record))
    theirs = np.where(two, second, np.iinfo(int).max)
    place = place + (place >= np.minimum(mine, theirs))
    place = place + (two & (place >= np.maximum(mine, theirs)))
    found = self._order[
      np.minimum(self._first[speaker] + place, len(self._order) - 1)
    ]
    return np.where(rest > 0, found, -1)

  def others(
    self, record: int, random: np.random.Generator, most: int
  ) -> list[int]:
    """Draws up to `most` other clips of a record's speaker, in random order."""
    speaker = self._speaker[record]
    rest = int(self._counts[speaker]) - 1
    places = random.choice(rest, min(rest, most), replace=False)
    places += places >= int(self._place(np.array([record]))[0])
    return self._order[self._first[speaker] + places].tolist()
