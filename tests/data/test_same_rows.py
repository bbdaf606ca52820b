"""Processes that hold the same rows replace unreadable ones alike."""

import concurrent.futures
import threading

import jax
import numpy as np
import pytest

from s02jax import sharding
from s02jax.data import loader
from s02jax.data.same_rows import SameRows
from tests.processes import TOY, job
from tests.runs import losses
from tests.toy_stage import ToyRows

SIZE, STEPS = 8, 40


class Store:
  """Key-value store as JAX's client has it, in one process."""

  def __init__(self):
    self.values, self.changed = {}, threading.Condition()

  def key_value_set(self, key, value):
    with self.changed:
      assert key not in self.values, key
      self.values[key] = value
      self.changed.notify_all()

  def blocking_key_value_get(self, key, milliseconds):
    with self.changed:
      if not self.changed.wait_for(lambda: key in self.values, 60):
        raise TimeoutError(key, milliseconds)
      return self.values[key]

  def key_value_delete(self, key):
    with self.changed:
      self.values.pop(key)


class Broken(ToyRows):
  """Rows of a process that cannot read some."""

  def __init__(self, unreadable: set[int]):
    super().__init__(SIZE, 0, -1)
    self.broken = unreadable

  def __getitem__(self, index):
    if index in self.broken:
      raise RuntimeError("bytes are missing")
    return super().__getitem__(index)


# Processes that hold each row: all three some, two others, one alone the rest.
HELD = {row: (0, 1, 2) for row in range(3)} | {3: (0, 1), 4: (1, 2), 5: (0, 2)}
HELD |= {6: (0,), 7: (1,)}


def batches(me, store, broken, tmp_path, counts):
  """Batches of one process of the job above."""
  shared = {r: p for r, p in HELD.items() if me in p and len(p) > 1}
  mine = np.array([row for row, held in HELD.items() if me in held])
  same = SameRows(store, me, shared)
  ledger = loader.Unreadable(tmp_path / "u.jsonl", 1.0, counts.append)
  made = loader.make_loader(
    Broken(broken[me]),
    0,
    STEPS,
    mine,
    3,
    "train",
    ledger,
    same.for_loader(),
    me,
  )
  return mine, list(made)


def test_all_that_hold_a_row_replace_it_alike(tmp_path):
  random = np.random.default_rng(0)
  broken = [
    {int(r) for r in random.choice(SIZE * STEPS, 60, replace=False)}
    for _ in range(3)
  ]
  store, counts = Store(), []
  with concurrent.futures.ThreadPoolExecutor(3) as pool:
    jobs = [
      pool.submit(batches, me, store, broken, tmp_path, counts)
      for me in range(3)
    ]
    found = [job.result() for job in jobs]
  plain, replaced = ToyRows(SIZE, 0, -1), set()
  for mine, read in found:
    for step, batch in enumerate(read):
      for j, place in enumerate(mine.tolist()):
        begin, holders = step * SIZE, HELD[place]
        order = [begin + (place + k) % SIZE for k in range(SIZE)]
        whole = [r for r in order if not any(r in broken[p] for p in holders)]
        np.testing.assert_array_equal(batch["x"][j], plain[whole[0]]["x"])
        if whole[0] != order[0]:
          replaced.add(order[0])
  assert sum(counts) == len(replaced) > 50  # each is counted once


def test_rows_of_one_process_are_not_talked_about():
  rows = SameRows(None, 0, {}).for_loader()
  assert rows(0, 0, [0, 1], {1}) == {1: 0}


def test_old_agreements_are_forgotten():
  store = Store()
  stores = [SameRows(store, me, {0: (0, 1)}).for_loader() for me in (0, 1)]
  for step in range(600):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
      for said in pool.map(lambda f: f(step, 0, [0], set()), stores):  # noqa: B023
        assert said == {}
  assert len(store.values) <= 2 * 512


def test_shared_rows_are_those_of_other_processes(monkeypatch):
  mesh = sharding.make_mesh({"data": 2, "tensor": 4})
  assert sharding.shared_rows(mesh, 4) == {}
  place = sharding.batch_sharding(mesh)

  class Device:
    def __init__(self, process):
      self.process_index = process

  class Held:  # devices of two replicas, each on two processes
    def devices_indices_map(self, shape):
      return {
        Device(d // 2): (slice(None, 2) if d < 4 else slice(2, None),)
        for d in range(8)
      }

  assert place.devices_indices_map((4,))
  monkeypatch.setattr(sharding, "batch_sharding", lambda _: Held())
  monkeypatch.setattr(jax, "process_index", lambda: 3)
  assert sharding.shared_rows(mesh, 4) == {2: (2, 3), 3: (2, 3)}


@pytest.mark.processes
def test_a_read_that_fails_on_one_of_two_is_as_if_it_failed_on_both(tmp_path):
  flags = ["--config.mesh.tensor=2", "--config.data.unreadable=44"]
  jobs = {
    name: job(TOY, tmp_path / name, [[*flags, only]] * 2)
    for name, only in {
      "both": "--config.data.unreadable_on=-1",
      "one": "--config.data.unreadable_on=1",
    }.items()
  }
  for processes in jobs.values():
    logs = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], logs
  assert losses(tmp_path / "one") == losses(tmp_path / "both")
