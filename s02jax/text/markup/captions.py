"""Captions of speech: words with their times as SubRip, WebVTT or JSON.

A cue holds words up to the end of a sentence, a pause, or what two lines can
hold.
"""

import json
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from s02jax.core import files
from s02jax.core.errors import UserError

MOST_CHARACTERS = 84  # of a cue: two lines of 42
MOST_SECONDS = 7.0  # of a cue
GAP = 0.8  # seconds of silence that end a cue
_STOPS = ".!?…。！？؟।"
_CLOSING = "\"'”’»›」』）)]"


class Timed(Protocol):
  """Word with times; `synthesis.alignment.Word` is one."""

  @property
  def text(self) -> str: ...
  @property
  def begin(self) -> float: ...
  @property
  def end(self) -> float: ...


def cues(words: Iterable[Timed], separator: str = " ") -> list[list[Timed]]:
  """Groups words into cues, in order.

  Args:
    words: in order.
    separator: characters between two words.
  """
  made: list[list[Timed]] = []
  for word in words:
    if made and _fits(made[-1], word, len(separator)):
      made[-1].append(word)
    else:
      made.append([word])
  return made


def _fits(cue: Sequence[Timed], word: Timed, between: int) -> bool:
  """Whether a word goes on with a cue."""
  last = cue[-1]
  ended = last.text.rstrip(_CLOSING)[-1:] in _STOPS
  length = sum(len(w.text) + between for w in cue) + len(word.text)
  return not (
    ended
    or word.begin - last.end >= GAP
    or length > MOST_CHARACTERS
    or word.end - cue[0].begin > MOST_SECONDS
  )


def _clock(seconds: float, point: str) -> str:
  """Time as captions write it: 00:01:02,500."""
  whole = round(1000 * max(seconds, 0.0))
  rest, ms = divmod(whole, 1000)
  return f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}{point}{ms:03}"


def _lines(words: Sequence[Timed], separator: str, point: str, numbered: bool):
  """Blocks of lines, one for each cue."""
  for number, cue in enumerate(cues(words, separator), 1):
    head = f"{number}\n" if numbered else ""
    times = f"{_clock(cue[0].begin, point)} --> {_clock(cue[-1].end, point)}"
    yield f"{head}{times}\n{separator.join(word.text for word in cue)}\n"


def srt(words: Sequence[Timed], separator: str = " ") -> str:
  """Captions in SubRip's form."""
  return "\n".join(_lines(words, separator, ",", numbered=True))


def vtt(words: Sequence[Timed], separator: str = " ") -> str:
  """Captions in WebVTT's form."""
  return "\n".join(["WEBVTT\n", *_lines(words, separator, ".", numbered=False)])


def as_json(words: Sequence[Timed], separator: str = " ") -> str:
  """Captions as JSON: cues with their words, times in seconds."""
  made = [
    {
      "text": separator.join(word.text for word in cue),
      "begin": round(cue[0].begin, 3),
      "end": round(cue[-1].end, 3),
      "words": [
        {
          "text": word.text,
          "begin": round(word.begin, 3),
          "end": round(word.end, 3),
        }
        for word in cue
      ],
    }
    for cue in cues(words, separator)
  ]
  return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


FORMATS: dict[str, Callable[..., str]] = {
  ".srt": srt,
  ".vtt": vtt,
  ".json": as_json,
}


def check_out(path) -> pathlib.Path:
  """Checks that captions can be written to `path`; returns it.

  Raises:
    UserError: another suffix, or no such folder.
  """
  path = pathlib.Path(path)
  if path.suffix.lower() not in FORMATS:
    raise UserError(
      f"{path}: the suffix of subtitles must be one of {', '.join(FORMATS)}."
    )
  if not path.parent.is_dir():
    raise UserError(f"{path}: there is no folder {path.parent}; make it first.")
  return path


def write(path, words: Sequence[Timed], separator: str = " ") -> None:
  """Writes captions in the form of the suffix; raises UserError."""
  path = check_out(path)
  text = FORMATS[path.suffix.lower()](words, separator)
  with files.explain_errors(path, "the subtitles"):
    files.write_text(path, text)
