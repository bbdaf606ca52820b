"""Training stages: one file per model, with its loss, step, rows and FLOPs.

A config names its stage by a key of `STAGES` or as "module:Class". The class is
made from the resolved config. Some fields only the corpus knows (sample rate,
vocabulary size, number of codes, latent statistics): `resolve(config)` of the
module fills them from it, `assume(config)` with usual values, for checks that
have no corpus.
"""

import importlib
import types
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
from ml_collections import ConfigDict

from s02jax.core.errors import UserError
from s02jax.data.records import Corpus
from s02jax.data.rows import Rows

PyTree = Any
State = Any  # a pytree with `.step` (int32) that holds TrainStates
Batch = dict[str, jax.Array]
Spec = dict[str, jax.ShapeDtypeStruct]
Metrics = dict[str, jax.Array]

STAGES = {
  "audio_tokenizer": "s02jax.stages.audio_tokenizer:AudioTokenizerStage",
  "flow_vae": "s02jax.stages.flow_vae:FlowVAEStage",
  "ar": "s02jax.stages.ar:ARStage",
  "flow_matching": "s02jax.stages.flow_matching:FlowMatchingStage",
  "adapter": "s02jax.stages.adapter:AdapterStage",
  "text_to_voice": "s02jax.stages.text_to_voice:TextToVoiceStage",
  "distillation": "s02jax.stages.distillation:DistillationStage",
}
# Stage -> the stage whose place its model takes in a bundle.
STANDS_FOR = {"distillation": "flow_matching"}


class Stage(Protocol):
  """Interface of a stage to the training loop; made as `Class(config)`."""

  name: str
  starts: tuple[int, ...]  # steps from which on a step computes more

  def rows(self, corpus: str, split: str, batch_size: int, seed: int) -> Rows:
    """Rows of a split; a pure function of the arguments."""
    ...

  def batch_specs(self, batch_size: int) -> list[Spec]:
    """Shapes and dtypes of the batches, one per shape, shortest first.

    Sizes that only a corpus knows must have been assumed.
    """
    ...

  def init_state(self, key: jax.Array) -> State:
    """State before step 0; traceable."""
    ...

  def train_step(self, state: State, batch: Batch) -> tuple[State, Metrics]:
    """One pure training step.

    Returns:
      Next state, and f32 scalars, among them loss, grad_norm and skipped (1
      where the step was not finite and changed nothing).
    """
    ...

  def eval_step(self, state: State, batch: Batch) -> Metrics:
    """Deterministic metrics of the averaged parameters."""
    ...

  def flops(self, batch: Batch | Spec, step: int | None = None) -> float:
    """Analytic model FLOPs of a train step on a batch of these shapes.

    Args:
      batch: arrays, or their shapes and dtypes.
      step: steps taken before; where absent, a step that computes all that any
        step of the run does. FLOPs change at the steps of `starts` only.
    """
    ...

  def inference_params(self, state: State) -> PyTree:
    """Variables of the averaged model, which go into the bundle."""
    ...


@runtime_checkable
class OnBase(Protocol):
  """Interface of a stage that trains something beside frozen parameters.

  They are an argument of its programs: sharded like any parameters, neither
  differentiated nor in the state, the optimizer or a checkpoint.
  """

  def frozen(self) -> PyTree:
    """Parameters that no step changes, NumPy arrays."""
    ...

  def frozen_shapes(self) -> PyTree:
    """Shapes and dtypes of `frozen`; without the bundle where they can be."""
    ...

  def bind(self, frozen: PyTree) -> Stage:
    """The stage with its frozen parameters, arrays that may be traced."""
    ...


@runtime_checkable
class Begins(Protocol):
  """Interface of a stage whose first parameters may come from elsewhere."""

  def beginning(self) -> Mapping[str, Any]:
    """Whole parameters by path, NumPy arrays, in place of random ones."""
    ...


def beginning_of(stage: Stage) -> Mapping[str, Any]:
  """Parameters by path that a stage begins with; {} where all are random."""
  return stage.beginning() if isinstance(stage, Begins) else {}


def bound(stage: Stage, frozen: PyTree) -> Stage:
  """Stage with the frozen parameters it is given, or as it is without any."""
  return stage.bind(frozen) if isinstance(stage, OnBase) else stage


def frozen_of(stage: Stage) -> PyTree:
  """Frozen parameters of a stage, NumPy arrays; {} of one that trains all."""
  return stage.frozen() if isinstance(stage, OnBase) else {}


def frozen_shapes_of(stage: Stage) -> PyTree:
  """Shapes of the frozen parameters of a stage; {} of one that trains all."""
  return stage.frozen_shapes() if isinstance(stage, OnBase) else {}


# ---------------------------------------------------- from config to stage


def make(config: ConfigDict) -> Stage:
  """Makes the stage that a resolved config names."""
  module, cls = _module_and_class(config.stage)
  return getattr(module, cls)(config)


def resolve(config: ConfigDict) -> ConfigDict:
  """Copy of `config` with the values that only its corpus knows."""
  module, _ = _module_and_class(config.stage)
  copy = config.copy_and_resolve_references()
  if hasattr(module, "resolve"):
    with copy.unlocked():
      copy = module.resolve(copy)
  return copy


def assume(config: ConfigDict) -> ConfigDict:
  """Copy of `config` with usual values for what only a corpus knows."""
  module, _ = _module_and_class(config.stage)
  copy = config.copy_and_resolve_references()
  with copy.unlocked():
    return module.assume(copy)


def module_of(config: ConfigDict) -> types.ModuleType:
  """Imports the module of the stage that a config names."""
  return _module_and_class(config.stage)[0]


def _module_and_class(name: str) -> tuple[Any, str]:
  """Imported module and class name of config.stage."""
  target = STAGES.get(name, name)
  module, _, cls = target.partition(":")
  if not cls:
    raise UserError(
      f"config.stage is {name!r}; it must be one of {', '.join(STAGES)}, "
      "or module:Class."
    )
  try:
    return importlib.import_module(module), cls
  except ModuleNotFoundError as error:
    if error.name is None or not module.startswith(error.name):
      raise
    raise UserError(
      f"config.stage is {name!r}, but there is no module {module}."
    ) from error


# ------------------------------------------------------- for the stage files


def batch_spec(batch_size: int, **shapes: tuple) -> Spec:
  """Shapes and dtypes of a batch, from name=(dtype, *shape of a row)."""
  return {
    name: jax.ShapeDtypeStruct((batch_size, *shape), dtype)
    for name, (dtype, *shape) in shapes.items()
  }


def corpus_rate(config: ConfigDict) -> int:
  """Sample rate of config.corpus in Hz."""
  return Corpus.open(config.corpus, "train").rate


def check_rate(config: ConfigDict, rate: int) -> None:
  """Raises UserError unless config.corpus has this sample rate in Hz."""
  found = corpus_rate(config)
  if found != rate:
    raise UserError(
      f"{config.corpus} is sampled at {found} Hz but mel.rate is {rate}; build"
      f" the corpus with --rate {rate}, or choose another size."
    )


def feature_sources(card: Mapping[str, Any], *models: str) -> dict[str, str]:
  """Fingerprints of the checkpoints of `models` that wrote the features.

  A run keeps them in its config: features of another checkpoint are other
  numbers under the same names.

  Args:
    card: card.json of the corpus's features.
  """
  return {
    name: card["sources"].get(name, {}).get("fingerprint", "unknown")
    for name in models
  }
