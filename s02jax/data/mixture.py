"""Order of the records: shuffled by a seed, balanced over languages.

An epoch has as many places as there are records. Language l gets a share of
them proportional to n_l · (hours_l)^(α−1), n_l being its records: α = 1 takes
every record once, α → 0 gives every language the same hours. A language whose
share is smaller than its records goes through all of them over several epochs;
one whose share is larger repeats them.
"""

import collections
import threading
from collections.abc import Callable
from typing import Any

import numpy as np


def generator(seed: int, *path: int) -> np.random.Generator:
  """Random generator of its own for every path of non-negative numbers."""
  return np.random.default_rng((seed, *path))


class EpochCache:
  """Cache of a function's last few results by integer; thread-safe."""

  def __init__(self, make: Callable[[int], Any], size: int = 3):
    """Caches the last `size` results of `make`."""
    self._make = make
    self._size = size
    self._known: collections.OrderedDict[int, Any] = collections.OrderedDict()
    self._lock = threading.Lock()

  def __call__(self, key: int) -> Any:
    with self._lock:
      if key not in self._known:
        self._add(key, self._make(key))
      self._known.move_to_end(key)
      return self._known[key]

  def put(self, key: int, value: Any) -> None:
    """Adds a result that is already there."""
    with self._lock:
      self._add(key, value)

  def _add(self, key: int, value: Any) -> None:
    """Adds a result, and drops the one that was used least recently."""
    self._known[key] = value
    if len(self._known) > self._size:
      self._known.popitem(last=False)


class Mixture:
  """Endless sequence of records, shuffled anew in every epoch."""

  def __init__(
    self,
    records: np.ndarray,
    language: np.ndarray,
    num_samples: np.ndarray,
    seed: int,
    alpha: float = 1.0,
  ):
    """Shares the places of an epoch out among the languages of `records`.

    Args:
      records: int[n], numbers of records in the corpus.
      language: int[len(corpus)], language of every record of the corpus.
      num_samples: int[len(corpus)], length of every record of the corpus.
      seed: seed of the shuffling.
      alpha: balance of the languages, α above.
    """
    self._seed = seed
    self._size = len(records)
    records = records.astype(np.int32)  # half of the memory; the same order
    of_records = language[records]
    self._languages = np.unique(of_records)
    self._groups = [records[of_records == k] for k in self._languages]
    hours = np.array([num_samples[g].sum(dtype=float) for g in self._groups])
    counts = np.array([len(g) for g in self._groups], float)
    weights = counts * np.maximum(hours, 1.0) ** (alpha - 1.0)
    self._places = largest_remainders(weights, self._size)
    # Batches that are prepared ahead reach into the next epoch, no further.
    self._epochs = EpochCache(self._make_epoch, size=2)

  def __len__(self) -> int:
    """Places in an epoch."""
    return self._size

  def epoch(self, number: int) -> np.ndarray:
    """Records of one epoch, int[len(self)]; do not write into it."""
    return self._epochs(number)

  def __getitem__(self, position: int) -> int:
    """Record at a position of the endless sequence."""
    number, place = divmod(position, self._size)
    return int(self.epoch(number)[place])

  def _make_epoch(self, number: int) -> np.ndarray:
    parts = [
      self._stretch(int(language), group, number * places, places)
      for language, group, places in zip(
        self._languages, self._groups, self._places, strict=True
      )
    ]
    records = np.concatenate(parts)
    generator(self._seed, 0, number).shuffle(records)
    records.setflags(write=False)
    return records

  def _stretch(
    self, language: int, group: np.ndarray, first: int, count: int
  ) -> np.ndarray:
    """Records `first` … of one language's endless passes, int[count]."""
    taken = []
    while count > 0:
      number, place = divmod(first, len(group))
      order = generator(self._seed, 1, language, number).permutation(group)
      taken.append(order[place : place + count])
      first += len(taken[-1])
      count -= len(taken[-1])
    return np.concatenate(taken) if taken else group[:0]


def largest_remainders(weights: np.ndarray, total: int) -> np.ndarray:
  """Integers proportional to `weights` [k] that sum to `total`, int[k]."""
  exact = weights / weights.sum() * total
  # A share that is whole but for rounding is whole.
  shares = np.floor(exact + 1e-6).astype(int)
  by_remainder = np.argsort(shares - exact, kind="stable")
  shares[by_remainder[: total - shares.sum()]] += 1
  return shares
