"""Plans of packed epochs: always the same rows, and none packed twice."""

import hashlib
import json

import numpy as np
import pytest

from s02jax.data import loader
from s02jax.data.rows import epochs
from tests.data.rows.makers import make

# Records of three epochs of rows, as they were on 2026-11-28. They may change
# only where old checkpoints are refused: a run would go on with other rows.
GOLDEN = {
  ("packed", 2**16): (162, "4936de8f7f5aa96e"),
  ("packed", 64): (168, "90cecf93b0c43c13"),
  ("utterances", 2**16): (196, "9766e584b9e1f870"),
  ("utterances", 64): (208, "db7662a156575665"),
}


@pytest.mark.parametrize(("kind", "block"), GOLDEN)
def test_rows_are_those_of_earlier_versions(kind, block, monkeypatch):
  monkeypatch.setattr(epochs, "BLOCK", block)
  _, rows = make(kind, seed=3, n=500)
  members = rows.plan(range(3 * len(rows)))
  digest = hashlib.sha256(json.dumps(members).encode()).hexdigest()[:16]
  assert (len(rows), digest) == GOLDEN[kind, block]


# Digests of every ninth of 900 rows, all their arrays, of the same day.
CONTENT = {
  "crops": "0cca74ce28fd17d1",
  "latents": "bccfa320e2b6294f",
  "packed": "b00f536a5722721e",
  "utterances": "3ee02f84b2788022",
}


@pytest.mark.parametrize("kind", CONTENT)
def test_arrays_are_those_of_earlier_versions(kind):
  _, rows = make(kind, seed=3, n=500)
  digest = hashlib.sha256()
  for i in range(0, 900, 9):
    for name, value in sorted(rows[i].items()):
      digest.update(name.encode() + np.asarray(value).tobytes())
  assert digest.hexdigest()[:16] == CONTENT[kind]


@pytest.mark.parametrize("kind", ["packed", "utterances"])
def test_rows_planned_together_are_those_planned_alone(kind):
  _, rows = make(kind, n=300)
  random = np.random.default_rng(0)
  order = random.integers(5 * len(rows), size=200).tolist()
  assert rows.plan(order) == [rows.members(i) for i in order]


def test_no_block_is_packed_twice_by_threads_of_large_batches(monkeypatch):
  """Each host's 8 rows of 512, in batches of five blocks, by 16 threads."""
  monkeypatch.setattr(epochs, "BLOCK", 512)
  packed, plain = [], epochs.pack

  def pack(lengths, *rest):
    packed.append(hashlib.sha256(lengths.tobytes()).hexdigest())
    return plain(lengths, *rest)

  monkeypatch.setattr(epochs, "pack", pack)
  size, steps = 512, 12
  _, rows = make("packed", n=2000, batch_size=size)
  for mine in (np.arange(256, 264), np.arange(0, size, 64)):
    packed.clear()
    made = loader.make_loader(rows, 0, steps, mine, threads=16)
    assert len(list(made)) == steps
    assert len(packed) == len(set(packed))
    _, rows = make("packed", n=2000, batch_size=size)
