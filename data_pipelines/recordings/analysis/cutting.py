"""Cutting of long recordings at pauses, and what is said in each piece.

Islands are stretches of speech as the detector gives them, in seconds.
"""

from collections.abc import Sequence

from data_pipelines.recordings.items import Said
from s02jax.core.languages import Language
from s02jax.text import edits

Island = tuple[float, float]
_MARGIN = 0.12  # seconds that a clip keeps of the pause at either end
_LONE = 1.0  # seconds of pause across which too short a clip joins another


def cut(
  islands: Sequence[Island],
  seconds: float,
  *,
  pause: float,
  shortest: float,
  longest: float,
  whole: Sequence[Island] = (),
) -> list[Island]:
  """Cuts a recording at its pauses.

  Args:
    islands: of speech, in order.
    seconds: length of the recording.
    pause: seconds without speech at which it is cut.
    shortest: clips below it join their nearest neighbour, if it is near.
    longest: clips beyond it are cut at their longest pause, again and again.
    whole: stretches that stay together: those of a timed transcript.

  Returns:
    Seconds at which clips begin and end, with a margin of the pauses. Those
    without a pause to cut them at may be longer than `longest`.
  """
  groups: list[list[Island]] = []
  for island in islands:
    if groups and not _is_cut(groups[-1][-1][1], island[0], pause, whole):
      groups[-1].append(island)
    else:
      groups.append([island])
  pieces = [part for group in groups for part in _halve(group, longest)]
  spans = [(piece[0][0], piece[-1][1]) for piece in pieces]
  spans = _join_short(spans, shortest, longest)
  return _widen(spans, seconds)


def _is_cut(
  before: float, after: float, pause: float, whole: Sequence[Island]
) -> bool:
  """Whether a recording is cut between two islands."""
  if after - before < pause:
    return False
  return not any(
    start < before + 0.1 and after - 0.1 < end for start, end in whole
  )


def _halve(group: list[Island], longest: float) -> list[list[Island]]:
  """Cuts too long a group at its longest pause."""
  if group[-1][1] - group[0][0] <= longest or len(group) == 1:
    return [group]
  gaps = [b[0] - a[1] for a, b in zip(group, group[1:], strict=False)]
  place = max(range(len(gaps)), key=lambda i: gaps[i]) + 1
  return _halve(group[:place], longest) + _halve(group[place:], longest)


def _join_short(
  spans: list[Island], shortest: float, longest: float
) -> list[Island]:
  """Joins clips that are too short to their nearest neighbour."""
  spans = list(spans)
  i = 0
  while i < len(spans):
    start, end = spans[i]
    near: list[tuple[float, int]] = []
    if end - start < shortest:
      if i and end - spans[i - 1][0] <= longest:
        near.append((start - spans[i - 1][1], i - 1))
      if i + 1 < len(spans) and spans[i + 1][1] - start <= longest:
        near.append((spans[i + 1][0] - end, i))
    if near and min(near)[0] < _LONE:
      place = min(near)[1]
      spans[place : place + 2] = [(spans[place][0], spans[place + 1][1])]
      i = max(0, place)
    else:
      i += 1
  return spans


def _widen(spans: Sequence[Island], seconds: float) -> list[Island]:
  """Gives clips a margin, at most half of the pause between two."""
  found = []
  for i, (start, end) in enumerate(spans):
    before = spans[i - 1][1] if i else -_MARGIN
    after = spans[i + 1][0] if i + 1 < len(spans) else seconds + _MARGIN
    a = max(0.0, start - min(_MARGIN, (start - before) / 2))
    b = min(seconds, end + min(_MARGIN, (after - end) / 2))
    found.append((round(a, 3), round(b, 3)))
  return found


def pieces(said: Sequence[Said], spans: Sequence[Island]) -> list[str]:
  """Pieces of a timed transcript by clip: each where most of it lies."""
  found: list[list[str]] = [[] for _ in spans]
  for piece in said:
    overlaps = [
      min(piece.end, end) - max(piece.start, start) for start, end in spans
    ]
    if overlaps and max(overlaps) > 0:
      found[overlaps.index(max(overlaps))].append(piece.text)
  return [" ".join(parts) for parts in found]


def share_out(text: str, heard: Sequence[str], language: Language) -> list[str]:
  """Shares a transcript out among the clips of its recording.

  The words of the transcript are aligned with all that was heard; each goes
  where the word lies that it stands beside.

  Args:
    text: transcript of the whole recording.
    heard: what a recogniser heard in each clip, in order.
    language: of the recording.

  Returns:
    The piece of each clip; languages without spaces are shared by characters.
  """
  space = language.separator
  words = text.split() if space else list(text)
  keys = [edits.normalise(word, language) for word in words]
  told: list[str] = []
  owner: list[int] = []
  for clip, said in enumerate(heard):
    normal = edits.normalise(said, language)
    units = normal.split() if space else list(normal)
    told += units
    owner += [clip] * len(units)
  found: list[list[str]] = [[] for _ in heard]
  if not told:
    return [text if i == 0 else "" for i in range(len(heard))]
  place = 0
  at = 0  # in `words`
  for edit in edits.edits(keys, told).alignment:
    spoken = len(edit.hyp)
    for i in range(len(edit.ref)):
      where = place + min(i * spoken // max(1, len(edit.ref)), spoken)
      found[owner[min(where, len(owner) - 1)]].append(words[at])
      at += 1
    place += spoken
  return [(space or "").join(part) for part in found]


def punctuate(
  text: str,
  islands: Sequence[Island],
  language: Language,
  pause: float,
) -> str:
  """Writes commas where a text without any signs has pauses, and its end.

  Words are placed by their share of the letters in the time of the speech, an
  estimate that is good to a word or so; a comma goes to the nearest end of a
  word. Texts that have signs already, or no spaces, are left alone.

  Args:
    text: of the clip.
    islands: of speech in the clip.
    language: of the text.
    pause: seconds at which there is a comma.
  """
  words = text.split()
  marked = any(c in ".,;:?!،؟।。！？" for c in text)
  if marked or not language.separator or len(words) < 2:
    return text
  total = sum(b - a for a, b in islands) or 1.0
  letters = sum(map(len, words))
  ends, count = [], 0
  for word in words:
    count += len(word)
    ends.append(count / letters)
  spoken = 0.0
  for (a, b), (c, _) in zip(islands, islands[1:], strict=False):
    spoken += b - a
    if c - b >= pause:
      share = spoken / total
      place = min(range(len(ends)), key=lambda i: abs(ends[i] - share))
      if place < len(words) - 1 and not words[place].endswith(","):
        words[place] += "،" if language.script == "Arab" else ","
  return " ".join(words) + ("।" if language.script == "Deva" else ".")
