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

from s02jax import stages
from s02jax.audio import spectra
from s02jax.core.config import build
from s02jax.core.errors import UserError
from s02jax.data.records import Corpus
from s02jax.data.rows.audio_crops import AudioCrops
from s02jax.flops import products
from s02jax.models.discriminators import (
  Discriminators,
  DiscriminatorsConfig,
  discriminator_loss,
  feature_matching_loss,
  generator_loss,
)
from s02jax.models.flow_vae import FlowVAE, FlowVAEConfig
from s02jax.stages.corpus import corpus_rate
from s02jax.stages.train_state import (
  OptimizerConfig,
  TrainState,
  make_optimizer,
  step_key,
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


@flax.struct.dataclass
class Verdict:
  """What the discriminators say of an output."""

  adversarial: Float[Array, ""]  # loss of the generator
  gradient: Float[Array, "b n"]  # of that loss, by the output
  discriminator: Float[Array, ""]  # loss of their own


def compressed(wave: Float[Array, "b n"], window: int) -> Float[Array, "..."]:
  """Real and imaginary parts of S · |S|^(-0.7), [b, t, f, 2]."""
  spectrum = spectra.stft(wave, window, window // 4)
  scale = spectra.magnitude_of(spectrum, 1e-5) ** -0.7
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
    self.starts = (self.loss.adversarial_start,)

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
        self.discriminators.init(second, wave), self.optimizer
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

  def train_step(self, state: State, batch) -> tuple[State, dict]:
    """One step of both players, on the output of the generator before it."""
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
    verdict, judges = self.judge(state, out, wave)
    (grads,) = back((jnp.ones(()), verdict.gradient))
    moved, step_metrics = update(
      state.generator, grads, self.optimizer, self.optimizer_config.ema
    )
    return State(generator=moved, discriminator=judges), (
      metrics
      | step_metrics
      | {
        "loss": loss + verdict.adversarial,
        "adversarial": verdict.adversarial,
        "discriminator": verdict.discriminator,
      }
    )

  def judge(self, state: State, fake, real) -> tuple[Verdict, TrainState]:
    """The verdict, and the discriminators one step on; before their start
    nothing counts and nothing moves."""
    silent = Verdict(
      adversarial=jnp.zeros(()),
      gradient=jnp.zeros_like(fake),
      discriminator=jnp.zeros(()),
    )
    if not self.ever_adversarial:
      return silent, state.discriminator
    return jax.lax.cond(
      state.step >= self.loss.adversarial_start,
      lambda: self.contest(state.discriminator, fake, real),
      lambda: (silent, state.discriminator),
    )

  def contest(
    self,
    judges: TrainState,
    fake: Float[Array, "b n"],
    real: Float[Array, "b n"],
  ) -> tuple[Verdict, TrainState]:
    """One pass over both waves, which each player's loss goes back through."""

    def of_generator(*maps) -> Float[Array, ""]:
      return self.loss.adversarial * generator_loss(*maps) + (
        self.loss.matching * feature_matching_loss(*maps)
      )

    found = self.discriminators.contest(
      judges.params, real, fake, of_generator, discriminator_loss
    )
    moved, _ = update(
      judges, found.grads, self.optimizer, self.optimizer_config.ema
    )
    verdict = Verdict(
      adversarial=found.of_fake,
      gradient=found.to_fake,
      discriminator=found.of_params,
    )
    return verdict, moved

  def eval_step(self, state: State, batch) -> dict:
    """Regression losses of the averaged parameters."""
    loss, metrics, _ = self.regression(
      state.generator.ema, batch["wave"], jax.random.key(0)
    )
    return metrics | {"loss": loss}

  def inference_params(self, state: State) -> dict:
    """Variables of `FlowVAE.apply`."""
    return {"params": state.generator.ema}

  def flops(self, batch, step=None) -> float:
    """Matrix products of the generator, and of the discriminators from their
    start on: they see two waves (2), the generator's loss goes back to one of
    them (1), theirs to the parameters and through the layers of both (4)."""
    b, n = batch["wave"].shape
    params = jax.eval_shape(self.init_state, jax.random.key(0))
    flops = products(params.generator.params, b * n // self.model_config.hop)
    judged = step is None or step >= self.loss.adversarial_start
    if not (self.ever_adversarial and judged):
      return flops
    return flops + 7 * self.discriminators.flops(b, n)


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
