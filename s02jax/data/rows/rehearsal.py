"""Rows of a new corpus among rows of the one that a model was trained on."""

import math

from s02jax.data.rows import Row, Rows, records_of


class Rehearsed:
  """Rows of two corpora, batch by batch: a share of the batches is rehearsed.

  Attributes:
    excluded: number of records of the new corpus left out, by reason.
  """

  def __init__(self, new: Rows, old: Rows, share: float):
    """Mixes rows of one batch size.

    Args:
      new: rows that are to be learnt.
      old: rows that are not to be forgotten.
      share: of the batches that are of `old`, from 0 up to 1.
    """
    self.batch_size = new.batch_size
    self.excluded = new.excluded
    self._new, self._old, self._share = new, old, share

  def _locate(self, index: int) -> tuple[Rows, int]:
    """Rows that an index belongs to, and its place among those alone."""
    batch, place = divmod(index, self.batch_size)
    before = math.floor(batch * self._share)
    rehearsed = math.floor((batch + 1) * self._share) > before
    rows = self._old if rehearsed else self._new
    number = before if rehearsed else batch - before
    return rows, number * self.batch_size + place

  def records(self, index: int) -> list[int]:
    """Numbers of the records in a row of the new corpus; of an old one none."""
    rows, place = self._locate(index)
    return records_of(rows, place) if rows is self._new else []

  def __getitem__(self, index: int) -> Row:
    rows, place = self._locate(index)
    return rows[place]
