"""Digests of a corpus: they change with what decides the rows, only then."""

import shutil

import numpy as np
import pytest

from s02jax.data import digest
from s02jax.data.digest import corpus_digest

PARTS = tuple(digest.PARTS)


@pytest.fixture
def folder(tmp_path):
  """Folder with the files of a corpus, of made-up bytes."""
  folder = tmp_path / "corpus"
  random = np.random.default_rng(0)
  for name in (
    "card.json",
    "index/train.npz",
    "index/train.text_tokens.npy",
    "text.model",
    "speech/1.0.0/train-00000.array_record",
    "features/card.json",
    "features/tokens-train.array_record",
    "features/speaker_vectors-train.npy",
  ):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.bytes(300_000))
  return folder


def test_a_copy_has_the_same_digests(folder, tmp_path):
  shutil.copytree(folder, tmp_path / "copy")
  found = corpus_digest(folder, *PARTS)
  assert found == corpus_digest(tmp_path / "copy", *PARTS)
  assert len(set(found.values())) == 3


@pytest.mark.parametrize(
  ("name", "place", "part"),
  [
    ("index/train.npz", 150_000, "records"),
    ("card.json", 150_000, "records"),
    ("speech/1.0.0/train-00000.array_record", 299_000, "records"),
    ("index/train.text_tokens.npy", 150_000, "text"),
    ("features/tokens-train.array_record", 10, "features"),
    ("features/speaker_vectors-train.npy", 10, None),
  ],
)
def test_another_byte_changes_its_part_alone(folder, name, place, part):
  before = corpus_digest(folder, *PARTS)
  data = bytearray((folder / name).read_bytes())
  data[place] ^= 1
  (folder / name).write_bytes(data)
  after = corpus_digest(folder, *PARTS)
  assert [p for p in PARTS if before[p] != after[p]] == [part] * bool(part)


def test_a_file_cut_short_is_noticed(folder):
  before = corpus_digest(folder, "records")
  path = folder / "speech/1.0.0/train-00000.array_record"
  path.write_bytes(path.read_bytes()[:-1])
  assert corpus_digest(folder, "records") != before
