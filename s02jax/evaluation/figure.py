"""Measured figures: a value, its interval and how they are averaged."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
  """Measured value with its interval."""

  value: float | None  # None where nothing could be measured
  n: int  # cases (or groups of clips of one speaker) behind the value
  low: float | None = None  # lower end of the 95 % interval, if known
  high: float | None = None  # upper end

  def to_json(self) -> dict[str, Any]:
    """Fields for a JSON file, without an interval that is not known."""
    found = dataclasses.asdict(self)
    return {
      k: v for k, v in found.items() if k in ("value", "n") or v is not None
    }


def mean(values: Sequence[float | None] | np.ndarray) -> Figure:
  """Mean of the finite values; n counts them."""
  known = [float(v) for v in values if v is not None and math.isfinite(v)]
  value = math.fsum(known) / len(known) if known else None
  return Figure(value=value, n=len(known))


def share(values: Sequence[bool | None] | np.ndarray) -> Figure:
  """Share of true among values that are not None, with Wilson's interval."""
  asked = [bool(v) for v in values if v is not None]
  n = len(asked)
  if not n:
    return Figure(value=None, n=0)
  p, z = sum(asked) / n, 1.96
  centre = (p + z * z / (2 * n)) / (1 + z * z / n)
  half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
  return Figure(
    value=p, n=n, low=max(0.0, centre - half), high=min(1.0, centre + half)
  )


RESAMPLES = 2000  # of a bootstrap
_CHUNK = 100  # resamples computed at a time


# ---------------------------------------------------------------- intervals


def item_mean(values: Sequence[Sequence[float]], *, seed: int = 0) -> Figure:
  """Mean over items of the mean over each item's seeds, 95 % bootstrap.

  Args:
    values: [i][s], every item with one seed or more.
    seed: of the bootstrap.
  """
  return ratio(
    [[value / len(item) for value in item] for item in values],
    [[1 / len(item)] * len(item) for item in values],
    seed=seed,
  )


def ratio(
  above: Sequence[Sequence[float]],
  below: Sequence[Sequence[float]],
  *,
  seed: int = 0,
) -> Figure:
  """Sum of `above` over the sum of `below`, with its 95 % bootstrap interval.

  Args:
    above: [i][s], every item with one seed or more.
    below: as `above`, positive.
    seed: of the bootstrap.

  Returns:
    the figure, n items; without an interval for fewer than two items.
  """
  if not above:
    return Figure(value=None, n=0)
  counts = np.array([len(item) for item in above])
  columns = np.stack([_padded(above, counts), _padded(below, counts)])
  totals = columns.sum(axis=(1, 2))
  low = high = None
  if len(above) > 1:
    drawn = _resampled(columns, counts, np.random.default_rng(seed))
    low, high = (float(q) for q in np.quantile(drawn, (0.025, 0.975)))
  return Figure(
    value=float(totals[0] / totals[1]), n=len(above), low=low, high=high
  )


def _padded(values: Sequence[Sequence[float]], counts) -> np.ndarray:
  """Pads [i][s] to float64[i, s] with zeros where an item has fewer seeds."""
  result = np.zeros((len(values), counts.max()))
  for row, item in zip(result, values, strict=True):
    row[: len(item)] = item
  return result


def _resampled(columns, counts, random: np.random.Generator) -> np.ndarray:
  """Ratios float64[r] of resampled items and, within them, resampled seeds.

  Args:
    columns: float64[2, i, s], numerators and denominators.
    counts: int[i], seeds of each item.
    random: source of the draws.
  """
  _, items, seeds = columns.shape
  held = np.arange(seeds) < counts[:, None]
  parts = []
  for first in range(0, RESAMPLES, _CHUNK):
    size = (min(_CHUNK, RESAMPLES - first), items)
    item = random.integers(items, size=size)
    if seeds == 1:  # nothing to draw within an item
      sums = columns[..., 0].take(item, axis=1).sum(2)
    else:
      draw = random.random((*size, seeds)) * counts[item][..., None]
      drawn = columns[:, item[..., None], draw.astype(int)]
      sums = (drawn * held[item]).sum((2, 3))
    parts.append(sums[0] / sums[1])
  return np.concatenate(parts)
