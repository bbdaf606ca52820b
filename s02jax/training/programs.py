"""Jitted programs of a stage on a mesh: init, train step, eval step."""

import logging
import time
from typing import Any

import jax
from jax.sharding import Mesh

from s02jax import sharding, stages
from s02jax.core.startup import CacheCounter
from s02jax.stages import train_state as ts
from s02jax.training import clock as clock_lib

PyTree = Any


def abstract_state(stage: stages.Stage, mesh: Mesh) -> PyTree:
  """Shapes, dtypes and shardings of the state; nothing is allocated."""
  key = jax.eval_shape(lambda: jax.random.key(0))
  with jax.set_mesh(mesh):
    abstract = jax.eval_shape(stage.init_state, key)
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    abstract,
    sharding.parameter_shardings(mesh, abstract),
  )


def shardings_of(tree: PyTree) -> PyTree:
  """Of the leaves of an abstract state."""
  return jax.tree.map(lambda x: x.sharding, tree)


def init_program(stage: stages.Stage, state: PyTree) -> Any:
  """Jitted `init_state` that never holds an unsharded parameter.

  Args:
    state: of `abstract_state`.
  """
  # It runs once, and a CPU spends most of it on optimising it.
  cpu = jax.default_backend() == "cpu"
  options = {"xla_backend_optimization_level": 0} if cpu else {}
  return jax.jit(
    stage.init_state,
    out_shardings=shardings_of(state),
    compiler_options=options,
  )


def train_program(stage: stages.Stage, mesh: Mesh, state: PyTree) -> Any:
  """Jitted (state, batch) -> (state, metrics); the state is given away."""

  def step(state: PyTree, batch: stages.Batch) -> tuple:
    state, values = stage.train_step(state, batch)
    return state, values | {"skipped": ts.skipped_steps(state)}

  placed = shardings_of(state)
  return jax.jit(
    step,
    in_shardings=(placed, sharding.batch_sharding(mesh)),
    # Gradients of sharded parameters may come back whole unless told.
    out_shardings=(placed, sharding.replicated(mesh)),
    donate_argnums=0,
  )


def eval_program(stage: stages.Stage, mesh: Mesh, state: PyTree) -> Any:
  """Jitted (state, batch) -> metrics."""
  return jax.jit(
    stage.eval_step,
    in_shardings=(shardings_of(state), sharding.batch_sharding(mesh)),
    out_shardings=sharding.replicated(mesh),
  )


class Programs:
  """A jitted function, compiled once per batch shape, saying so."""

  def __init__(self, jitted: Any, name: str, clock: clock_lib.Clock):
    self._jitted = jitted
    self._name = name
    self._clock = clock
    self._compiled = {}

  def is_new(self, batch: stages.Batch) -> bool:
    """Whether this shape has yet to be compiled."""
    return shapes_of(batch) not in self._compiled

  def compile(self, state: PyTree, batch: stages.Batch) -> None:
    """Compiles for the shape of `batch`, or reads it from the cache."""
    began = time.perf_counter()
    hits = CacheCounter.hits
    with self._clock.during("compile"):
      program = self._jitted.lower(state, batch).compile()
    self._compiled[shapes_of(batch)] = program
    origin = "cached" if CacheCounter.hits > hits else "compiled"
    seconds = time.perf_counter() - began
    shapes = {name: x.shape for name, x in batch.items()}
    logging.info("%s: %s in %.1f s %s", self._name, origin, seconds, shapes)

  def __call__(self, state: PyTree, batch: stages.Batch) -> Any:
    if self.is_new(batch):
      self.compile(state, batch)
    return self._compiled[shapes_of(batch)](state, batch)


def shapes_of(batch: stages.Batch) -> tuple:
  return tuple((name, x.shape) for name, x in sorted(batch.items()))
