"""States of a teacher by record: what a frozen encoder hears in a corpus.

`features/` of a corpus folder holds, for each split,
`teacher-<split>.array_record`, float16 [t, o], 25 a second; and, written after
all of them, `teacher.json` with the teacher's spec and the size o. The audio
tokenizer learns from them where `config.loss.distillation` is above 0.

Shape letters: t tokens, o features of a state.
"""

import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from s02jax.core import files, places
from s02jax.core.errors import UserError
from s02jax.data import shards
from s02jax.data.records import CorpusFiles, Index


def card_path(folder: str | os.PathLike) -> pathlib.Path:
  """Card of a corpus's teacher states, written after all of them."""
  return CorpusFiles(places.at(folder)).features / "teacher.json"


def _path(folder: pathlib.Path, split: str) -> pathlib.Path:
  return CorpusFiles(folder).features / f"teacher-{split}.array_record"


def read_card(folder: str | os.PathLike) -> dict[str, Any]:
  """Reads the card: `spec` and `size`.

  Raises:
    UserError: no teacher's states are there.
  """
  path = card_path(folder)
  if not path.exists():
    raise UserError(
      f"{folder} has no states of a teacher: run `s02 extract --corpus"
      f" {folder} --teacher faster-whisper:base`, or set"
      " config.loss.distillation to 0."
    )
  return files.read_json(path, "s02 extract --teacher")


class TeacherStates:
  """States of one split, read by record; picklable.

  Attributes:
    size: features of a state, o.
  """

  def __init__(self, folder: pathlib.Path, split: str):
    self._arguments = (folder, split)
    self.size = int(read_card(folder)["size"])
    path = _path(folder, split)
    expected = Index.length(CorpusFiles(folder).index(split))
    reader = shards.opened(path)
    found = 0 if reader is None else len(reader)
    if found != expected:
      raise UserError(
        f"{folder}/features has a teacher's states of {found} records for"
        f" {split!r}, the corpus has {expected}: remove {card_path(folder)} and"
        " run `s02 extract --teacher` again."
      )
    self._reader = reader or shards.Shards([], [])

  @classmethod
  def open(cls, folder: str | os.PathLike, split: str) -> "TeacherStates":
    """Opens the states of a split; raises UserError if they are not there."""
    return cls(places.at(folder), split)

  def __reduce__(self):
    return TeacherStates, self._arguments

  def states(self, index: int) -> np.ndarray:
    """States of a record, f32[t, o]."""
    data = self._reader.read(index)
    states = np.frombuffer(data, np.float16).astype(np.float32)
    return states.reshape(-1, self.size)


def write_split(
  folder: str | os.PathLike, split: str, states: Iterable[np.ndarray]
) -> None:
  """Writes the states of a split under their name, when all are there.

  Args:
    folder: corpus folder.
    split: one of SPLITS.
    states: float32 [t, o] of each record, in order.

  Raises:
    UserError: the file cannot be written.
  """
  path = _path(places.at(folder), split)
  with files.explain_errors(path, "the teacher's states"):
    writer = shards.ShardWriter(path)
    try:
      for one in states:
        writer.write(np.asarray(one, "<f2").tobytes())
      writer.close()
    finally:
      writer.discard()


def write_card(folder: str | os.PathLike, spec: str, size: int) -> None:
  """Writes the card, which says that all splits are there."""
  files.write_json(card_path(folder), {"spec": spec, "size": size})


def has_states(folder: str | os.PathLike, spec: str) -> bool:
  """Whether the states of this very teacher are there."""
  try:
    return json.loads(card_path(folder).read_text())["spec"] == spec
  except (OSError, ValueError, KeyError, TypeError):
    return False
