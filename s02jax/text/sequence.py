"""Sequence of the AR Transformer, the same for training rows and prompts.

  [speaker] [language] text [start] audio                          zero-shot
  [speaker] [language] text₁ space text₂ [start] audio₁ audio₂     one-shot

(report 3.2). Beside the ids goes a cursor: the place in the text that a
position belongs to, which serves as its rotary position. A text piece stands
at its own place p = 0, 1, 2, … in the sequence. Audio token j of a text that
begins at b stands, once read, at b + r·(j + 1), where r is the pieces that one
token speaks on average in its language. So the model finds what to say next at
a distance that grows only as far as a voice's pace is from the average, and a
one-shot target starts out exactly as a zero-shot one. Audio that comes before
other audio has a known length: its r is its own, and its last token stands at
the beginning of the next text.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Text(Protocol):
  """Text model as far as sequences need it; see `tokenizer.TextModel`."""

  size: int  # number of ids
  speaker_id: int  # id of [speaker]
  start_id: int  # id of [start]

  def language_id(self, code: str) -> int: ...

  def pieces(self, text: str) -> list[int]: ...


def sequence(
  text: Text,
  language: str,
  pieces: Sequence[Sequence[int] | np.ndarray],
  codes: Sequence[np.ndarray],
  rate: float,
) -> tuple[np.ndarray, np.ndarray]:
  """Builds a sequence: joint ids int32 [s] and cursor float32 [s].

  Args:
    text: the text model.
    language: code of the text's language.
    pieces: ids of each text, that of the prompt first.
    codes: audio of each text, or of all but the last, which is yet to come.
    rate: r of the language.
  """
  space = text.pieces(" ")
  ids = [text.speaker_id, text.language_id(language)]
  begins = []
  for i, part in enumerate(pieces):
    if i:
      ids += space
    begins.append(len(ids))
    ids += list(part)
  cursor = [np.arange(len(ids), dtype=np.float32), [begins[0]]]
  ids.append(text.start_id)
  for i, audio in enumerate(codes):
    ids += (text.size + np.asarray(audio, np.int64)).tolist()
    n = len(audio)
    pace = (begins[i + 1] - begins[i]) / max(n, 1) if begins[i + 1 :] else rate
    cursor.append(begins[i] + pace * np.arange(1, n + 1))
  return np.array(ids, np.int32), np.concatenate(cursor).astype(np.float32)
