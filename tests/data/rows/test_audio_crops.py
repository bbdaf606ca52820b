"""Crops of the Flow-VAE: each within one record."""

import numpy as np
import pytest

from s02jax.data.rows.audio_crops import AudioCrops
from tests import fakes
from tests.data.rows.makers import BATCH, make


def test_crops_lie_within_one_long_enough_record():
  corpus, rows = make("crops")
  assert rows.excluded["too short"] == np.sum(
    corpus.num_samples < 20 * fakes.HOP
  )
  for i in range(50):
    record = fakes.record_of(rows[i]["wave"])
    assert (record == record[0]).all() and record[0] >= 0
    assert rows[i]["padding"] == 0


def test_crops_pad_where_every_record_is_short():
  corpus = fakes.FakeCorpus(20, 2)
  size = int(corpus.num_samples.max()) + fakes.HOP
  row = AudioCrops(corpus, BATCH, 0, crop_samples=size)[0]
  valid = fakes.record_of(row["wave"]) >= 0
  assert valid[: valid.sum()].all() and 0 < valid.sum() < size
  assert row["padding"] == pytest.approx(1 - valid.mean(), abs=1e-6)
