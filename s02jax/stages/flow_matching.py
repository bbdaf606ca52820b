"""Stage: flow matching on the latents of the Flow-VAE (report §3.2).

Loss = |v − u|² over latents that are neither padding nor prompt
  + mean · |m − x₁|² + scale · Gaussian log-likelihood of log s alone.

Every step draws one of three kinds for each row: with a prompt (the beginning
of the utterance itself, outside the loss), without one, or without any
condition; and for the batch, block-causal or full attention. The draw is a
function of the step's number.

Shape letters: as in `models/flow_matching.py`.
"""

import dataclasses

import jax
import jax.numpy as jnp

from s02jax import stages
from s02jax.audio import spectra
from s02jax.core.config import build
from s02jax.core.rates import samples, tokens
from s02jax.data.features import Features
from s02jax.data.records import Corpus
from s02jax.data.rows.latent_utterances import LatentUtterances
from s02jax.flops import kernel_flops
from s02jax.models.flow_matching import FlowMatching, FlowMatchingConfig
from s02jax.models.layers.attention import Either
from s02jax.models.layers.convnext import lengths_to_mask
from s02jax.stages.train_state import (
  OptimizerConfig,
  TrainState,
  accumulate,
  make_optimizer,
  step_key,
  update,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
  """Loss weights, and probabilities of the kinds of rows and attention."""

  mean: float = 1.0  # weight of the regressed mean's error
  scale: float = 0.1  # weight of the regressed scale's log-likelihood
  drop: float = 0.15  # share of rows without any condition
  prompt: float = 0.5  # share of the other rows that have a prompt
  prompt_share: float = 0.6  # longest prompt, as a share of the utterance
  chunk: int = 50  # latents per chunk of block-causal attention
  chunked: float = 0.3  # share of steps with block-causal attention


def masked_mean(x, mask):
  """Mean of x [b, l, c] over channels, and frames where mask [b, l] is true."""
  total = jnp.sum(jnp.where(mask[..., None], x, 0.0))
  return total / jnp.maximum(mask.sum(), 1) / x.shape[-1]


class FlowMatchingStage:
  """Stage that trains `FlowMatching` on whole utterances."""

  name = "flow_matching"
  starts = ()

  def __init__(self, config):
    self.config = config
    self.model_config = build(FlowMatchingConfig, config.model, "model")
    self.loss = build(LossConfig, config.loss, "loss")
    self.mel = build(spectra.LogMel, config.mel, "mel")
    self.optimizer_config = build(
      OptimizerConfig, config.optimizer, "optimizer"
    )
    self.model = FlowMatching(self.model_config)
    self.optimizer = make_optimizer(self.optimizer_config, config.steps)

  def rows(self, corpus: str, split: str, batch_size: int, seed: int):
    """Tokens, standardised latents and another clip of the speaker."""
    return LatentUtterances(
      Corpus.open(corpus, split),
      Features.open(corpus, split),
      batch_size=batch_size,
      seed=seed,
      **self.config.data,
    )

  def batch_specs(self, batch_size: int) -> list[stages.Spec]:
    """Shapes of the batches, one for each bucket of length."""
    c, data = self.model_config, self.config.data
    return [
      stages.batch_spec(
        batch_size,
        tokens=(jnp.int32, tokens(seconds)),
        latents=(
          jnp.float32,
          tokens(seconds) * c.latents_per_token,
          c.channels,
        ),
        length=(jnp.int32,),
        reference=(
          jnp.float32,
          samples(data.reference_seconds, self.mel.rate),
        ),
        reference_samples=(jnp.int32,),
      )
      for seconds in data.buckets
    ]

  def init_state(self, key) -> TrainState:
    """State with random parameters."""
    c = self.model_config
    r = c.latents_per_token
    latents = jnp.zeros((1, 2 * r, c.channels))
    mask = jnp.ones((1, 2 * r), bool)
    variables = self.model.init(
      key,
      tokens=jnp.zeros((1, 2), jnp.int32),
      mel=jnp.zeros((1, 16, c.mel_bins)),
      mel_mask=jnp.ones((1, 16), bool),
      x_t=latents,
      t=jnp.zeros(1),
      prompt_mask=mask,
      prompt=latents,
      mask=mask,
      keep=jnp.ones(1, bool),
      block=None,
    )
    return TrainState.create(variables["params"], self.optimizer)

  def draw(self, key, batch):
    """Noise, times, prompts and dropped conditions of a batch, by the key."""
    keys = jax.random.split(key, 7)
    b, frames, _ = batch["latents"].shape
    offset = jax.random.uniform(keys[0], (1,))
    t = (jnp.arange(b) / b + offset) % 1.0
    length = batch["length"] * self.model_config.latents_per_token
    share = self.loss.prompt_share * jax.random.uniform(keys[1], (b,))
    share *= jax.random.bernoulli(keys[2], self.loss.prompt, (b,))
    chunked = jax.random.bernoulli(keys[3], self.loss.chunked)
    return {
      "noise": jax.random.normal(keys[4], batch["latents"].shape),
      "t": jax.random.permutation(keys[5], t),
      "prompt_mask": lengths_to_mask(jnp.floor(share * length), frames),
      "mask": lengths_to_mask(length, frames),
      "keep": ~jax.random.bernoulli(keys[6], self.loss.drop, (b,)),
      "chunked": chunked,
    }

  def losses(self, params, batch, draw):
    """Loss and metrics of a batch, given the result of `draw`."""
    x1 = jnp.where(draw["mask"][..., None], batch["latents"], 0.0)
    t = draw["t"][:, None, None]
    mel = spectra.log_mel(batch["reference"], self.mel)
    out = self.model.apply(
      {"params": params},
      tokens=batch["tokens"],
      mel=mel,
      mel_mask=lengths_to_mask(
        batch["reference_samples"] // self.mel.hop, mel.shape[1]
      ),
      x_t=(1 - t) * draw["noise"] + t * x1,
      t=draw["t"],
      prompt_mask=draw["prompt_mask"],
      prompt=x1,
      mask=draw["mask"],
      keep=draw["keep"],
      block=Either(draw["chunked"], first=None, second=self.loss.chunk),
    )
    target = x1 - draw["noise"]
    in_loss = draw["mask"] & ~(draw["prompt_mask"] & draw["keep"][:, None])
    flow = masked_mean((out["velocity"] - target) ** 2, in_loss)
    error = (out["mean"] - x1) ** 2
    mean = masked_mean(error, draw["mask"])
    scale = masked_mean(
      0.5 * jax.lax.stop_gradient(error) * jnp.exp(-2 * out["log_scale"])
      + out["log_scale"],
      draw["mask"],
    )
    loss = flow + self.loss.mean * mean + self.loss.scale * scale
    return loss, {"loss": loss, "flow": flow, "mean": mean, "scale": scale}

  def train_step(self, state: TrainState, batch) -> tuple[TrainState, dict]:
    """One pure training step on whole utterances."""
    key = step_key(self.config.seed, state.step)
    batch = batch | {"draw": self.draw(key, batch)}

    def gradients(microbatch):
      draw = microbatch["draw"]
      return jax.grad(self.losses, has_aux=True)(state.params, microbatch, draw)

    grads, metrics = accumulate(gradients, batch, self.config.accumulate)
    state, step_metrics = update(
      state, grads, self.optimizer, self.optimizer_config.ema
    )
    return state, metrics | step_metrics

  def eval_step(self, state: TrainState, batch) -> dict:
    """Losses of the averaged parameters, with one draw for all steps."""
    draw = self.draw(jax.random.key(0), batch)
    return self.losses(state.ema, batch, draw)[1]

  def inference_params(self, state: TrainState) -> dict:
    """Variables of `FlowMatching.apply`, averaged."""
    return {"params": state.ema}

  def flops(self, batch, step=None) -> int:
    """FLOPs of the matrix products of any step, attention scores left out."""
    del step
    b, tokens = batch["tokens"].shape
    latents = tokens * self.model_config.latents_per_token
    mels = batch["reference"].shape[1] // self.mel.hop
    positions = {
      "speaker_encoder": mels,
      "token_stack": tokens,
      "upsample": tokens,
      "embedding": 0,
      "voice": 1,
      "time_mlp": 1,
      "voice_mlp": 1,
      "modulation": 1,
    }
    params = jax.eval_shape(self.init_state, jax.random.key(0)).params
    return sum(
      kernel_flops(tree, b * positions.get(name, latents))
      for name, tree in params.items()
    )


def assume(config):
  """Fills the codes of a large tokenizer and latents of the usual Flow-VAE."""
  config.model.update(num_codes=8192, channels=64, latents_per_token=2)
  config.latents = dict(mean=[0.0] * 64, std=[1.0] * 64)
  return config


def resolve(config):
  """Fills the sizes and statistics of the features that `s02 extract` wrote."""
  stages.check_rate(config, config.mel.rate)
  card = Features.open(config.corpus, "train").card
  config.model.num_codes = card["num_codes"]
  config.model.channels = card["channels"]
  config.model.latents_per_token = card["latents_per_token"]
  config.features = stages.feature_sources(card, "audio_tokenizer", "flow_vae")
  config.latents = dict(mean=card["mean"], std=card["std"])
  return config
