"""Random draws of rows: one stream of random numbers for each purpose."""

import numpy as np

from s02jax.data.mixture import Mixture, generator
from s02jax.data.records import Corpus

# First number after the seed in the path of a generator (`mixture.generator`):
# no two purposes draw the same numbers.
MIX, CROP, BUCKETS, REFERENCE, PLAN, SHUFFLE, FILL, HALVES = range(8)


def make_mixture(
  corpus: Corpus, records: np.ndarray, seed: int, alpha: float, *path: int
) -> Mixture:
  """Endless shuffled sequence of some records of a corpus.

  Args:
    corpus: corpus of the records.
    records: int[k], their numbers.
    seed: seed of the rows.
    alpha: balance of the languages, see `Mixture`.
    *path: non-negative numbers that tell several mixtures of one seed apart.
  """
  stream = int(generator(seed, MIX, *path).integers(2**31))
  return Mixture(records, corpus.language, corpus.num_samples, stream, alpha)


def random_span(
  length: int, samples: int, random: np.random.Generator
) -> tuple[int, int]:
  """First and last, not included, of at most `samples` of `length` samples."""
  spare = max(length - samples, 0)
  begin = int(random.integers(spare + 1))
  return begin, min(begin + samples, length)
