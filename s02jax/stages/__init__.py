"""Stages: what the one loop can train. One file each, read top to bottom.

A stage is named in the config, by a name of `STAGES` or by "module:Class".
Its class is made from the resolved config; its module may define
`resolve(config)`, which fills what only the corpus knows (sample rate,
vocabulary size, number of codes, latent statistics). `assume(config)` fills the
same fields with usual values, for what is done without a corpus.
"""

import importlib
from typing import Any, Protocol

import jax
from ml_collections import ConfigDict

from s02jax.core import errors
from s02jax.data.rows import Rows

PyTree = Any
State = Any  # A pytree with `.step` (int32) that holds TrainStates.
Batch = dict[str, jax.Array]
Spec = dict[str, jax.ShapeDtypeStruct]
Metrics = dict[str, jax.Array]

STAGES = {
  "audio_tokenizer": "s02jax.stages.audio_tokenizer:AudioTokenizerStage",
  "flow_vae": "s02jax.stages.flow_vae:FlowVAEStage",
  "ar": "s02jax.stages.ar:ARStage",
  "flow_matching": "s02jax.stages.flow_matching:FlowMatchingStage",
}


class Stage(Protocol):
  """What `s02jax.training.loop` asks of a stage. Made as `Class(config)`."""

  name: str
  starts: tuple[int, ...]  # steps from which on more is computed

  def rows(self, corpus: str, split: str, batch_size: int, seed: int) -> Rows:
    """The rows of a split; a pure function of its arguments."""
    ...

  def batch_specs(self, batch_size: int) -> list[Spec]:
    """Shapes and dtypes of the batches, one per shape, shortest first; what
    only a corpus knows is assumed."""
    ...

  def init_state(self, key: jax.Array) -> State:
    """The state before step 0; traceable."""
    ...

  def train_step(self, state: State, batch: Batch) -> tuple[State, Metrics]:
    """One step; pure. Metrics are f32 scalars, among them loss, grad_norm
    and skipped (1 where the step was not finite and changed nothing)."""
    ...

  def eval_step(self, state: State, batch: Batch) -> Metrics:
    """Deterministic, with the averaged parameters."""
    ...

  def flops(self, batch: Batch | Spec, step: int | None = None) -> float:
    """Analytic model FLOPs of a train step on a batch of these shapes; where
    it is not said which, of one with everything that the run ever computes.
    They change at the steps of `starts` only."""
    ...

  def inference_params(self, state: State) -> PyTree:
    """The averaged parameters that go into the bundle."""
    ...


def _module_and_class(name: str) -> tuple[Any, str]:
  target = STAGES.get(name, name)
  module, _, cls = target.partition(":")
  if not cls:
    raise errors.UserError(
      f"config.stage is {name!r}; it must be one of {', '.join(STAGES)}, "
      "or module:Class."
    )
  try:
    return importlib.import_module(module), cls
  except ModuleNotFoundError as error:
    if error.name is None or not module.startswith(error.name):
      raise
    raise errors.UserError(
      f"config.stage is {name!r}, but there is no module {module}."
    ) from error


def resolve(config: ConfigDict) -> ConfigDict:
  """Returns a copy of `config` with the corpus's own values filled in."""
  module, _ = _module_and_class(config.stage)
  copy = config.copy_and_resolve_references()
  if hasattr(module, "resolve"):
    with copy.unlocked():
      copy = module.resolve(copy)
  return copy


def assume(config: ConfigDict) -> ConfigDict:
  """Returns a copy of `config` with what a corpus would fill in assumed."""
  module, _ = _module_and_class(config.stage)
  copy = config.copy_and_resolve_references()
  with copy.unlocked():
    return module.assume(copy)


def spec(batch_size: int, **shapes: tuple) -> Spec:
  """A batch's shapes: name=(dtype, *shape of a row)."""
  return {
    name: jax.ShapeDtypeStruct((batch_size, *shape), dtype)
    for name, (dtype, *shape) in shapes.items()
  }


def make(config: ConfigDict) -> Stage:
  """Makes the stage that a resolved config names."""
  module, cls = _module_and_class(config.stage)
  return getattr(module, cls)(config)
