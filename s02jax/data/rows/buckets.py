"""Length buckets: which bucket a batch takes, and which records."""

from collections.abc import Sequence

import numpy as np

from s02jax.core.errors import UserError
from s02jax.core.rates import samples
from s02jax.data.mixture import (
  EpochCache,
  generator,
  largest_remainders,
)
from s02jax.data.records import Corpus
from s02jax.data.rows.common import BUCKETS, make_mixture

# ----------------------------------------------------------------- buckets


class Buckets:
  """Records by length, and which bucket each batch takes.

  In a cycle of batches every bucket has a number of batches proportional to
  its records, in an order shuffled per cycle.
  """

  def __init__(
    self,
    corpus: Corpus,
    usable: np.ndarray,
    batch_size: int,
    seed: int,
    seconds: Sequence[float],
    alpha: float,
  ):
    """`usable`: bool[len(corpus)]; `seconds`: ascending longest lengths."""
    self._batch_size = batch_size
    self._seed = seed
    if list(seconds) != sorted(set(seconds)) or not seconds:
      raise UserError(
        f"config.data.buckets is {tuple(seconds)}; it must be ascending "
        "numbers of seconds."
      )
    self.samples = np.array([samples(s, corpus.rate) for s in seconds])
    bucket = np.searchsorted(self.samples, corpus.num_samples)
    self.too_long = int(np.sum(usable & (bucket == len(seconds))))
    records = [
      np.flatnonzero(usable & (bucket == b)) for b in range(len(seconds))
    ]
    if not any(map(len, records)):
      raise UserError(
        f"the split {corpus.split!r} of {corpus.folder} has no usable record "
        f"of at most {seconds[-1]} s (config.data.buckets)."
      )
    self.records = records
    self._mixtures = [
      make_mixture(corpus, r, seed, alpha, b) for b, r in enumerate(records)
    ]
    self._batches = self._batches_of_cycle(corpus, alpha)
    self._cycles = EpochCache(self._make_cycle)

  def _batches_of_cycle(self, corpus: Corpus, alpha: float) -> np.ndarray:
    """int[buckets], batches of each bucket in a cycle."""
    every = np.concatenate(self.records)
    language = corpus.language[every]
    hours = np.bincount(language, corpus.num_samples[every])
    weight = np.maximum(hours, 1.0) ** (alpha - 1.0)
    shares = np.array([weight[corpus.language[r]].sum() for r in self.records])
    total = max(len(every) // self._batch_size, 1)
    batches = largest_remainders(shares, total)
    return np.maximum(batches, [len(r) > 0 for r in self.records])

  def _make_cycle(self, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The bucket of each batch of a cycle, and its number within both."""
    order = np.repeat(np.arange(len(self._batches)), self._batches)
    generator(self._seed, BUCKETS, number).shuffle(order)
    rank = np.empty_like(order)
    for bucket in range(len(self._batches)):
      here = order == bucket
      rank[here] = np.arange(here.sum())
    return order, rank

  def locate(self, index: int) -> tuple[int, int]:
    """The bucket and the record of a row."""
    step, place = divmod(index, self._batch_size)
    number, position = divmod(step, int(self._batches.sum()))
    order, rank = self._cycles(number)
    bucket = int(order[position])
    batch = number * int(self._batches[bucket]) + int(rank[position])
    return bucket, self._mixtures[bucket][batch * self._batch_size + place]
