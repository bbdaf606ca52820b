"""Discriminators of the Flow-VAE's adversarial loss.

Multi-period (HiFi-GAN, Kong et al. 2020) and multi-resolution (UnivNet, Jang et
al. 2021; on complex spectra as in DAC, Kumar et al. 2023). The report names no
adversarial loss; this is the practice of the field.

Shape letters: b batch, n samples, p period, t frames, f frequency bins.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from s02jax import audio


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscriminatorsConfig:
  """Sizes of the discriminators."""

  periods: tuple[int, ...] = (2, 3, 5, 7, 11)
  period_channels: tuple[int, ...] = (32, 128, 512, 1024)
  windows: tuple[int, ...] = (2048, 1024, 512)  # samples; hop = window / 4
  spectral_channels: int = 32


def _activate(x):
  return nn.leaky_relu(x, 0.1)


class PeriodDiscriminator(nn.Module):
  """Looks at every p-th sample: a strided convolution along each phase."""

  period: int
  channels: tuple[int, ...]

  @nn.compact
  def __call__(self, wave: Float[Array, "b n"]) -> list[Array]:
    """Feature maps, the last is the score [b · p, t, 1]."""
    b, n = wave.shape
    rows = n // self.period
    x = wave[:, : rows * self.period].reshape(b, rows, self.period)
    x = x.transpose(0, 2, 1).reshape(b * self.period, rows, 1)
    features = []
    for i, width in enumerate(self.channels):
      x = _activate(nn.Conv(width, (5,), strides=(3,), name=f"conv_{i}")(x))
      features.append(x)
    x = _activate(nn.Conv(self.channels[-1], (3,), name="conv_last")(x))
    return [*features, x, nn.Conv(1, (3,), name="score")(x)]


class SpectralDiscriminator(nn.Module):
  """Looks at a complex spectrum of one resolution."""

  window: int
  channels: int

  @nn.compact
  def __call__(self, wave: Float[Array, "b n"]) -> list[Array]:
    """Feature maps, the last is the score [b, t, f', 1]."""
    spectrum = audio.stft(wave, self.window, self.window // 4)
    x = jnp.stack([spectrum.real, spectrum.imag], axis=-1)
    features = []
    for i, stride in enumerate((1, 2, 2, 2)):
      x = _activate(
        nn.Conv(self.channels, (3, 9), strides=(1, stride), name=f"conv_{i}")(x)
      )
      features.append(x)
    x = _activate(nn.Conv(self.channels, (3, 3), name="conv_last")(x))
    return [*features, x, nn.Conv(1, (3, 3), name="score")(x)]


class Discriminators(nn.Module):
  """Every discriminator of the config."""

  config: DiscriminatorsConfig

  @nn.compact
  def __call__(self, wave: Float[Array, "b n"]) -> list[list[Array]]:
    """One list of feature maps per discriminator, scores last."""
    c = self.config
    by_period = [
      PeriodDiscriminator(p, c.period_channels, name=f"period_{p}")(wave)
      for p in c.periods
    ]
    by_window = [
      SpectralDiscriminator(w, c.spectral_channels, name=f"window_{w}")(wave)
      for w in c.windows
    ]
    return by_period + by_window


def discriminator_loss(real, fake) -> Float[Array, ""]:
  """Hinge loss, mean over discriminators."""
  losses = [
    jnp.mean(jax.nn.relu(1.0 - r[-1])) + jnp.mean(jax.nn.relu(1.0 + f[-1]))
    for r, f in zip(real, fake, strict=True)
  ]
  return jnp.mean(jnp.stack(losses))


def generator_loss(fake) -> Float[Array, ""]:
  """Hinge loss of the generator, mean over discriminators."""
  losses = [jnp.mean(jax.nn.relu(1.0 - f[-1])) for f in fake]
  return jnp.mean(jnp.stack(losses))


def feature_matching_loss(real, fake) -> Float[Array, ""]:
  """Mean of |real − fake| over mean |real|, over all feature maps."""
  ratios = [
    jnp.mean(jnp.abs(jax.lax.stop_gradient(a) - b))
    / (jnp.mean(jnp.abs(jax.lax.stop_gradient(a))) + 1e-4)
    for r, f in zip(real, fake, strict=True)
    for a, b in zip(r[:-1], f[:-1], strict=True)
  ]
  return jnp.mean(jnp.stack(ratios))
