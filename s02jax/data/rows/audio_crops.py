"""Rows of the Flow-VAE: crops of waves."""

import numpy as np

from s02jax.data.mixture import generator
from s02jax.data.records import Corpus
from s02jax.data.rows import Row, make_row, pad_to
from s02jax.data.rows.draws import CROP, make_mixture, random_crop
from s02jax.data.rows.reading import check_not_empty


class AudioCrops:
  """Rows {"wave" f32[n]}: crops of one length, each from one record.

  Records shorter than the crop are left out, unless all of them are; then
  every record is used, followed by zeros.

  Attributes:
    excluded: number of records left out, by reason.
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
    self._corpus = corpus
    self._seed = seed
    self._crop = crop_samples
    long_enough = np.flatnonzero(corpus.num_samples >= crop_samples)
    records = long_enough if len(long_enough) else np.arange(len(corpus))
    self.excluded = {"too short": len(corpus) - len(records)}
    self._mixture = make_mixture(corpus, records, seed, alpha)

  def records(self, index: int) -> list[int]:
    """Number of the record that a row is cut from."""
    return [int(self._mixture[index])]

  def __getitem__(self, index: int) -> Row:
    wave = self._corpus.wave(self._mixture[index])
    wave = random_crop(wave, self._crop, generator(self._seed, CROP, index))
    return make_row(
      audio_seconds=len(wave) / self._corpus.rate,
      padding=1 - len(wave) / self._crop,
      wave=pad_to(wave, self._crop),
    )
