"""Memory of the rows of a large corpus: bytes of each clip on a process."""

import gc
import tracemalloc

import numpy as np
import pytest

from s02jax.data import records
from tests import fakes
from tests.data.rows.makers import packed, utterances

CLIPS = 400_000
# Clips by speaker and two epochs of the order, four bytes each, the clips that
# are taken, and a plan or two of a constant size.
MOST = 20


@pytest.mark.parametrize("kind", ["packed", "utterances"])
def test_a_clip_costs_a_process_few_bytes(kind):
  corpus = fakes.FakeCorpus(CLIPS, CLIPS // 100)
  gc.collect()
  tracemalloc.start()
  try:
    if kind == "packed":
      rows = packed(corpus)
    else:
      rows = utterances(corpus, fakes.FakeText())
    rows.members(0)
    rows.members(len(rows) + 1)  # of the next epoch
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  plans = 3 * 2**16 * 24
  assert used - plans < MOST * CLIPS


def test_an_index_is_mapped_and_shared(tmp_path):
  index = records.Index(
    **{
      name: np.arange(1000, dtype=np.int32) + i
      for i, name in enumerate(
        ("num_samples", "speaker", "language", "text_bytes")
      )
    }
  )
  path = tmp_path / "train.npz"
  index.write(path)
  found = records.Index.read(path)
  for name, column in vars(index).items():
    mapped = getattr(found, name)
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, column)
  assert records.Index.length(path) == 1000
  empty = records.Index(**dict.fromkeys(vars(index), np.zeros(0, np.int32)))
  empty.write(path)
  assert (
    records.Index.length(path) == 0 == len(records.Index.read(path).speaker)
  )
