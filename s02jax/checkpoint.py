"""Checkpoints: state and resolved config of a run, written asynchronously.

`<workdir>/checkpoints/<step>/` appears whole or not at all (Orbax renames it
into place). The row index needs no entry of its own: rows are a pure function
of the step. A checkpoint that cannot be read moves to `checkpoints.damaged`
and the one before it is used.
"""

import logging
import pathlib
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from s02jax import errors

PyTree = Any
Config = dict[str, Any]

FOLDER = "checkpoints"
DAMAGED = "checkpoints.damaged"


class Checkpoints:
  """The checkpoints of one run."""

  def __init__(self, workdir: str | pathlib.Path, keep: int):
    """Opens `workdir`, and clears what a killed run left half-written."""
    self.workdir = pathlib.Path(workdir).absolute()
    self._keep = keep
    self._open()

  def _open(self) -> None:
    training = ocp.training
    policies = training.save_decision_policies
    self._orbax = training.Checkpointer(
      str(self.workdir / FOLDER),
      context=_context(),
      # Orbax declares its own policies too narrowly.
      # pyrefly: ignore[bad-argument-type]
      save_decision_policy=policies.FixedIntervalPolicy(1),
      # pyrefly: ignore[bad-argument-type]
      preservation_policy=training.preservation_policies.LatestN(self._keep),
      cleanup_tmp_directories=True,
    )

  def steps(self) -> list[int]:
    """Steps at hand, newest first."""
    return sorted((c.step for c in self._orbax.checkpoints), reverse=True)

  def save(self, step: int, state: PyTree, config: Config) -> None:
    """Begins to write; returns as soon as `state` may be donated."""
    self._orbax.save_checkpointables_async(
      step, {"state": state, "config": config}
    )

  def close(self) -> None:
    """Waits until everything begun is on disk; raises what went wrong."""
    self._orbax.close()

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *_: Any) -> None:
    self.close()

  def restore(self, abstract: PyTree) -> tuple[int, PyTree] | None:
    """Returns (step, state) of the newest checkpoint that can be read.

    Args:
      abstract: ShapeDtypeStructs with the shardings to restore onto.

    Returns:
      None where there is no checkpoint yet.

    Raises:
      UserError: there are checkpoints, and none can be read.
    """
    steps = self.steps()
    for step in steps:
      try:
        return step, self._load_state(step, abstract)
      except Exception as error:  # any reader may trip over damaged bytes
        logging.warning(
          "checkpoint %d cannot be read (%s); moved to %s, trying the one "
          "before it",
          step,
          _first_line(error),
          self.workdir / DAMAGED,
        )
        self._set_aside(step)
    if steps:
      raise errors.UserError(
        f"no checkpoint of {self.workdir} can be read (they are in "
        f"{DAMAGED}); choose another --workdir, or run again to begin anew."
      )
    return None

  def _load_state(self, step: int, abstract: PyTree) -> PyTree:
    """The state at `step`; raises on every process if one cannot read it."""
    state, problem = None, None
    try:
      loaded = self._orbax.load_checkpointables(step, {"state": abstract})
      state = jax.block_until_ready(loaded["state"])
    except Exception as error:
      problem = error
    if not _all_processes(problem is None):
      raise problem or OSError("another process could not read it")
    return state

  def _set_aside(self, step: int) -> None:
    self._orbax.close()
    if jax.process_index() == 0:
      target = self.workdir / DAMAGED / str(step)
      target.parent.mkdir(exist_ok=True)
      n = 0
      while target.exists():
        n += 1
        target = target.with_name(f"{step}.{n}")
      (self.workdir / FOLDER / str(step)).rename(target)
    _all_processes(True)
    self._open()


def load(
  workdir: str | pathlib.Path, abstract: PyTree | None = None
) -> tuple[Config, PyTree]:
  """Reads the newest checkpoint of a run, for inference.

  Args:
    workdir: of `s02 train`.
    abstract: the state's structure (`jax.eval_shape(stage.init_state, key)`)
      to get the stage's own dataclasses; nested dicts and lists where absent.

  Returns:
    The resolved config and the state, leaves as NumPy arrays.

  Raises:
    UserError: there is no checkpoint, or none can be read.
  """
  folder = pathlib.Path(workdir).absolute() / FOLDER
  if not folder.is_dir():
    raise errors.UserError(
      f"{workdir} holds no checkpoint; train a stage there with "
      "`s02 train --workdir`."
    )
  with ocp.training.Checkpointer(str(folder), context=_context()) as reader:
    steps = sorted((c.step for c in reader.checkpoints), reverse=True)
    for step in steps:
      try:
        return _read(reader, step, abstract)
      except Exception as error:
        logging.warning(
          "checkpoint %d of %s cannot be read (%s); trying the one before it",
          step,
          workdir,
          _first_line(error),
        )
  raise errors.UserError(
    f"{workdir} holds no readable checkpoint; run `s02 train` there again."
  )


def _read(
  reader: ocp.training.Checkpointer, step: int, abstract: PyTree | None
) -> tuple[Config, PyTree]:
  if abstract is None:
    abstract = reader.checkpointables_metadata(step).metadata["state"]
  here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), abstract
  )
  loaded = reader.load_checkpointables(
    step, {"state": abstract, "config": None}
  )
  return loaded["config"], jax.tree.map(np.asarray, loaded["state"])


def _context() -> ocp.Context:
  """Writes "config" as JSON, and the rest as arrays."""
  registry = ocp.handlers.local_registry()
  registry.add(ocp.handlers.JsonHandler, checkpointable_name="config")
  context = ocp.Context()
  context.checkpointables.registry = registry
  return context


def _all_processes(ok: bool) -> bool:
  """True where every process says so; also a barrier."""
  if jax.process_count() == 1:
    return ok
  from jax.experimental import multihost_utils

  return bool(np.all(multihost_utils.process_allgather(np.array(ok))))


def _first_line(error: Exception) -> str:
  text = str(error).strip().splitlines()
  return (text[0] if text else type(error).__name__)[:200]
