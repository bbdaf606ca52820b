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
  dtype: str = "float32"  # of the computation; scores are float32


def _activate(x):
  return nn.leaky_relu(x, 0.1)


def with_neighbours(x: Float[Array, "b t f c"]) -> Float[Array, "b t f 3*c"]:
  """A frame's channels beside those of the frames before and after it.

  A convolution over 3 frames and k bins is one over k bins of this, which
  fills a TPU's lanes and is sooner compiled for one.
  """
  padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
  shifted = [padded[:, i : i + x.shape[1]] for i in range(3)]
  return jnp.concatenate(shifted, axis=-1)


class PeriodDiscriminator(nn.Module):
  """Looks at every p-th sample: a strided convolution along each phase."""

  period: int
  channels: tuple[int, ...]
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, wave: Float[Array, "b n"]) -> list[Array]:
    """Feature maps, the last is the score [b · p, t, 1]."""
    b, n = wave.shape
    rows = n // self.period
    x = wave[:, : rows * self.period].reshape(b, rows, self.period)
    x = x.transpose(0, 2, 1).reshape(b * self.period, rows, 1)
    features = []
    for i, width in enumerate(self.channels):
      conv = nn.Conv(width, (5,), (3,), dtype=self.dtype, name=f"conv_{i}")
      x = _activate(conv(x))
      features.append(x)
    last = nn.Conv(self.channels[-1], (3,), dtype=self.dtype, name="conv_last")
    x = _activate(last(x))
    score = nn.Conv(1, (3,), dtype=jnp.float32, name="score")
    return [*features, x, score(x)]


class SpectralDiscriminator(nn.Module):
  """Looks at a complex spectrum of one resolution."""

  window: int
  channels: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, wave: Float[Array, "b n"]) -> list[Array]:
    """Feature maps, the last is the score [b, t, f', 1]."""
    spectrum = audio.stft(wave, self.window, self.window // 4)
    x = jnp.stack([spectrum.real, spectrum.imag], axis=-1).astype(self.dtype)

    def conv(name, x, bins, stride=1):
      return nn.Conv(
        self.channels, (bins,), (stride,), dtype=self.dtype, name=name
      )(with_neighbours(x))

    features = []
    for i, stride in enumerate((1, 2, 2, 2)):
      x = _activate(conv(f"conv_{i}", x, 9, stride))
      features.append(x)
    x = _activate(conv("conv_last", x, 3))
    score = nn.Conv(1, (3,), dtype=jnp.float32, name="score")
    return [*features, x, score(with_neighbours(x))]


class Discriminators(nn.Module):
  """Every discriminator of the config."""

  config: DiscriminatorsConfig

  @nn.compact
  def __call__(self, wave: Float[Array, "b n"]) -> list[list[Array]]:
    """One list of feature maps per discriminator, scores last."""
    c = self.config
    dtype = jnp.dtype(c.dtype)
    by_period = [
      PeriodDiscriminator(p, c.period_channels, dtype, name=f"period_{p}")(wave)
      for p in c.periods
    ]
    by_window = [
      SpectralDiscriminator(w, c.spectral_channels, dtype, name=f"window_{w}")(
        wave
      )
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
