"""A damaged checkpoint gives way to the one before it, on every process."""

import json
import logging
import os
import pathlib

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from s02jax import sharding
from s02jax.training import checkpoint, loop
from tests import toy_config
from tests.processes import TOY, job

FLAGS = ["--config.checkpoint_every=1", "--config.eval_batches=0"]
# Wide enough that no array is kept in the index of another file.
ON_TWO = [
  "--config.mesh.data=1",
  "--config.mesh.fsdp=2",
  "--config.model.hidden=256",
]


def truncate(folder: pathlib.Path) -> None:
  """Cuts every file of a folder to a few bytes."""
  files = [path for path in folder.rglob("*") if path.is_file()]
  assert files
  for path in files:
    os.truncate(path, 9)


def steps_logged(workdir: pathlib.Path) -> list[int]:
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return [line["step"] for line in map(json.loads, lines) if "loss" in line]


def finish(workdir: pathlib.Path, steps: int) -> list[str]:
  """Runs a job of two processes that share every array; returns their logs."""
  flags = [*FLAGS, *ON_TWO, f"--config.steps={steps}"]
  processes = job(TOY, workdir, [flags, flags])
  logs = [process.communicate(timeout=400)[1] for process in processes]
  assert [process.returncode for process in processes] == [0, 0], logs
  return logs


@pytest.mark.processes
def test_what_one_process_finds_damaged_is_damaged_for_all(tmp_path):
  finish(tmp_path, 2)
  last = tmp_path / "checkpoints" / "2" / "state"
  truncate(last / "ocdbt.process_1" / "d")
  logs = finish(tmp_path, 3)
  for log in logs:
    assert "checkpoint 2 is damaged" in log
    assert f"restored step 1 of {tmp_path}" in log
  # Process 0 reads none of those files, and does not wait for what cannot come.
  assert "process 1 says so" in logs[0]
  assert steps_logged(tmp_path) == [1, 2, 3]
  assert (tmp_path / "checkpoints.damaged" / "2").is_dir()


def test_missing_values_are_damage(tmp_path):
  """Values are cut off and their index is whole, so that reading begins."""
  state = {"kernel": jax.random.normal(jax.random.key(0), (300, 400))}
  with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
    for step in (1, 2):
      checkpoints.save(step, state, {}, {})
  truncate(tmp_path / "checkpoints" / "2" / "state" / "ocdbt.process_0" / "d")
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
    state,
  )
  with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
    restored = checkpoints.restore(abstract)
  assert restored is not None and restored[0] == 1
  assert (tmp_path / "checkpoints.damaged" / "2").is_dir()


def test_a_finished_run_with_a_damaged_end_takes_the_last_steps_again(
  tmp_path, caplog
):
  config = toy_config.get_config()
  config.update(steps=3, checkpoint_every=1, eval_batches=0)

  def run() -> int:
    return loop.train(config, tmp_path, jax.devices()[:1])

  assert run() == 0
  # Of its values alone Orbax would go on to read others when one has failed.
  truncate(tmp_path / "checkpoints" / "3" / "state")
  with caplog.at_level(logging.WARNING):
    assert run() == 0
  assert "checkpoint 3 is damaged" in caplog.text
  assert steps_logged(tmp_path) == [1, 2, 3]
  assert (tmp_path / "checkpoints" / "3").is_dir()
  caplog.clear()
  assert run() == 0
  assert "is damaged" not in caplog.text


def test_replicas_read_a_state_once_and_get_the_rest_from_one_another(
  tmp_path, monkeypatch
):
  mesh = sharding.make_mesh(dict(data=4, fsdp=2))
  specs = {"kernel": P(None, "fsdp"), "bias": P(), "odd": P()}
  shapes = {"kernel": (16, 6), "bias": (8,), "odd": (7,)}
  state = {
    name: jax.device_put(
      jax.random.normal(jax.random.key(0), shapes[name]),
      NamedSharding(mesh, spec),
    )
    for name, spec in specs.items()
  }
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
    state,
  )
  asked = []
  placed = checkpoint._placed
  monkeypatch.setattr(
    checkpoint, "_placed", lambda s, a: asked.append(s) or placed(s, a)
  )
  with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
    checkpoints.save(1, state, {}, {})
  with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
    restored = checkpoints.restore(abstract)
  assert restored is not None
  for name, x in restored[1].items():
    assert x.sharding == state[name].sharding
    np.testing.assert_array_equal(x, state[name])
  (read,) = asked
  sizes = {name: x.addressable_shards[0].data.size for name, x in read.items()}
  assert sizes == {"kernel": 16 * 6 / 8, "bias": 1, "odd": 7}
