"""Stage: small things trained on a bundle's frozen model.

The model is the AR Transformer or flow matching of a bundle; its loss is that
of its own stage. The kinds, by `config.adapter.kind`:

  lora      one low-rank change a name (an emotion) of the kernels that match;
            a batch has as many rows of each name, with the same texts
  speaker   the vector of one voice, nothing else, on the encoder's sphere
  full      all parameters, from the bundle's on, with rehearsal rows of the
            base's own corpus where one is given

All that is frozen is an argument of the step (`stages.OnBase`): it is neither
differentiated nor in the optimizer, the average or a checkpoint.

Shape letters: e names, o features of a speaker vector.
"""

import copy
import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from s02jax import stages
from s02jax.audio import spectra
from s02jax.bundle import Bundle
from s02jax.core.config import build
from s02jax.core.errors import UserError
from s02jax.data.digest import corpus_digest
from s02jax.data.records import Corpus
from s02jax.data.rows.emotive import (
  Emotions,
  EmotiveLatents,
  EmotiveSequences,
)
from s02jax.data.rows.rehearsal import Rehearsed
from s02jax.models.layers import lora
from s02jax.models.layers.convnext import lengths_to_mask
from s02jax.models.speaker_encoder import unit_power
from s02jax.stages import on_base
from s02jax.stages.train_state import (
  OptimizerConfig,
  TrainState,
  accumulate,
  make_optimizer,
  step_key,
  update,
)

HEARD = 32  # clips that a fitted voice starts from, at most
# Share of a full step's products: forward and back, but no gradients of W.
FROZEN_SHARE = 2 / 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdapterConfig(lora.LoraConfig):
  """Kind of an adapter, the model it is for, and its data."""

  kind: Literal["lora", "speaker", "full"]
  model: Literal["ar", "flow_matching"]
  # Emotions of the corpus that are trained side by side; none: all clips.
  names: tuple[str, ...] = ()
  # Clip of the speaker that an emotive target is spoken after.
  reference: Literal["neutral", "random", "same"] = "neutral"
  rehearsal: str = ""  # corpus of the base, for the kind "full"
  rehearsal_share: float = 0.5  # share of the batches that come from it

  def __post_init__(self):
    super().__post_init__()
    if not 0 <= self.rehearsal_share < 1:
      raise ValueError(
        f"rehearsal_share is {self.rehearsal_share}; it must be 0 or more, and"
        " below 1"
      )


class AdapterStage:
  """Stage that trains an adapter of one model of a bundle."""

  name = "adapter"
  starts = ()

  def __init__(self, config):
    self.config = config
    self.adapter = build(AdapterConfig, config.adapter, "config.adapter")
    self.optimizer_config = build(
      OptimizerConfig, config.optimizer, "optimizer"
    )
    self.optimizer = make_optimizer(self.optimizer_config, config.steps)
    self.inner: Any = stages.make(
      on_base.inner_config(config, self.adapter.model)
    )
    self._frozen: Any = None

  # ------------------------------------------------------------------- data

  @property
  def count(self) -> int:
    """Number of changes that are trained side by side, e."""
    return max(len(self.adapter.names), 1)

  def rows(self, corpus: str, split: str, batch_size: int, seed: int):
    """Rows of the model's own stage; those of emotions by name."""
    if not self.adapter.names:
      rows = self.inner.rows(corpus, split, batch_size, seed)
      base = self.adapter.rehearsal
      if self.adapter.kind != "full" or not base or split != "train":
        return rows
      old = self.inner.rows(base, split, batch_size, seed)
      return Rehearsed(rows, old, self.adapter.rehearsal_share)
    if batch_size % self.count:
      raise UserError(
        f"config.batch_size is {batch_size}; it must be a multiple of the"
        f" {self.count} emotions of config.adapter.names."
      )
    opened = Corpus.open(corpus, split)
    emotions = Emotions.of(opened, self.adapter.names)
    kind = EmotiveSequences if self.adapter.model == "ar" else EmotiveLatents
    return kind(
      emotions,
      self.adapter.reference,
      **self.inner.row_arguments(corpus, opened, batch_size, seed),
    )

  def batch_specs(self, batch_size: int) -> list[stages.Spec]:
    """Shapes of the batches of the model's own stage."""
    return self.inner.batch_specs(batch_size)

  # ----------------------------------------------------------------- frozen

  def frozen(self):
    """The model's parameters; with a voice's first vector f32[o]."""
    bundle = Bundle.load(self.config.bundle)
    params = bundle.params[self.adapter.model]["params"]
    if self.adapter.kind != "speaker":
      return {"params": params}
    return {"params": params, "start": self._start(params)}

  def frozen_shapes(self):
    """Shapes of `frozen`; those of a bundle, which is read for them."""
    return jax.eval_shape(self.frozen)

  def bind(self, frozen) -> "AdapterStage":
    """The stage with its frozen parameters."""
    out = copy.copy(self)
    out._frozen = frozen
    return out

  def _start(self, params) -> np.ndarray:
    """Mean vector f32[o] of the corpus's first clips, by the base's encoder."""
    corpus = Corpus.open(self.config.corpus, "train")
    mel, found = self.inner.mel, []
    for i in range(min(len(corpus), HEARD)):
      wave = corpus.wave(i)[: 20 * corpus.rate]
      padded = jnp.asarray(_padded(wave, corpus.rate))
      frames = spectra.log_mel(padded[None], mel)
      mask = lengths_to_mask(jnp.array([len(wave) // mel.hop]), frames.shape[1])
      found.append(
        self.inner.model.apply(
          {"params": params}, frames, mask, method="speaker"
        )[0]
      )
    return np.asarray(jnp.mean(jnp.stack(found), axis=0))

  # ------------------------------------------------------------------ state

  def init_state(self, key) -> TrainState:
    """State of the change that is none yet.

    Raises:
      UserError: `targets` matches no kernel, or one that decoding cannot mix.
    """
    base, kind = self._frozen["params"], self.adapter.kind
    if kind == "full":
      params = jax.tree.map(jnp.copy, base)
    elif kind == "speaker":
      params = {"vector": unit_power(self._frozen["start"])}
    else:
      self._check_targets(base)
      keys = jax.random.split(key, self.count)
      params = jax.vmap(lambda k: lora.init(k, base, self.adapter))(keys)
    return TrainState.create(params, self.optimizer)

  def _check_targets(self, base) -> None:
    """Raises UserError unless the targets can be changed at inference."""
    try:
      found = lora.targets(base, self.adapter)
    except ValueError as error:
      raise UserError(f"config.adapter.{error}.") from error
    outside = [p for p in found if not p.startswith("stack/blocks/")]
    if self.adapter.model == "ar" and outside:
      raise UserError(
        f"config.adapter.targets matches {outside[0]}; of the AR Transformer"
        " only kernels below stack/blocks/ can change."
      )

  def objective(self, params, batch):
    """Loss and metrics of a prepared batch under one change of the model."""
    base = self._frozen["params"]
    if self.adapter.kind == "full":
      return self.inner.objective(params, batch)
    if self.adapter.kind == "speaker":
      return self.inner.objective(base, batch, unit_power(params["vector"]))
    changed = lora.change(base, params, self.adapter.scale)
    return self.inner.objective(changed, batch)

  # ------------------------------------------------------------------- step

  def train_step(self, state: TrainState, batch) -> tuple[TrainState, dict]:
    """One pure training step; emotions one after another on their own rows."""
    key = step_key(self.config.seed, state.step)
    batch = self.inner.prepared(batch, key)

    def gradients_of(params):
      def gradients(micro):
        return jax.grad(self.objective, has_aux=True)(params, micro)

      return gradients

    def one(params, part):
      return accumulate(
        gradients_of(params),
        part,
        self.config.accumulate,
        weight=self.inner.weight,
      )

    if self.adapter.kind == "lora":
      parts = jax.tree.map(lambda x: _of_each(x, self.count), batch)
      grads, metrics = jax.lax.map(lambda x: one(*x), (state.params, parts))
      metrics = jax.tree.map(jnp.mean, metrics)
    else:
      grads, metrics = one(state.params, batch)
    state, more = update(
      state, grads, self.optimizer, self.optimizer_config.ema
    )
    return state, metrics | more

  def eval_step(self, state: TrainState, batch) -> dict:
    """Metrics of the averaged change, over all emotions, and of the base."""
    batch = self.inner.prepared(batch)
    before = self.inner.objective(self._frozen["params"], batch)[1]
    if self.adapter.kind == "lora":
      parts = jax.tree.map(lambda x: _of_each(x, self.count), batch)
      metrics = jax.lax.map(lambda x: self.objective(*x)[1], (state.ema, parts))
      metrics = jax.tree.map(jnp.mean, metrics)
    else:
      metrics = self.objective(state.ema, batch)[1]
    return metrics | {"base_loss": before["loss"]}

  def inference_params(self, state: TrainState) -> dict:
    """The averaged change: A and B [e, …], a vector f32[o], or parameters."""
    if self.adapter.kind == "speaker":
      return {"params": {"vector": unit_power(state.ema["vector"])}}
    return {"params": state.ema}

  def flops(self, batch, step=None) -> float:
    """FLOPs of a step: two thirds of the model's own where it is frozen."""
    share = 1.0 if self.adapter.kind == "full" else FROZEN_SHARE
    return share * self.inner.flops(batch, step)


def _of_each(x: jax.Array, count: int) -> jax.Array:
  """Rows [b, …] as [e, b / e, …]; row i is of name i mod e."""
  return jnp.moveaxis(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 1, 0)


def _padded(wave: np.ndarray, rate: int) -> np.ndarray:
  """Wave padded to whole 2 s, so that few lengths are compiled."""
  return np.pad(wave, (0, -len(wave) % (2 * rate)))


# -------------------------------------------------------------------- configs


def assume(config):
  """Refuses: an adapter has the sizes of a bundle, which none are usual of."""
  raise UserError(
    f"the adapter {config.adapter.kind!r} is trained on a bundle; check the"
    " compilation of the bundle's own stage instead."
  )


def resolve(config):
  """Fills model, mel, data and loss from the bundle; keeps what is given."""
  bundle = on_base.fill(config, config.adapter.model)
  # The base is a part of what the run is: a checkpoint fits no other.
  config.features = {"bundle": bundle.fingerprint}
  config.corpus_digest = corpus_digest(
    config.corpus, "records", "text", "features"
  )
  return config
