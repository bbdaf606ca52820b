"""Crops of the Flow-VAE: from one record, where it is long enough."""

import numpy as np
import pytest

from s02jax.data.rows.audio_crops import AudioCrops
from tests import fakes
from tests.data.rows.makers import BATCH, make


@pytest.mark.parametrize("longer", [1, 5])
def test_a_short_record_is_followed_by_others(longer):
  """Rows are full, and hold what `records` says in its order."""
  corpus = fakes.FakeCorpus(20, 2)
  size = longer * int(corpus.num_samples.max()) + fakes.HOP
  rows = AudioCrops(corpus, BATCH, 0, crop_samples=size)
  followers = set()
  for i in range(60):
    row, taken = rows[i], rows.records(i)
    assert len(taken) > longer and row["padding"] == 0
    record = fakes.record_of(row["wave"])
    assert len(record) == size
    whole = [np.full(corpus.num_samples[r], r) for r in taken]
    np.testing.assert_array_equal(record, np.concatenate(whole)[:size])
    followers.update(taken[1:])
  assert followers == set(range(20))


def test_every_record_begins_a_row_of_an_epoch():
  corpus, rows = make("crops")
  first = [rows.records(i)[0] for i in range(len(corpus))]
  assert sorted(first) == list(range(len(corpus)))
  assert (corpus.num_samples < 20 * fakes.HOP).any() and not rows.excluded


def test_crops_lie_within_one_long_enough_record():
  corpus, rows = make("crops")
  long_enough = 0
  for i in range(50):
    record = fakes.record_of(rows[i]["wave"])
    if corpus.num_samples[record[0]] >= len(record):
      assert (record == record[0]).all() and rows.records(i) == [record[0]]
      long_enough += 1
  assert long_enough > 10
