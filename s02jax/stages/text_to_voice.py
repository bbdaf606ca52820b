"""Stage: the voice prior, a description to coordinates of a voice (report 4.2).

Loss = |v − (c − x₀)|², equation 1 of `models/voice_prior.py`. A share of the
rows sees no condition. The coordinates are jittered: a corpus has few voices,
and the prior is not to recite them.

Shape letters: as in `models/voice_prior.py`.
"""

import dataclasses

import jax
import jax.numpy as jnp

from s02jax import stages
from s02jax.core.config import build
from s02jax.data import descriptions
from s02jax.data.digest import corpus_digest
from s02jax.data.rows.described_voices import DescribedVoices
from s02jax.data.voices import VoiceSpace, VoiceTable
from s02jax.flops import kernel_flops
from s02jax.models.layers.convnext import lengths_to_mask
from s02jax.models.voice_prior import VoicePrior, VoicePriorConfig
from s02jax.stages.train_state import (
  OptimizerConfig,
  TrainState,
  accumulate,
  make_optimizer,
  step_key,
  update,
)
from s02jax.text.tokenizer import TextModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
  """Shares of dropped conditions, and the jitter of the coordinates."""

  drop: float = 0.15  # share of rows without a condition
  jitter: float = 0.3  # deviation of what is added to the coordinates


class TextToVoiceStage:
  """Stage that trains `VoicePrior` on the speakers of a corpus."""

  name = "text_to_voice"
  starts = ()

  def __init__(self, config):
    self.config = config
    self.model_config = build(VoicePriorConfig, config.model, "model")
    self.loss = build(LossConfig, config.loss, "loss")
    self.optimizer_config = build(
      OptimizerConfig, config.optimizer, "optimizer"
    )
    self.model = VoicePrior(self.model_config)
    self.optimizer = make_optimizer(self.optimizer_config, config.steps)

  def rows(self, corpus: str, split: str, batch_size: int, seed: int):
    """Voices of a split, described at random."""
    return DescribedVoices(
      VoiceTable.load(corpus, split),
      VoiceSpace.load(corpus),
      TextModel.load(f"{corpus}/text.model"),
      batch_size=batch_size,
      seed=seed,
      **self.config.data,
    )

  def batch_specs(self, batch_size: int) -> list[stages.Spec]:
    """Shapes of the batches, all of one size."""
    s, c = self.config.data.longest, self.model_config
    return [
      stages.batch_spec(
        batch_size,
        codes=(jnp.float32, c.coordinates),
        ids=(jnp.int32, s),
        length=(jnp.int32,),
        tags=(jnp.int32, len(c.tags)),
      )
    ]

  def init_state(self, key) -> TrainState:
    """State with random parameters."""
    c = self.model_config
    variables = self.model.init(
      key,
      jnp.zeros((1, c.coordinates)),
      jnp.zeros(1),
      jnp.zeros((1, 2), jnp.int32),
      jnp.ones((1, 2), bool),
      jnp.zeros((1, len(c.tags)), jnp.int32),
      jnp.ones(1, bool),
    )
    return TrainState.create(variables["params"], self.optimizer)

  def draw(self, key, batch):
    """Noise, times, jitter and dropped conditions, by the key."""
    keys = jax.random.split(key, 4)
    b = len(batch["codes"])
    t = (jnp.arange(b) / b + jax.random.uniform(keys[0], (1,))) % 1.0
    return {
      "noise": jax.random.normal(keys[1], batch["codes"].shape),
      "jitter": jax.random.normal(keys[2], batch["codes"].shape),
      "t": t,
      "keep": ~jax.random.bernoulli(keys[3], self.loss.drop, (b,)),
    }

  def losses(self, params, batch, jitter: float):
    """Loss and metrics of a batch with its draw."""
    draw = batch["draw"]
    codes = batch["codes"] + jitter * draw["jitter"]
    t = draw["t"][:, None]
    velocity = self.model.apply(
      {"params": params},
      (1 - t) * draw["noise"] + t * codes,
      draw["t"],
      batch["ids"],
      lengths_to_mask(batch["length"], batch["ids"].shape[1]),
      batch["tags"],
      draw["keep"],
    )
    loss = jnp.mean((velocity - (codes - draw["noise"])) ** 2)
    return loss, {"loss": loss}

  def train_step(self, state: TrainState, batch) -> tuple[TrainState, dict]:
    """One pure training step on a batch of voices."""
    key = step_key(self.config.seed, state.step)
    batch = batch | {"draw": self.draw(key, batch)}

    def gradients(micro):
      return jax.grad(self.losses, has_aux=True)(
        state.params, micro, self.loss.jitter
      )

    grads, metrics = accumulate(gradients, batch, self.config.accumulate)
    state, more = update(
      state, grads, self.optimizer, self.optimizer_config.ema
    )
    return state, metrics | more

  def eval_step(self, state: TrainState, batch) -> dict:
    """Loss of the averaged parameters, with one draw for all steps."""
    batch = batch | {"draw": self.draw(jax.random.key(0), batch)}
    return self.losses(state.ema, batch, 0.0)[1]

  def inference_params(self, state: TrainState) -> dict:
    """Variables of `VoicePrior.apply`, averaged."""
    return {"params": state.ema}

  def flops(self, batch, step=None) -> float:
    """FLOPs of the matrix products of any step."""
    del step
    b, s = batch["ids"].shape
    params = jax.eval_shape(self.init_state, jax.random.key(0)).params
    stack = params.pop("stack")
    return float(kernel_flops(stack, b * s) + kernel_flops(params, b))


def assume(config):
  """Fills the vocabulary of a usual text model, and all coordinates."""
  config.model.update(text_size=8192, coordinates=128, tags=descriptions.SIZES)
  return config


def resolve(config):
  """Fills the sizes of the voices' space and of the text model."""
  config.model.text_size = TextModel.load(f"{config.corpus}/text.model").size
  config.model.coordinates = len(VoiceSpace.load(config.corpus).axes)
  config.model.tags = descriptions.SIZES
  config.corpus_digest = corpus_digest(config.corpus, "records", "text")
  return config
