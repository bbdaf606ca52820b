"""Rows of flow matching with what a teacher makes of them, solved beforehand.

`features/solved/` of a corpus folder holds the first rows of a run:

    latents.array_record    standardised latents, float16 [l, c], by row
    card.json               the number of rows, and all that they depend on

Row i of a run is row i modulo their number, so that a longer run sees them
again. Shape letters: l latents of a row, c channels.
"""

import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from s02jax.core import files, places, trees
from s02jax.core.errors import UserError
from s02jax.data import shards
from s02jax.data.records import CorpusFiles
from s02jax.data.rows import Row, Rows, records_of

COMMAND = "s02 distill"
_CARD, _LATENTS = "card.json", "latents.array_record"


def folder_of(corpus: str | os.PathLike) -> pathlib.Path:
  """Folder of the solved rows of a corpus."""
  return CorpusFiles(places.at(corpus)).features / "solved"


def read_card(corpus: str | os.PathLike) -> dict[str, Any] | None:
  """Content of the card; None where nothing was solved."""
  path = folder_of(corpus) / _CARD
  return json.loads(path.read_text()) if path.exists() else None


def write(
  corpus: str | os.PathLike,
  facts: Mapping[str, Any],
  rows: int,
  solved: Iterable[np.ndarray],
) -> None:
  """Writes solved rows, whole or not at all.

  Args:
    corpus: folder of the corpus.
    facts: all that the rows depend on.
    rows: their number.
    solved: latents float [l, c] of each row, in order.

  Raises:
    UserError: they cannot be written.
  """
  out = folder_of(corpus)
  with (
    files.explain_errors(out, "the solved rows"),
    files.atomic_folder(out) as folder,
  ):
    writer = shards.ShardWriter(folder / _LATENTS)
    for latents in solved:
      writer.write(np.asarray(latents, "<f2").tobytes())
    writer.close()
    files.write_json(folder / _CARD, {"rows": rows, "facts": dict(facts)})


class SolvedUtterances:
  """Rows of `LatentUtterances` and, of each, "solved" f32[l, c], "draw" u32.

  "draw" is the number that windows, prompts and noise of the row are drawn by.

  Attributes:
    excluded: number of records left out, by reason.
  """

  def __init__(
    self, rows: Rows, corpus: str | os.PathLike, facts: Mapping[str, Any]
  ):
    """Opens the solved rows.

    Args:
      rows: the rows that were solved.
      corpus: folder of the corpus.
      facts: all that the rows depend on, for this run.

    Raises:
      UserError: nothing was solved, or under other facts.
    """
    self.batch_size, self.excluded = rows.batch_size, rows.excluded
    self._rows = rows
    card = read_card(corpus)
    again = f"run `{COMMAND}` with the fields of this run"
    if card is None:
      raise UserError(f"{corpus} has no rows that a teacher solved: {again}.")
    before, now = trees.dotted(card["facts"]), trees.dotted(dict(facts))
    for name in sorted(before | now):
      if before.get(name) != now.get(name):
        raise UserError(
          f"the rows that a teacher solved in {corpus} have {name}"
          f" {before.get(name)!r}, this run {now.get(name)!r}: {again}."
        )
    self._count = int(card["rows"])
    latents = shards.opened(folder_of(corpus) / _LATENTS)
    if latents is None or len(latents) != self._count:
      raise UserError(f"{folder_of(corpus)} is damaged: {again}.")
    self._latents = latents

  def records(self, index: int) -> list[int]:
    """Numbers of the records in a row."""
    return records_of(self._rows, index % self._count)

  def __getitem__(self, index: int) -> Row:
    place = index % self._count
    row = numbered(self._rows, place)
    solved = np.frombuffer(self._latents.read(place), "<f2").astype(np.float32)
    return row | {"solved": solved.reshape(row["latents"].shape)}


def numbered(rows: Rows, index: int) -> Row:
  """Row with the number "draw" u32 that its windows and noise are drawn by."""
  return rows[index] | {"draw": np.asarray(index, np.uint32)}


def solve_all(
  rows: Rows, count: int, solve: Callable[[dict[str, np.ndarray]], Any]
) -> Iterable[np.ndarray]:
  """Solves the first `count` rows, a batch at a time; latents [l, c] of each.

  Args:
    rows: to be solved.
    count: a multiple of the rows of a batch.
    solve: from a batch of numbered rows to latents [b, l, c].
  """
  size = rows.batch_size
  for start in range(0, count, size):
    picked = [numbered(rows, i) for i in range(start, start + size)]
    names = picked[0].keys() - {"audio_seconds", "padding"}
    yield from np.asarray(
      solve({name: np.stack([row[name] for row in picked]) for name in names})
    )
