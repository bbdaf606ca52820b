"""A folder of an object store has one writer, also where one dies."""

import threading

import fsspec
import pytest

from s02jax.core import places
from s02jax.training import same_run
from s02jax.training.objects import lease


@pytest.fixture
def folder(monkeypatch):
  """An empty folder of a store in memory, and leases of a second."""
  monkeypatch.setattr(lease, "LENGTH", 1.0)
  fs = fsspec.filesystem("memory")
  fs.store.clear()
  yield places.at("memory://run")
  fs.store.clear()


@pytest.fixture
def hosts(monkeypatch):
  """Lets every lease be on a host of its own, so that none is seen to die."""
  count = iter(range(100))
  monkeypatch.setattr(lease, "_host", lambda: f"host {next(count)}/boot/pid/1")


class Owner:
  """A lease, and why it was lost."""

  def __init__(self, folder):
    self.lost = threading.Event()
    self.why = ""
    self.lease = lease.Lease(folder, self._lose)

  def _lose(self, why):
    self.why = why
    self.lost.set()


def wait_for(owner) -> None:
  """Tries as often as a waiting job does, until the folder is free."""
  pause = threading.Event()
  while not owner.lease.take():
    pause.wait(0.05)


def test_one_of_many_has_the_folder(folder, hosts):
  owners = [Owner(folder) for _ in range(8)]
  taken = [owner.lease.take() for owner in owners]
  assert taken == [True] + [False] * 7
  owners[0].lease.give_back()
  assert owners[3].lease.take() and not owners[4].lease.take()
  owners[3].lease.give_back()
  assert not any(owner.lost.is_set() for owner in owners)


def test_only_a_count_that_stays_for_all_of_a_lease_is_over(
  folder, hosts, monkeypatch
):
  monkeypatch.setattr(lease, "LENGTH", 1000.0)
  now = [0.0]
  monkeypatch.setattr(lease.time, "monotonic", lambda: now[0])
  first, second = Owner(folder), Owner(folder)
  assert first.lease.take()
  for _ in range(3):
    assert not second.lease.take()
    now[0] += 999.0
    assert not second.lease.take()
    assert first.lease._renew()
    now[0] += 2.0
  assert not second.lease.take()
  now[0] += 1001.0
  assert second.lease.take()
  assert not first.lease._renew()
  second.lease.give_back()


def test_an_owner_that_cannot_renew_ends_and_another_follows(
  folder, hosts, monkeypatch
):
  first, second = Owner(folder), Owner(folder)

  def refuse():
    raise ConnectionError("the store is away")

  monkeypatch.setattr(first.lease, "_renew", refuse)
  assert first.lease.take()
  assert first.lost.wait(60)
  assert "ConnectionError: the store is away" in first.why
  wait_for(second)
  second.lease.give_back()


def test_a_successor_is_noticed(folder, hosts):
  first = Owner(folder)
  assert first.lease.take()
  fs, path = places.stored(folder).fs, f"{places.stored(folder).path}/.lease/2"
  fs.pipe_file(path, b'{"owner": "another", "count": 1}')
  assert first.lost.wait(60)
  assert "another job has taken it over" in first.why
  first.lease.give_back()
  assert fs.exists(path)


def test_a_dead_process_of_this_host_is_not_waited_for(folder, monkeypatch):
  monkeypatch.setattr(lease, "LENGTH", 1000.0)
  here = lease._host().rpartition("/")[0]
  fs, path = places.stored(folder).fs, f"{places.stored(folder).path}/.lease/4"
  fs.pipe_file(path, f'{{"owner": "x@{here}/99999999", "count": 1}}'.encode())
  owner = Owner(folder)
  assert owner.lease.take()
  assert [*fs.find(places.stored(folder).path)] == [path.replace("/4", "/5")]
  owner.lease.give_back()


def test_a_job_waits_for_the_folder(folder, hosts, monkeypatch):
  monkeypatch.setattr(same_run, "PATIENCE", 60.0)
  first = Owner(folder)
  assert first.lease.take()
  waited = []

  def sleep(seconds):
    waited.append(seconds)
    if len(waited) == 3:
      first.lease.give_back()

  monkeypatch.setattr(same_run.time, "sleep", sleep)
  same_run.lock(folder)()
  assert len(waited) == 3
