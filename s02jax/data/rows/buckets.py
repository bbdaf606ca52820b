"""Length buckets: batches whose records are of like length."""

from collections.abc import Sequence

import numpy as np

from s02jax.core.errors import UserError
from s02jax.core.rates import samples
from s02jax.data.mixture import EpochCache, generator, largest_remainders
from s02jax.data.records import Corpus
from s02jax.data.rows import NoRows
from s02jax.data.rows.draws import BUCKETS, make_mixture


class Buckets:
  """Records sorted into buckets by length, and the bucket of each batch.

  In a cycle of batches every bucket has a number of batches proportional to
  its records, in an order shuffled per cycle.

  Attributes:
    samples: int[buckets], longest record of each bucket.
    records: per bucket int[k], the numbers of its records.
    too_long: number of usable records longer than the last bucket.
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
    """Sorts the usable records into buckets.

    Args:
      corpus: corpus of the records.
      usable: bool[len(corpus)], records that may be taken.
      batch_size: rows of a global batch.
      seed: seed of the rows.
      seconds: longest record of each bucket, ascending.
      alpha: balance of the languages, see `Mixture`.

    Raises:
      UserError: lengths that do not ascend.
      NoRows: no usable record.
    """
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
      raise NoRows(
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
    """Number of batches of each bucket in a cycle, int[buckets]."""
    every = np.concatenate(self.records)
    language = corpus.language[every]
    hours = np.bincount(language, corpus.num_samples[every])
    weight = np.maximum(hours, 1.0) ** (alpha - 1.0)
    shares = np.array([weight[corpus.language[r]].sum() for r in self.records])
    total = max(len(every) // self._batch_size, 1)
    batches = largest_remainders(shares, total)
    return np.maximum(batches, [len(r) > 0 for r in self.records])

  def _make_cycle(self, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Batches of one cycle.

    Returns:
      For each batch of the cycle, int[batches]: its bucket, and how many
      batches of that bucket come before it in the cycle.
    """
    order = np.repeat(np.arange(len(self._batches)), self._batches)
    generator(self._seed, BUCKETS, number).shuffle(order)
    rank = np.empty_like(order)
    for bucket in range(len(self._batches)):
      here = order == bucket
      rank[here] = np.arange(here.sum())
    return order, rank

  def locate(self, index: int) -> tuple[int, int]:
    """Numbers of a row's bucket and of its record."""
    step, place = divmod(index, self._batch_size)
    number, position = divmod(step, int(self._batches.sum()))
    order, rank = self._cycles(number)
    bucket = int(order[position])
    batch = number * int(self._batches[bucket]) + int(rank[position])
    return bucket, self._mixtures[bucket][batch * self._batch_size + place]
