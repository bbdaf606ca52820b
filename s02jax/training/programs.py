"""Jitted functions of a stage on a mesh: init, train step, eval step.

A program is one such function. `abstract_state` gives the shapes and shardings
that all of them agree on; `CompiledByShape` compiles a program once per batch
shape, and `StepFlops` counts its FLOPs as often.
"""

import functools
import logging
import time
from typing import Any

import jax
from jax.sharding import Mesh

from s02jax import sharding, stages
from s02jax.core import trees
from s02jax.core.errors import UserError
from s02jax.core.startup import Programs
from s02jax.stages.train_state import skipped_steps
from s02jax.training.clock import Clock

PyTree = Any
NOTHING: PyTree = ()  # no frozen parameters


# ------------------------------------------------------------------- programs


def frozen_parameters(stage: stages.Stage, mesh: Mesh) -> PyTree:
  """Parameters that no step changes, on the mesh; {} where all are trained."""
  frozen = stages.frozen_of(stage)
  return jax.device_put(frozen, sharding.parameter_shardings(mesh, frozen))


def abstract_frozen(stage: stages.Stage, mesh: Mesh) -> PyTree:
  """Shapes and shardings of the frozen parameters; nothing is read."""
  shapes = stages.frozen_shapes_of(stage)
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    shapes,
    sharding.parameter_shardings(mesh, shapes),
  )


def abstract_state(
  stage: stages.Stage, mesh: Mesh, frozen: PyTree = NOTHING
) -> PyTree:
  """Shapes, dtypes and shardings of the state; nothing is allocated."""
  key = jax.eval_shape(lambda: jax.random.key(0))
  with jax.set_mesh(mesh):
    abstract = jax.eval_shape(
      lambda frozen, key: stages.bound(stage, frozen).init_state(key),
      frozen,
      key,
    )
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    abstract,
    sharding.parameter_shardings(mesh, abstract),
  )


def init_program(
  stage: stages.Stage, state: PyTree, frozen: PyTree = NOTHING
) -> Any:
  """Jitted `init_state` that never holds an unsharded parameter.

  Args:
    stage: whose state it makes.
    state: result of `abstract_state`.
    frozen: result of `frozen_parameters`.
  """
  # It runs once, and a CPU would spend most of that time on optimising it.
  cpu = jax.default_backend() == "cpu"
  options = {"xla_backend_optimization_level": 0} if cpu else {}
  init = jax.jit(
    lambda frozen, key: stages.bound(stage, frozen).init_state(key),
    out_shardings=_shardings(state),
    compiler_options=options,
  )
  return functools.partial(init, frozen)


def begun(stage: stages.Stage, state: PyTree) -> PyTree:
  """State with the parameters that the stage begins with, where it has any.

  Args:
    stage: whose state it is.
    state: result of `init_program`; a TrainState where the stage has any.

  Raises:
    UserError: what the stage begins from cannot be read, or does not fit.
  """
  given = stages.beginning_of(stage)
  if not given:
    return state
  shapes = {name: x.shape for name, x in trees.named(state.params).items()}
  for name, value in given.items():
    if shapes.get(name) != value.shape:
      raise UserError(
        f"{name} has the shape {shapes.get(name)} and begins from"
        f" {value.shape}: the model's sizes are not those of config.init_from."
      )

  def leaf(path, x):
    value = given.get(jax.tree_util.keystr(path, simple=True, separator="/"))
    if value is None:
      return x
    return jax.make_array_from_callback(
      x.shape, x.sharding, lambda at: value[at]
    )

  begin = functools.partial(jax.tree_util.tree_map_with_path, leaf)
  return state.replace(params=begin(state.params), ema=begin(state.ema))


def train_program(
  stage: stages.Stage, mesh: Mesh, state: PyTree, frozen: PyTree = NOTHING
) -> Any:
  """Jitted (state, batch) -> (state, metrics); its input state is donated.

  Args:
    stage: that is trained.
    mesh: devices that it is trained on.
    state: result of `abstract_state`.
    frozen: result of `frozen_parameters`; where there are any, they are the
      program's third argument.
  """

  def step(state: PyTree, batch: stages.Batch, frozen: PyTree = NOTHING):
    state, values = stages.bound(stage, frozen).train_step(state, batch)
    return state, values | {"skipped": skipped_steps(state)}

  placed = _shardings(state)
  return jax.jit(
    step,
    in_shardings=(placed, sharding.batch_sharding(mesh), *_third(frozen)),
    # Gradients of sharded parameters may come back whole unless told.
    out_shardings=(placed, sharding.replicated(mesh)),
    donate_argnums=0,
  )


def eval_program(
  stage: stages.Stage, mesh: Mesh, state: PyTree, frozen: PyTree = NOTHING
) -> Any:
  """Jitted (state, batch) -> metrics; arguments as of `train_program`."""

  def step(state: PyTree, batch: stages.Batch, frozen: PyTree = NOTHING):
    return stages.bound(stage, frozen).eval_step(state, batch)

  placed = _shardings(state)
  return jax.jit(
    step,
    in_shardings=(placed, sharding.batch_sharding(mesh), *_third(frozen)),
    out_shardings=sharding.replicated(mesh),
  )


def _third(frozen: PyTree) -> tuple:
  """Shardings of a program's third argument; () where it has none."""
  return (_shardings(frozen),) if jax.tree.leaves(frozen) else ()


def _shardings(tree: PyTree) -> PyTree:
  """Shardings of the leaves of an abstract state."""
  return jax.tree.map(lambda x: x.sharding, tree)


# ------------------------------------------------------------ per batch shape


class CompiledByShape:
  """A program of (state, batch), compiled ahead once per batch shape."""

  def __init__(
    self, program: Any, name: str, clock: Clock, frozen: PyTree = NOTHING
  ):
    """Compiles nothing yet.

    Args:
      program: jitted function of a state and a batch.
      name: name in log lines, such as "train step".
      clock: clock whose phase is "compile" meanwhile.
      frozen: result of `frozen_parameters`, the third argument if there is one.
    """
    self._program = program
    self._third = (frozen,) if jax.tree.leaves(frozen) else ()
    self._name = name
    self._clock = clock
    self._compiled = {}

  def is_new(self, batch: stages.Batch) -> bool:
    """Whether the batch has a shape that is not compiled yet."""
    return _shapes(batch) not in self._compiled

  def compile(self, state: PyTree, batch: stages.Batch) -> None:
    """Compiles for the batch's shape, or reads that from the cache; logs it."""
    began = time.perf_counter()
    hits = Programs.hits
    with self._clock.during("compile"):
      compiled = self._program.lower(state, batch, *self._third).compile()
    self._compiled[_shapes(batch)] = compiled
    origin = "cached" if Programs.hits > hits else "compiled"
    seconds = time.perf_counter() - began
    shapes = {name: x.shape for name, x in batch.items()}
    logging.info("%s: %s in %.1f s %s", self._name, origin, seconds, shapes)

  def __call__(self, state: PyTree, batch: stages.Batch) -> Any:
    """Result of the program, compiled first where the shape is new."""
    if self.is_new(batch):
      self.compile(state, batch)
    return self._compiled[_shapes(batch)](state, batch, *self._third)


class StepFlops:
  """Model FLOPs of a train step, asked of the stage once per batch shape.

  A stage that computes more from some step on (`Stage.starts`) is asked again
  from there on.
  """

  def __init__(self, stage: stages.Stage):
    self._stage = stage
    self._known = {}

  def __call__(self, batch: stages.Batch, step: int) -> float:
    """FLOPs of the step after `step` others, over all devices."""
    key = _shapes(batch), sum(step >= start for start in self._stage.starts)
    if key not in self._known:
      abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch
      )
      self._known[key] = float(self._stage.flops(abstract, step))
    return self._known[key]


def _shapes(batch: stages.Batch) -> tuple:
  """Hashable shapes of a batch's arrays, by name."""
  return tuple((name, x.shape) for name, x in sorted(batch.items()))
