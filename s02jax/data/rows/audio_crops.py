"""Rows of the Flow-VAE: crops of waves."""

import numpy as np

from s02jax.data.mixture import generator
from s02jax.data.records import Corpus
from s02jax.data.rows import Row, make_row
from s02jax.data.rows.draws import CROP, make_mixture, random_span
from s02jax.data.rows.reading import check_not_empty


class AudioCrops:
  """Rows {"wave" f32[n]}: crops of one length, each from one record.

  A record shorter than the crop is followed by crops of others until the row is
  full, so that no row has padding and no record is left out.

  Attributes:
    excluded: number of records left out, by reason; none here.
  """

  def __init__(
    self,
    corpus: Corpus,
    batch_size: int,
    seed: int,
    crop_samples: int,
    alpha: float = 1.0,
  ):
    check_not_empty(corpus)
    self.batch_size = batch_size
    self.excluded: dict[str, int] = {}
    self._corpus = corpus
    self._seed = seed
    self._crop = crop_samples
    records = np.flatnonzero(corpus.num_samples > 0)
    self._mixture, self._fillers = (
      make_mixture(corpus, records, seed, alpha, *path) for path in ((), (1,))
    )

  def records(self, index: int) -> list[int]:
    """Numbers of the records in a row."""
    taken = [int(self._mixture[index])]
    room = self._crop - self._corpus.num_samples[taken[0]]
    while room > 0:
      taken.append(int(self._fillers[index + len(taken)]))
      room -= self._corpus.num_samples[taken[-1]]
    return taken

  def __getitem__(self, index: int) -> Row:
    random = generator(self._seed, CROP, index)
    parts, room = [], self._crop
    for record in self.records(index):
      samples = int(self._corpus.num_samples[record])
      begin, end = random_span(samples, room, random)
      parts.append(self._corpus.wave(record, begin, end))
      room -= len(parts[-1])
    return make_row(
      audio_seconds=self._crop / self._corpus.rate,
      padding=0.0,
      wave=np.concatenate(parts),
    )
