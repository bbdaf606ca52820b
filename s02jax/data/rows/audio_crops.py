"""Rows of the Flow-VAE: crops of waves."""

import numpy as np

from s02jax.data.mixture import (
  generator,
)
from s02jax.data.records import Corpus
from s02jax.data.rows.common import (
  CROP,
  Row,
  check_not_empty,
  make_mixture,
  make_row,
  pad_to,
  random_crop,
)

# ------------------------------------------------------------------- crops


class AudioCrops:
  """Crops of one length: {"wave" f32[n]}.

  Records shorter than the crop are left out, unless all of them are; then
  every record is used, zeros after it.

  Attributes:
    excluded: records left out, by reason.
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
    """Records that a row takes."""
    return [int(self._mixture[index])]

  def __getitem__(self, index: int) -> Row:
    wave = self._corpus.wave(self._mixture[index])
    wave = random_crop(wave, self._crop, generator(self._seed, CROP, index))
    return make_row(
      audio_seconds=len(wave) / self._corpus.rate,
      padding=1 - len(wave) / self._crop,
      wave=pad_to(wave, self._crop),
    )
