"""Arrays of any length, through functions of few static shapes.

Shape letters: b batch, n items along time.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from s02jax.core.rates import TOKENS_PER_SECOND, whole_tokens

ROWS = (1, 8, 32)  # a batch has as many rows as one of these
UNIT = 64  # least padded length, in tokens
BUDGET = 8 * 1024  # tokens of a batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
  """Rows of like length, padded with zeros to one shape."""

  indices: np.ndarray  # int [k], of the k <= b real rows, which come first
  values: np.ndarray  # [b, n, ...]
  lengths: np.ndarray  # int32 [b], 0 for a row that only fills the batch

  @property
  def mask(self) -> np.ndarray:
    """bool [b, n], True at real items."""
    return np.arange(self.values.shape[1]) < self.lengths[:, None]


def round_up(n: int, unit: int) -> int:
  """The least of unit · 2^i and unit · 3 · 2^(i - 1) that is not below n."""
  size = unit
  while size < n:
    if size * 3 // 2 >= n:
      return size * 3 // 2
    size *= 2
  return size


def rows_of(waiting: int, most: int = ROWS[-1]) -> int:
  """Rows of the next batch when `waiting` items are left.

  The least of ROWS that holds them all if that is at least half full, else the
  greatest that is full.
  """
  allowed = [r for r in ROWS if r <= most] or [ROWS[0]]
  enough = min((r for r in allowed if r >= waiting), default=allowed[-1])
  if 2 * waiting >= enough:
    return enough
  return max(r for r in allowed if r <= waiting)


def pad(arrays: Sequence[np.ndarray], rows: int, length: int) -> np.ndarray:
  """[rows, length, ...], zero past each array and in rows beyond them."""
  first = np.asarray(arrays[0])
  out = np.zeros((rows, length, *first.shape[1:]), first.dtype)
  for row, array in zip(out, arrays, strict=False):
    row[: len(array)] = array
  return out


def counts(arrays: Sequence[np.ndarray], rows: int) -> np.ndarray:
  """int32 [rows], the length of each array, zero in rows beyond them."""
  out = np.zeros(rows, np.int32)
  out[: len(arrays)] = [len(array) for array in arrays]
  return out


def stack(values: Sequence[np.ndarray | np.generic], rows: int) -> np.ndarray:
  """[rows, ...] of values of one shape, zero in rows beyond them."""
  return pad([np.stack(values)], 1, rows)[0]


def plan(
  lengths: Sequence[int], unit: int, budget: int
) -> Iterator[tuple[np.ndarray, int, int]]:
  """Which items go together: (indices, rows, padded length), shortest first.

  Args:
    lengths: of the items.
    unit: padded lengths are `round_up(length, unit)`; at least `unit`.
    budget: rows · padded length stays below it while there are several rows.
  """
  padded = np.array([round_up(n, unit) for n in lengths], np.int64)
  for length in np.unique(padded):
    waiting = np.flatnonzero(padded == length)
    while len(waiting):
      rows = rows_of(len(waiting), budget // int(length))
      yield waiting[:rows], rows, int(length)
      waiting = waiting[rows:]


def groups(
  kinds: Sequence[Any],
) -> Iterator[tuple[list[int], int, Any]]:
  """Which items of one kind go together: (indices, rows, kind)."""
  for kind in dict.fromkeys(kinds):
    waiting = [i for i, other in enumerate(kinds) if other == kind]
    while waiting:
      rows = rows_of(len(waiting))
      yield waiting[:rows], rows, kind
      waiting = waiting[rows:]


def batches(
  arrays: Sequence[np.ndarray], *, unit: int, budget: int
) -> Iterator[Batch]:
  """Batches of `arrays` as `plan` says."""
  for indices, rows, length in plan([len(a) for a in arrays], unit, budget):
    chosen = [arrays[i] for i in indices]
    yield Batch(
      indices=indices,
      values=pad(chosen, rows, length),
      lengths=counts(chosen, rows),
    )


def map_batches(
  function: Callable[[Batch], Any],
  arrays: Sequence[np.ndarray],
  *,
  unit: int,
  budget: int,
) -> list[Any]:
  """Applies `function` to batches; its rows, in the order of `arrays`.

  `function` returns an indexable of at least as many rows as the batch has
  items.
  """
  results: list[Any] = [None] * len(arrays)
  for batch in batches(arrays, unit=unit, budget=budget):
    for index, row in zip(batch.indices, function(batch), strict=False):
      results[index] = row
  return results


def map_waves(function, waves: Sequence[np.ndarray], rate: int) -> list[Any]:
  """`map_batches` over waves, padded to a whole number of tokens."""
  samples = rate // TOKENS_PER_SECOND
  waves = [whole_tokens(wave, rate) for wave in waves]
  return map_batches(
    function, waves, unit=UNIT * samples, budget=BUDGET * samples
  )
