"""Sequence of the AR Transformer, the same for training rows and prompts.

  [speaker] [language] text [start] audio                          zero-shot
  [speaker] [language₁] text₁ [language₂] text₂ [start] audio₁ audio₂
                                                                   one-shot

(report 3.2). Every text begins with the tag of its language, so that a prompt
may be in another one than what follows it.

Every position has two places, and half of the rotary pairs turn by each. One is
its number in the sequence. The other is a cursor: the place in the text that
it belongs to. A text piece stands at its own number p = 0, 1, 2, … Token j of
the audio of a text that begins at b stands, once read, at b + r·(j + 1), where
r is the pieces that one token speaks on average in its language. So the model
finds what to say next at a distance that grows only as far as a voice's pace is
from the average. The last audio token before other audio stands at the
beginning of the next text, where [start] stands for the first: a one-shot
target starts out as a zero-shot one. The tokens before it do not tell how many
there will be, since a prompt is trained on as well.
"""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Text(Protocol):
  """Text model as far as sequences need it; see `tokenizer.TextModel`."""

  size: int  # number of ids
  speaker_id: int  # id of [speaker]
  start_id: int  # id of [start]

  def language_id(self, code: str) -> int: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
  """Text of a sequence in one language, and its audio."""

  language: str  # its code
  pieces: Sequence[int] | np.ndarray  # ids of the text
  rate: float  # r of the language
  # Audio tokens; none where they are yet to come.
  codes: np.ndarray = dataclasses.field(
    default_factory=lambda: np.zeros(0, np.int32)
  )


def sequence(
  text: Text, parts: Sequence[Part]
) -> tuple[np.ndarray, np.ndarray]:
  """Builds a sequence: joint ids int32 [s] and cursor float32 [s].

  Args:
    text: the text model.
    parts: a prompt's before what is said.
  """
  ids, begins = [text.speaker_id], []
  for part in parts:
    ids.append(text.language_id(part.language))
    begins.append(len(ids))
    ids += list(part.pieces)
  cursor = [np.arange(len(ids), dtype=np.float32), [begins[0]]]
  ids.append(text.start_id)
  for i, part in enumerate(parts):
    ids += (text.size + np.asarray(part.codes, np.int64)).tolist()
    places = begins[i] + part.rate * np.arange(1, len(part.codes) + 1)
    if i + 1 < len(parts):
      places[-1:] = begins[i + 1]
    cursor.append(places)
  return np.array(ids, np.int32), np.concatenate(cursor).astype(np.float32)
