"""Stage: flow matching on the latents of the Flow-VAE (report §3.2).

Loss = |v − u|² over latents that are neither padding nor prompt
  + mean · |m − x₁|² + scale · Gaussian log-likelihood of log s alone.

Every step draws for each row where it is cut, if at all, into two windows that
do not see each other, as synthesis cuts what it streams: the second begins in
the middle of an utterance, and conditions reach over the cut. Each window has a
prompt (its own beginning, outside the loss) or none, and a row has all of its
conditions or none. The draw is a function of the step's number.

Shape letters: as in `models/flow_matching.py`.
"""

import dataclasses

import jax
import jax.numpy as jnp

from s02jax import stages
from s02jax.audio import spectra
from s02jax.core.config import build
from s02jax.core.rates import samples, tokens
from s02jax.data.digest import corpus_digest
from s02jax.data.features import Features
from s02jax.data.records import Corpus
from s02jax.data.rows.latent_utterances import LatentUtterances
from s02jax.flops import kernel_flops
from s02jax.models.flow_matching import FlowMatching, FlowMatchingConfig
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
  """Loss weights, and probabilities of the kinds of rows and windows."""

  mean: float = 1.0  # weight of the regressed mean's error
  scale: float = 0.1  # weight of the regressed scale's log-likelihood
  drop: float = 0.15  # share of rows without any condition
  cut: float = 0.3  # share of rows that are cut into two windows
  prompt: float = 0.5  # share of windows that have a prompt
  prompt_share: float = 0.85  # longest prompt, as a share of the window


def masked_mean(x, mask):
  """Mean of x [b, l, c] over channels, and frames where mask [b, l] is true."""
  total = jnp.sum(jnp.where(mask[..., None], x, 0.0))
  return total / jnp.maximum(mask.sum(), 1) / x.shape[-1]


class FlowMatchingStage:
  """Stage that trains `FlowMatching` on utterances, whole and in windows."""

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
    opened = Corpus.open(corpus, split)
    return LatentUtterances(
      **self.row_arguments(corpus, opened, batch_size, seed)
    )

  def row_arguments(
    self, corpus: str, opened: Corpus, batch_size: int, seed: int
  ) -> dict:
    """Arguments of `LatentUtterances` for an opened split of a corpus."""
    return dict(
      corpus=opened,
      features=Features.open(corpus, opened.split),
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
    )
    return TrainState.create(variables["params"], self.optimizer)

  def draw(self, key, batch):
    """Noise, times, windows, prompts and dropped conditions, by the key."""
    keys = jax.random.split(key, 5)
    b, frames, _ = batch["latents"].shape
    offset = jax.random.uniform(keys[0], (1,))
    t = (jnp.arange(b) / b + offset) % 1.0
    segment, prompt_mask = self.windows(keys[1], batch["length"], frames)
    return {
      "noise": jax.random.normal(keys[2], batch["latents"].shape),
      "t": jax.random.permutation(keys[3], t),
      "prompt_mask": prompt_mask,
      "segment": segment,
      "keep": ~jax.random.bernoulli(keys[4], self.loss.drop, (b,)),
    }

  def windows(self, key, tokens, frames: int):
    """Windows int32[b, l] of rows of some tokens, and bool[b, l] of prompts.

    Windows have the numbers 1 and 2, padding 0. Cuts are denser towards both
    ends of a row, so that short windows occur in rows of any length.
    """
    keys = jax.random.split(key, 4)
    r, b = self.model_config.latents_per_token, len(tokens)
    place = jax.random.uniform(keys[0], (b,), minval=-1.0)
    place = jnp.where(place > 0, place**2, 1 - place**2)
    place = jnp.where(
      jax.random.bernoulli(keys[1], self.loss.cut, (b,)), place, 1.0
    )
    end = tokens[:, None] * r
    cut = jnp.floor(place * tokens)[:, None] * r
    share = self.loss.prompt_share * jax.random.uniform(keys[2], (b, 2))
    share *= jax.random.bernoulli(keys[3], self.loss.prompt, (b, 2))
    given = jnp.floor(share * jnp.concatenate([cut, end - cut], axis=1))
    frame = jnp.arange(frames)[None]
    second = frame >= cut
    prompt = jnp.where(second, frame - cut < given[:, 1:], frame < given[:, :1])
    return jnp.where(frame < end, 1 + second, 0), prompt & (frame < end)

  def prepared(self, batch, key=None) -> dict:
    """Batch with its draw; without a key the draw of evaluation."""
    return batch | {
      "draw": self.draw(jax.random.key(0) if key is None else key, batch)
    }

  def speakers(self, params, batch):
    """Speaker vectors f32[b, e] of the references of a batch."""
    mel = spectra.log_mel(batch["reference"], self.mel)
    mask = lengths_to_mask(
      batch["reference_samples"] // self.mel.hop, mel.shape[1]
    )
    return self.model.apply({"params": params}, mel, mask, method="speaker")

  def objective(self, params, batch, vector=None, target=None):
    """Loss and metrics of a prepared batch.

    Args:
      params: parameters of the model.
      batch: result of `prepared`.
      vector: f32[e], speaks all rows, in place of their references.
      target: velocity f32[b, l, c] to be learnt; None is u of equation 1.
    """
    draw = batch["draw"]
    mask = draw["segment"] > 0
    x1 = jnp.where(mask[..., None], batch["latents"], 0.0)
    t = draw["t"][:, None, None]
    if vector is None:
      speakers = self.speakers(params, batch)
    else:
      speakers = jnp.broadcast_to(vector, (len(x1), len(vector)))
    out = self.model.apply(
      {"params": params},
      tokens=batch["tokens"],
      speaker=speakers,
      x_t=(1 - t) * draw["noise"] + t * x1,
      t=draw["t"],
      prompt_mask=draw["prompt_mask"],
      prompt=x1,
      mask=mask,
      keep=draw["keep"],
      segment=draw["segment"],
      end=draw.get("end"),
      method="predict",
    )
    target = x1 - draw["noise"] if target is None else target
    in_loss = mask & ~(draw["prompt_mask"] & draw["keep"][:, None])
    flow = masked_mean((out["velocity"] - target) ** 2, in_loss)
    error = (out["mean"] - x1) ** 2
    mean = masked_mean(error, mask)
    scale = masked_mean(
      0.5 * jax.lax.stop_gradient(error) * jnp.exp(-2 * out["log_scale"])
      + out["log_scale"],
      mask,
    )
    loss = flow + self.loss.mean * mean + self.loss.scale * scale
    return loss, {"loss": loss, "flow": flow, "mean": mean, "scale": scale}

  def train_step(self, state: TrainState, batch) -> tuple[TrainState, dict]:
    """One pure training step on a batch of rows."""
    batch = self.prepared(batch, step_key(self.config.seed, state.step))

    def gradients(micro):
      return jax.grad(self.objective, has_aux=True)(state.params, micro)

    grads, metrics = accumulate(
      gradients, batch, self.config.accumulate, weight=self.weight
    )
    state, step_metrics = update(
      state, grads, self.optimizer, self.optimizer_config.ema
    )
    return state, metrics | step_metrics

  def eval_step(self, state: TrainState, batch) -> dict:
    """Losses of the averaged parameters, with one draw for all steps."""
    return self.objective(state.ema, self.prepared(batch))[1]

  def weight(self, batch):
    """Weight of a batch in an average of losses: all are alike."""
    del batch
    return jnp.float32(1.0)

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
  config.corpus_digest = corpus_digest(config.corpus, "records", "features")
  return config
