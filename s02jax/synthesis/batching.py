"""Batching: arrays of any length through functions of few static shapes.

Shape letters: b batch, n items along time.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from s02jax.core.rates import TOKENS_PER_SECOND, whole_tokens

BATCH_SIZES = (1, 8, 32)  # allowed numbers of batch entries
UNIT = 64  # least padded length of a wave, in tokens
BUDGET = 8 * 1024  # most tokens of a batch of several entries


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
  """Arrays of like length, padded with zeros to one shape."""

  indices: (
    np.ndarray
  )  # int [k], places in the input of the k <= b first entries
  values: np.ndarray  # [b, n, ...], zero past each length
  lengths: np.ndarray  # int32 [b], 0 for an entry that only fills the batch

  @property
  def mask(self) -> np.ndarray:
    """bool [b, n], True at real items."""
    return np.arange(self.values.shape[1]) < self.lengths[:, None]


def round_up(n: int, unit: int) -> int:
  """Least of unit · 2^i and unit · 3 · 2^(i - 1) that is not below n."""
  size = unit
  while size < n:
    if size * 3 // 2 >= n:
      return size * 3 // 2
    size *= 2
  return size


def batch_size(waiting: int, most: int = BATCH_SIZES[-1]) -> int:
  """Size of the next batch when `waiting` items are left.

  The least of BATCH_SIZES that holds them all if that is at least half full,
  else the greatest that is full; none above `most` but the smallest.
  """
  allowed = [r for r in BATCH_SIZES if r <= most] or [BATCH_SIZES[0]]
  enough = min((r for r in allowed if r >= waiting), default=allowed[-1])
  if 2 * waiting >= enough:
    return enough
  return max(r for r in allowed if r <= waiting)


def pad(arrays: Sequence[np.ndarray], rows: int, length: int) -> np.ndarray:
  """Arrays padded to [rows, length, ...], with zeros in rows beyond them."""
  first = np.asarray(arrays[0])
  out = np.zeros((rows, length, *first.shape[1:]), first.dtype)
  for row, array in zip(out, arrays, strict=False):
    row[: len(array)] = array
  return out


def counts(arrays: Sequence[np.ndarray], rows: int) -> np.ndarray:
  """Lengths of the arrays, int32 [rows], zero in rows beyond them."""
  out = np.zeros(rows, np.int32)
  out[: len(arrays)] = [len(array) for array in arrays]
  return out


def stack(values: Sequence[np.ndarray | np.generic], rows: int) -> np.ndarray:
  """Values of one shape stacked to [rows, ...], zero in rows beyond them."""
  return pad([np.stack(values)], 1, rows)[0]


def plan_batches(
  lengths: Sequence[int], unit: int, budget: int
) -> Iterator[tuple[np.ndarray, int, int]]:
  """Plans batches: (item indices, batch size, padded length), shortest first.

  Args:
    lengths: of the items.
    unit: padded lengths are `round_up(length, unit)`; at least `unit`.
    budget: batch size · padded length stays below it for several entries.
  """
  padded = np.array([round_up(n, unit) for n in lengths], np.int64)
  for length in np.unique(padded):
    waiting = np.flatnonzero(padded == length)
    while len(waiting):
      rows = batch_size(len(waiting), budget // int(length))
      yield waiting[:rows], rows, int(length)
      waiting = waiting[rows:]


def group_equal(
  kinds: Sequence[Any],
  most: Callable[[Any], int] = lambda kind: BATCH_SIZES[-1],
) -> Iterator[tuple[list[int], int, Any]]:
  """Plans batches of items of one kind: (item indices, batch size, kind).

  Args:
    kinds: of the items.
    most: kind -> largest batch, see `batch_size`.
  """
  for kind in dict.fromkeys(kinds):
    waiting = [i for i, other in enumerate(kinds) if other == kind]
    while waiting:
      rows = batch_size(len(waiting), most(kind))
      yield waiting[:rows], rows, kind
      waiting = waiting[rows:]


def batches(
  arrays: Sequence[np.ndarray], *, unit: int, budget: int
) -> Iterator[Batch]:
  """Batches of `arrays`, grouped by `plan_batches`."""
  for indices, rows, length in plan_batches(
    [len(a) for a in arrays], unit, budget
  ):
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
  """Applies `function` to batches of `arrays`; results in their order.

  Args:
    function: returns an iterable with a result for each item of the batch, in
      order; more are ignored.
    arrays: [n, ...] each.
    unit: see `plan_batches`.
    budget: see `plan_batches`.
  """
  results: list[Any] = [None] * len(arrays)
  for batch in batches(arrays, unit=unit, budget=budget):
    for index, row in zip(batch.indices, function(batch), strict=False):
      results[index] = row
  return results


def map_waves(function, waves: Sequence[np.ndarray], rate: int) -> list[Any]:
  """Applies `function` to batches of waves, cut to whole tokens.

  Args:
    function: see `map_batches`.
    waves: float32 [n] each.
    rate: of the waves, Hz.
  """
  samples = rate // TOKENS_PER_SECOND
  waves = [whole_tokens(wave, rate) for wave in waves]
  return map_batches(
    function, waves, unit=UNIT * samples, budget=BUDGET * samples
  )
