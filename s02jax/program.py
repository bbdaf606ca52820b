"""The programs of a stage on a mesh, for the loop and for `compile-check`."""

from typing import Any

import jax
from jax.sharding import Mesh

from s02jax import sharding, stages
from s02jax import train_state as ts

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
