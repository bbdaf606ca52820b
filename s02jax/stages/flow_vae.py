"""Stage: the Flow-VAE (report §3.3), with adversarial losses that start late.

Generator loss = Σ log-mel L1 at several resolutions + compressed complex L1
  + kl · KL per latent dimension + adversarial · hinge + matching · features.

There is no L1 of the waveform: it teaches the latents phases, which flow
matching cannot foresee from tokens.

The state holds generator and discriminators, each with an optimizer. Until
`adversarial_start` the discriminators are neither computed nor updated:
regression alone learns faster in equal time. A run that ends before does not
even compile them.

Shape letters: b batch, n samples, t frames, m mel bins.
"""

import dataclasses

import flax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from s02jax import stages
from s02jax.audio import spectra
from s02jax.core.config import build
from s02jax.core.errors import UserError
from s02jax.data.digest import corpus_digest
from s02jax.data.records import Corpus
from s02jax.data.rows.audio_crops import AudioCrops
from s02jax.flops import kernel_flops
from s02jax.models.discriminators import (
  Discriminators,
  DiscriminatorsConfig,
  discriminator_loss,
  feature_matching_loss,
  generator_loss,
)
from s02jax.models.flow_vae import FlowVAE, FlowVAEConfig
from s02jax.stages.train_state import (
  OptimizerConfig,
  TrainState,
  make_optimizer,
  step_key,
  update,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
  """Resolutions and weights of the generator's loss."""

  windows: tuple[int, ...] = (2048, 1024, 512, 256)  # samples; hop = a quarter
  mel_bins: tuple[int, ...] = (80, 80, 40, 20)  # mel bands, one per window
  mel: float = 1.0  # weight of the log-mel L1
  complex: float = 1.0  # weight of the complex L1, at the second window
  kl: float = 0.02  # weight of the KL divergence per latent dimension
  adversarial: float = 0.1  # weight of the hinge loss
  matching: float = 0.5  # weight of feature matching
  adversarial_start: int = 10**9  # step of the first adversarial update
  dither: float = 1e-4  # standard deviation of noise added to the input


@flax.struct.dataclass
class State:
  """Training state of generator and discriminators."""

  generator: TrainState
  discriminator: TrainState

  @property
  def step(self):
    """Steps taken, int32 scalar."""
    return self.generator.step


@flax.struct.dataclass
class AdversarialLosses:
  """Losses of generator and discriminators on one output waveform."""

  adversarial: Float[Array, ""]  # weighted loss of the generator
  gradient: Float[Array, "b n"]  # gradient of that loss by the output
  discriminator: Float[Array, ""]  # loss of the discriminators


def compressed(wave: Float[Array, "b n"], window: int) -> Float[Array, "..."]:
  """Compressed spectrum S · |S|^(-0.7), real and imaginary, [b, t, f, 2]."""
  spectrum = spectra.stft(wave, window, window // 4)
  scale = spectra.magnitude_of(spectrum, 1e-5) ** -0.7
  return jnp.stack([spectrum.real, spectrum.imag], -1) * scale[..., None]


def spectral_losses(
  wave: Float[Array, "b n"],
  target: Float[Array, "b n"],
  rate: int,
  config: LossConfig,
) -> dict[str, Float[Array, ""]]:
  """Mean log-mel L1 over the resolutions, and complex L1 at the second."""
  mel = jnp.zeros(())
  for window, bins in zip(config.windows, config.mel_bins, strict=True):
    spec = spectra.LogMel(rate=rate, hop=window // 4, window=window, bins=bins)
    mel += jnp.mean(
      jnp.abs(spectra.log_mel(wave, spec) - spectra.log_mel(target, spec))
    )
  window = config.windows[1]
  error = compressed(wave, window) - compressed(target, window)
  return {
    "mel_l1": mel / len(config.windows),
    "complex_l1": jnp.mean(jnp.abs(error)),
  }


class FlowVAEStage:
  """Stage that trains `FlowVAE` on crops of one length."""

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
    self.starts = (self.loss.adversarial_start,)

  def rows(self, corpus: str, split: str, batch_size: int, seed: int):
    """Random crops of the recordings."""
    return AudioCrops(
      Corpus.open(corpus, split),
      batch_size=batch_size,
      seed=seed,
      **self.config.data,
    )

  def batch_specs(self, batch_size: int) -> list[stages.Spec]:
    """Shape of the crops, one for all."""
    crop = self.config.data.crop_samples
    return [stages.batch_spec(batch_size, wave=(jnp.float32, crop))]

  def init_state(self, key) -> State:
    """State with random parameters of generator and discriminators."""
    wave = jnp.zeros((1, self.config.data["crop_samples"]))
    first, second = jax.random.split(key)
    return State(
      generator=TrainState.create(
        self.model.init(first, wave, key)["params"], self.optimizer
      ),
      discriminator=TrainState.create(
        self.discriminators.init(second, wave), self.optimizer
      ),
    )

  def regression(self, params, wave, key):
    """Non-adversarial loss, its metrics and the output waveform."""
    out = self.model.apply({"params": params}, wave, key)
    parts = spectral_losses(out["wave"], wave, self.config.rate, self.loss)
    parts["kl"] = jnp.mean(out["kl"])
    loss = (
      self.loss.mel * parts["mel_l1"]
      + self.loss.complex * parts["complex_l1"]
      + self.loss.kl * parts["kl"]
    )
    return loss, parts | {"spectral": loss}, out["wave"]

  def train_step(self, state: State, batch) -> tuple[State, dict]:
    """One pure training step of generator and discriminators."""
    key = step_key(self.config.seed, state.step)
    dither_key, key = jax.random.split(key)
    wave = batch["wave"] + self.loss.dither * jax.random.normal(
      dither_key, batch["wave"].shape
    )

    def generator(params):
      loss, metrics, out = self.regression(params, wave, key)
      return (loss, out), metrics

    (loss, out), back, metrics = jax.vjp(
      generator, state.generator.params, has_aux=True
    )
    # Both are judged by the output of the generator before this step.
    losses, discriminator = self.adversarial(state, out, wave)
    (grads,) = back((jnp.ones(()), losses.gradient))
    moved, step_metrics = update(
      state.generator, grads, self.optimizer, self.optimizer_config.ema
    )
    return State(generator=moved, discriminator=discriminator), (
      metrics
      | step_metrics
      | {
        "loss": loss + losses.adversarial,
        "adversarial": losses.adversarial,
        "discriminator": losses.discriminator,
      }
    )

  def adversarial(
    self,
    state: State,
    fake: Float[Array, "b n"],
    real: Float[Array, "b n"],
  ) -> tuple[AdversarialLosses, TrainState]:
    """Adversarial losses and the discriminators' next state.

    Before `adversarial_start` the losses are zero and the state is as it was.
    """
    none = AdversarialLosses(
      adversarial=jnp.zeros(()),
      gradient=jnp.zeros_like(fake),
      discriminator=jnp.zeros(()),
    )
    if not self.ever_adversarial:
      return none, state.discriminator
    return jax.lax.cond(
      state.step >= self.loss.adversarial_start,
      lambda: self.adversarial_step(state.discriminator, fake, real),
      lambda: (none, state.discriminator),
    )

  def adversarial_step(
    self,
    state: TrainState,
    fake: Float[Array, "b n"],
    real: Float[Array, "b n"],
  ) -> tuple[AdversarialLosses, TrainState]:
    """One pass of the discriminators, which both losses go back through.

    Args:
      state: state of the discriminators.
      fake: output of the generator.
      real: recordings.

    Returns:
      Losses, and the state of the discriminators after their update.
    """

    def of_generator(*maps) -> Float[Array, ""]:
      return self.loss.adversarial * generator_loss(*maps) + (
        self.loss.matching * feature_matching_loss(*maps)
      )

    found = self.discriminators.contest(
      state.params, real, fake, of_generator, discriminator_loss
    )
    moved, _ = update(
      state, found.grads, self.optimizer, self.optimizer_config.ema
    )
    losses = AdversarialLosses(
      adversarial=found.of_fake,
      gradient=found.to_fake,
      discriminator=found.of_params,
    )
    return losses, moved

  def eval_step(self, state: State, batch) -> dict:
    """Regression losses of the averaged parameters."""
    loss, metrics, _ = self.regression(
      state.generator.ema, batch["wave"], jax.random.key(0)
    )
    return metrics | {"loss": loss}

  def inference_params(self, state: State) -> dict:
    """Variables of `FlowVAE.apply`, averaged."""
    return {"params": state.generator.ema}

  def flops(self, batch, step=None) -> float:
    """FLOPs of the matrix products; from their start on, with discriminators.

    Discriminators see two waves (2), the generator's loss goes back to one of
    them (1), their own to the parameters and through the layers of both (4).
    """
    b, n = batch["wave"].shape
    params = jax.eval_shape(self.init_state, jax.random.key(0))
    model, generator = self.model_config, params.generator.params
    fine = {k: generator["vocoder"][k] for k in ("fine", "head")}
    flops = kernel_flops(generator, b * n // model.hop) + kernel_flops(
      fine, b * n // model.decoder_hop - b * n // model.hop
    )
    judged = step is None or step >= self.loss.adversarial_start
    if not (self.ever_adversarial and judged):
      return flops
    return flops + 7 * self.discriminators.flops(b, n)


def assume(config):
  """Fills the sample rate at which the hop is a fiftieth of a second."""
  config.rate = config.model.hop * 50
  return config


def resolve(config):
  """Fills the sample rate.

  Raises:
    UserError: latents would not come at a multiple of 25 a second, or the
      config asks for microbatches.
  """
  if config.accumulate != 1:
    raise UserError(
      f"config.accumulate is {config.accumulate}; the Flow-VAE takes its batch "
      "at once: lower config.batch_size or config.data.crop_samples instead."
    )
  config.rate = stages.corpus_rate(config)
  if config.rate % config.model.hop or (config.rate // config.model.hop) % 25:
    raise UserError(
      f"model.hop is {config.model.hop} at {config.rate} Hz; latents must come"
      " at a multiple of 25 a second."
    )
  config.corpus_digest = corpus_digest(config.corpus, "records")
  return config
