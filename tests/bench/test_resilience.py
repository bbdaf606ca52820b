"""Signals and other numbers of hosts change nothing; the bench says so."""

import json
import pathlib
import signal

import jax.numpy as jnp
import numpy as np
import pytest

from launch import common, local
from s02jax.bench import faults, resilience
from s02jax.core.errors import UserError
from s02jax.training import checkpoint

ROOT = pathlib.Path(__file__).parents[2]
TOY = ("--config=tests/toy_config.py", "--config.eval_every=0")


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
  """Lets processes find the tests' stages and share a cache of programs."""
  monkeypatch.chdir(ROOT)


def launcher(processes):
  return resilience.Launcher(
    processes=processes, commands=local.commands, grace=common.GRACE
  )


def measure(flags, workdir, *, kills, seed):
  return resilience.measure(
    flags, workdir, launcher(1), kills=kills, seed=seed, tell=print
  )


@pytest.mark.processes
def test_rows_are_the_same_on_1_2_4_and_2_hosts(tmp_path):
  workdir, each, batch_size = tmp_path / "run", 3, 8
  hosts = (1, 2, 4, 2)
  for n, processes in enumerate(hosts):
    flags = [
      *TOY,
      "--config.stage=tests.row_order:NumberedStage",
      f"--config.steps={each * (n + 1)}",
      f"--workdir={workdir}",
    ]
    resilience.finish(flags, launcher(processes), tmp_path / f"logs-{n}")
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  steps = [line for line in map(json.loads, lines) if "loss" in line]
  consumed = [[s[f"row_{j}"] for j in range(batch_size)] for s in steps]
  total = each * len(hosts)
  assert [s["step"] for s in steps] == list(range(1, total + 1))
  expected = np.arange(total * batch_size).reshape(total, batch_size)
  np.testing.assert_array_equal(consumed, expected)


def test_a_plan_is_pure_and_within_the_run():
  plan = resilience.plan(200, 2, 1000, seed=7)
  assert plan == resilience.plan(200, 2, 1000, seed=7)
  assert plan != resilience.plan(200, 2, 1000, seed=8)
  steps = [kill.step for kill in plan if kill.step]
  assert steps == sorted(steps) and max(steps) < 900
  assert {kill.signal for kill in plan} == {signal.SIGTERM, signal.SIGKILL}
  assert {kill.processes for kill in plan} == {(0,), (1,), (0, 1)}
  # Whoever has yet to meet the others is not killed alone.
  assert {kill.processes for kill in plan if not kill.step} == {(0, 1)}


@pytest.mark.processes
def test_a_killed_run_ends_bit_equal(tmp_path):
  flags = [*TOY, "--config.steps=300", "--config.checkpoint_every=7"]
  found = measure(flags, tmp_path, kills=3, seed=14)
  assert found["kills"] == 3
  assert found["state"]["values"] > 600 and found["state"]["unequal"] == []
  assert resilience.good(found)
  assert "bit-equal" in resilience.summary(found)
  with pytest.raises(UserError, match="choose another --workdir"):
    measure(flags, tmp_path, kills=1, seed=0)


def test_a_bit_that_differs_is_named(tmp_path):
  state = {"a": jnp.arange(3.0), "b": [jnp.zeros(2, jnp.int32)]}
  other = {"a": state["a"], "b": [jnp.array([0, 1], jnp.int32)]}
  for name, values in (("one", state), ("two", other)):
    (tmp_path / name).mkdir()
    save(tmp_path / name, values)
  found = resilience.differences(tmp_path / "one", tmp_path / "two")
  assert found == {"arrays": 2, "values": 5, "unequal": ["b/0"]}


def save(workdir: pathlib.Path, state) -> None:
  with checkpoint.Checkpoints(workdir, keep=1) as checkpoints:
    checkpoints.save(1, state, {}, {})


def test_a_late_or_failed_process_is_not_good():
  event = {"codes_before": [None], "in_time": True}
  found = {"state": {"unequal": []}, "losses_equal": True, "events": [event]}
  assert resilience.good(found)
  assert not resilience.good(found | {"losses_equal": False})
  assert not resilience.good(found | {"state": {"unequal": ["a"]}})
  for change in ({"in_time": False}, {"codes_before": [1]}):
    assert not resilience.good(found | {"events": [event | change]})


@pytest.mark.processes
def test_faults_of_storage_change_nothing(tmp_path):
  """All faults but a read, which the toy's rows do not need."""
  flags = [*TOY, "--config.steps=40", "--config.checkpoint_every=3"]
  found = resilience.measure(
    [*flags, "--config.log_every=1"],
    tmp_path,
    launcher(1),
    kills=0,
    seed=0,
    tell=print,
    first=faults.provoke,
  )
  kinds = {event["kind"]: event["as_expected"] for event in found["events"]}
  read = kinds.pop("a read fails on one process")
  assert not read and kinds and all(kinds.values()), found["events"]
  assert found["losses_equal"] and not found["state"]["unequal"]
  assert "4 of 5 faults" in resilience.summary(found)
  assert not resilience.good(found)
