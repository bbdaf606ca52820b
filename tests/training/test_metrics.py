"""The slowest host of a job is named, by what each process has told last."""

import types

import pytest

from s02jax.training import hosts, metrics


@pytest.fixture
def process(monkeypatch):
  """Function that makes the view of one process, over a store for all."""
  kept: dict[str, str] = {}
  client = types.SimpleNamespace(
    key_value_set=lambda key, value, allow_overwrite: kept.update({key: value}),
    key_value_dir_get=lambda key: [(k, v) for k, v in kept.items() if key in k],
  )

  def of(number):
    monkeypatch.setattr(hosts, "store", lambda: client)
    monkeypatch.setattr(metrics.jax, "process_index", lambda: number)
    monkeypatch.setattr(metrics.socket, "gethostname", lambda: f"host-{number}")
    return metrics.Slowest()

  return of


def measured(wait: float, seconds: float) -> dict[str, float]:
  return {"data_wait": wait, "step_seconds": seconds, "rows_per_second": 8.0}


def test_the_worst_of_all_is_the_jobs(process):
  first, second = process(0), process(1)
  found, who = first.among(measured(0.01, 0.5))
  assert (found, who) == (measured(0.01, 0.5), "process 0 (host-0)")
  # Process 0 alone writes, and so reads.
  assert second.among(measured(0.4, 0.3)) == (measured(0.4, 0.3), None)
  found, who = first.among(measured(0.02, 0.6))
  assert (found, who) == (measured(0.4, 0.6), "process 1 (host-1)")
  second.among(measured(0.0, 0.3))  # it has caught up
  found, who = first.among(measured(0.02, 0.6))
  assert (found, who) == (measured(0.02, 0.6), "process 0 (host-0)")


def test_one_process_names_nobody():
  assert metrics.Slowest().among(measured(0.1, 0.2)) == (
    measured(0.1, 0.2),
    None,
  )
