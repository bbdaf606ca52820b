"""Ids of a corpus's texts, apart from the records, which hold the sound.

`index/` of a corpus folder holds, for each split, from `s02 text`,

    <split>.text_ids           ids of all texts one after another, unsigned
    <split>.text_starts.npy    int64 [records + 1], where each text begins
    <split>.text_ids.json      bytes of an id; the text model's fingerprint

The arrays are memory-mapped: processes of a host share them.
"""

import array
import dataclasses
import io
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from s02jax.core import files, places


@dataclasses.dataclass(frozen=True)
class _Files:
  """Names of the three files of a split."""

  folder: pathlib.Path  # of the corpus
  split: str

  def _named(self, end: str) -> pathlib.Path:
    return self.folder / "index" / f"{self.split}.{end}"

  @property
  def ids(self) -> pathlib.Path:
    """File of the ids."""
    return self._named("text_ids")

  @property
  def starts(self) -> pathlib.Path:
    """File of the places where texts begin."""
    return self._named("text_starts.npy")

  @property
  def card(self) -> pathlib.Path:
    """File that describes the others, written last."""
    return self._named("text_ids.json")


class TextIds:
  """Text ids of one split, read by record.

  Attributes:
    model: fingerprint of the text model that they are of.
  """

  def __init__(self, paths: _Files):
    """Maps the files that `write` wrote."""
    card = files.read_json(paths.card, "s02 text")
    self.model: str = card["model"]
    self._starts = np.load(places.local(paths.starts), mmap_mode="r")
    kind = np.dtype(f"<u{card['bytes']}")
    some = len(self._starts) > 1 and self._starts[-1] > 0
    self._ids = np.zeros(0, kind)
    if some:
      self._ids = np.memmap(places.local(paths.ids), kind, "r")

  @classmethod
  def open(cls, folder: pathlib.Path, split: str) -> "TextIds | None":
    """Opens the ids of a split; None where there are none."""
    paths = _Files(folder, split)
    return cls(paths) if paths.card.exists() else None

  def read(self, record: int) -> np.ndarray:
    """Text ids of a record, i32[l], without its language tag."""
    first, last = self._starts[record], self._starts[record + 1]
    return self._ids[first:last].astype(np.int32)


def write(
  folder: pathlib.Path,
  split: str,
  texts: Iterable[Sequence[int]],
  size: int,
  model: str,
) -> np.ndarray:
  """Writes the ids of all texts of a split; returns their lengths, i32.

  Args:
    folder: corpus folder.
    split: one of SPLITS.
    texts: ids of each text, without its language tag.
    size: number of ids of the text model.
    model: fingerprint of the text model.

  Raises:
    OSError: the files cannot be written.
  """
  paths = _Files(folder, split)
  paths.card.unlink(missing_ok=True)
  width = 2 if size <= 2**16 else 4
  lengths = array.array("i")
  with files.atomic(paths.ids) as path, path.open("wb") as file:
    for ids in texts:
      lengths.append(len(ids))
      file.write(np.asarray(ids, f"<u{width}").tobytes())
  counts = np.array(lengths, np.int32)
  buffer = io.BytesIO()
  np.save(buffer, np.cumsum(np.append(0, counts), dtype=np.int64))
  files.write_bytes(paths.starts, buffer.getvalue())
  card = {"bytes": width, "model": model}
  files.write_json(paths.card, card)
  return counts
