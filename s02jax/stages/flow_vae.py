"""Stage: the Flow-VAE (report §3.3), with adversarial losses that start late.

Generator loss = Σ log-mel L1 at several resolutions + compressed complex L1
  + kl · KL per latent dimension + adversarial · hinge + matching · features.

The state holds two parameter sets and two optimizers. Until
`adversarial_start` the discriminators are neither computed nor moved:
regression alone learns faster at equal time. A run that ends before does not
even compile them.

Shape letters: b batch, n samples, t frames, m mel bins.
"""

import dataclasses

import flax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from s02jax import audio, stages
from s02jax.config import build
from s02jax.data.records import Corpus
from s02jax.data.rows import AudioCrops
from s02jax.errors import UserError
from s02jax.models.discriminators import (
  Discriminators,
  DiscriminatorsConfig,
  discriminator_loss,
  feature_matching_loss,
  generator_loss,
)
from s02jax.models.flow_vae import FlowVAE, FlowVAEConfig
from s02jax.stages.corpus import corpus_rate
from s02jax.stages.flops import forward, products
from s02jax.train_state import (
  OptimizerConfig,
  TrainState,
  make_optimizer,
  update,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
  """Weights of the generator's loss."""

  windows: tuple[int, ...] = (2048, 1024, 512, 256)  # samples; hop = a quarter
  mel_bins: tuple[int, ...] = (80, 80, 40, 20)  # one per window
  mel: float = 1.0
  complex: float = 1.0  # compressed complex spectrum at the second window
  kl: float = 0.02  # per latent dimension
  adversarial: float = 0.1
  matching: float = 0.5
  adversarial_start: int = 10**9  # step of the first adversarial update
  dither: float = 1e-4  # noise against digital silence


@flax.struct.dataclass
class State:
  """Both players."""

  generator: TrainState
  discriminator: TrainState

  @property
  def step(self):
    return self.generator.step


def compressed(wave: Float[Array, "b n"], window: int) -> Float[Array, "..."]:
  """Real and imaginary parts of S · |S|^(-0.7), [b, t, f, 2]."""
  spectrum = audio.stft(wave, window, window // 4)
  scale = audio.magnitude_of(spectrum, 1e-5) ** -0.7
  return jnp.stack([spectrum.real, spectrum.imag], -1) * scale[..., None]


def spectral_losses(
  wave: Float[Array, "b n"],
  target: Float[Array, "b n"],
  rate: int,
  config: LossConfig,
) -> dict[str, Float[Array, ""]]:
  """Mean log-mel L1 over the resolutions, and the complex L1."""
  mel = jnp.zeros(())
  for window, bins in zip(config.windows, config.mel_bins, strict=True):
    spec = audio.LogMel(rate=rate, hop=window // 4, window=window, bins=bins)
    mel += jnp.mean(
      jnp.abs(audio.log_mel(wave, spec) - audio.log_mel(target, spec))
    )
  window = config.windows[1]
  error = compressed(wave, window) - compressed(target, window)
  return {
    "mel_l1": mel / len(config.windows),
    "complex_l1": jnp.mean(jnp.abs(error)),
  }


class FlowVAEStage:
  """Trains `FlowVAE` on fixed crops."""

  name = "flow_vae"

  def __init__(self, config):
    self.config = config
    self.model_config = build(FlowVAEConfig, config.model, "model")
    self.loss = build(LossConfig, config.loss, "loss")
    self.optimizer_config = build(
      OptimizerConfig, config.optimizer, "optimizer"
    )
    self.model = FlowVAE(self.model_config)
    self.discriminators = Discriminators(
      build(DiscriminatorsConfig, config.discriminators, "discriminators")
    )
    self.optimizer = make_optimizer(self.optimizer_config, config.steps)
    self.ever_adversarial = self.loss.adversarial_start < config.steps

  def rows(self, corpus: str, split: str, batch_size: int, seed: int):
    """Random crops of the waveform."""
    return AudioCrops(
      Corpus.open(corpus, split),
      batch_size=batch_size,
      seed=seed,
      **self.config.data,
    )

  def batch_specs(self, batch_size: int) -> list[stages.Spec]:
    """The one shape of crops."""
    crop = self.config.data.crop_samples
    return [stages.spec(batch_size, wave=(jnp.float32, crop))]

  def init_state(self, key) -> State:
    """Fresh players."""
    wave = jnp.zeros((1, self.config.data["crop_samples"]))
    first, second = jax.random.split(key)
    return State(
      generator=TrainState.create(
        self.model.init(first, wave, key)["params"], self.optimizer
      ),
      discriminator=TrainState.create(
        self.discriminators.init(second, wave)["params"], self.optimizer
      ),
    )

  def regression(self, params, wave, key):
    """The non-adversarial loss, its metrics and the output waveform."""
    out = self.model.apply({"params": params}, wave, key)
    parts = spectral_losses(out["wave"], wave, self.config.rate, self.loss)
    parts["kl"] = jnp.mean(out["kl"])
    loss = (
      self.loss.mel * parts["mel_l1"]
      + self.loss.complex * parts["complex_l1"]
      + self.loss.kl * parts["kl"]
    )
    return loss, parts | {"spectral": loss}, out["wave"]

  def adversarial(self, params, wave, target):
    """What the discriminators `params` tell the generator."""
    fake = self.discriminators.apply({"params": params}, wave)
    real = self.discriminators.apply({"params": params}, target)
    return self.loss.adversarial * generator_loss(
      fake
    ) + self.loss.matching * feature_matching_loss(real, fake)

  def train_step(self, state: State, batch) -> tuple[State, dict]:
    """One step of the generator, then of the discriminators."""
    key = jax.random.fold_in(jax.random.key(self.config.seed), state.step)
    dither_key, key = jax.random.split(key)
    wave = batch["wave"] + self.loss.dither * jax.random.normal(
      dither_key, batch["wave"].shape
    )
    started = state.step >= self.loss.adversarial_start
    judges = state.discriminator.params

    def generator(params):
      loss, metrics, out = self.regression(params, wave, key)
      against = self.once_started(
        started,
        lambda: self.adversarial(judges, out, wave),
        jnp.zeros(()),
      )
      loss = loss + against
      return loss, (metrics | {"loss": loss, "adversarial": against}, out)

    grads, (metrics, out) = jax.grad(generator, has_aux=True)(
      state.generator.params
    )
    moved, step_metrics = update(
      state.generator, grads, self.optimizer, self.optimizer_config.ema
    )
    discriminator, judge_loss = self.once_started(
      started,
      lambda: self.move_judges(state.discriminator, out, wave),
      (state.discriminator, jnp.zeros(())),
    )
    return State(generator=moved, discriminator=discriminator), (
      metrics | step_metrics | {"discriminator": judge_loss}
    )

  def once_started(self, started, compute, otherwise):
    """`compute()` if adversarial training has started, else `otherwise`."""
    if not self.ever_adversarial:
      return otherwise
    return jax.lax.cond(started, compute, lambda: otherwise)

  def move_judges(self, state: TrainState, fake, real):
    """One step of the discriminators on detached output."""
    fake = jax.lax.stop_gradient(fake)

    def loss(params):
      apply = self.discriminators.apply
      return discriminator_loss(
        apply({"params": params}, real), apply({"params": params}, fake)
      )

    value, grads = jax.value_and_grad(loss)(state.params)
    moved, _ = update(state, grads, self.optimizer, self.optimizer_config.ema)
    return moved, value

  def eval_step(self, state: State, batch) -> dict:
    """Regression losses of the averaged parameters."""
    loss, metrics, _ = self.regression(
      state.generator.ema, batch["wave"], jax.random.key(0)
    )
    return metrics | {"loss": loss}

  def inference_params(self, state: State) -> dict:
    """Variables of `FlowVAE.apply`."""
    return {"params": state.generator.ema}

  def flops(self, batch) -> float:
    """Matrix products of the generator, and of the discriminators where they
    start before the run ends: the generator's step judges two waves and goes
    back to one of them (3), the discriminators' step learns from both (6)."""
    b, n = batch["wave"].shape
    params = jax.eval_shape(self.init_state, jax.random.key(0))
    flops = products(params.generator.params, b * n // self.model_config.hop)
    if not self.ever_adversarial:
      return flops
    judges = {"params": params.discriminator.params}
    return flops + 9 * forward(self.discriminators.apply, judges, batch["wave"])


def assume(config):
  """The rate that the config's hop, a fiftieth of a second, was made for."""
  config.rate = config.model.hop * 50
  return config


def resolve(config):
  """Fills the sample rate, which the hop must divide into 25 a second."""
  if config.accumulate != 1:
    raise UserError(
      f"config.accumulate is {config.accumulate}; the Flow-VAE takes its batch "
      "at once: lower config.batch_size or config.data.crop_samples instead."
    )
  config.rate = corpus_rate(config)
  if config.rate % config.model.hop or (config.rate // config.model.hop) % 25:
    raise UserError(
      f"model.hop is {config.model.hop} at {config.rate} Hz; latents must come"
      " at a multiple of 25 a second."
    )
  return config
