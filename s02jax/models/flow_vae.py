"""Flow-VAE: a waveform autoencoder with a normalizing flow in its KL term.

Report §3.3. x waveform, z latent, g: z → z̃ an invertible flow.

  (1)  z ~ N(μ_φ(x), σ_φ(x))
  (2)  z̃ = g(z)
  (3)  KL = log N(z; μ, σ) − log|det ∂g/∂z| − log N(z̃; 0, I)
  (4)  x̂ = decoder(z)                 z before the flow, as for flow matching

The encoder sees windowed waveform frames beside their log-magnitude spectrum,
so no information is lost; the decoder is a ConvNeXt vocoder that ends in an
inverse STFT (Vocos). Its last blocks work on finer frames than the latents': a
window of two latent frames would blur what moves within it. Every large
operation is a matrix product. With `flow_layers=0` g is the identity and (3) is
the KL of a plain VAE.

Shape letters: b batch, n samples, t latent frames, s vocoder frames, c latent
channels, w window, f frequency bins, d width.
"""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from s02jax.audio import spectra
from s02jax.models.layers.convnext import (
  ConvStack,
  keep_valid,
  layer_norm,
  reach,
  split_time,
)
from s02jax.models.layers.linear import Dense
from s02jax.models.layers.scanned import scanned

LOG_2PI = float(np.log(2 * np.pi))


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowVAEConfig:
  """Sizes of the Flow-VAE."""

  hop: int = 320  # samples per latent frame
  encoder_window: int = 640  # samples, a multiple of hop
  decoder_split: int = 2  # frames of the inverse STFT in a latent frame
  decoder_window: int = 640  # samples, a multiple of decoder_hop
  channels: int = 64  # of z, even
  encoder_width: int = 256
  encoder_blocks: int = 3
  decoder_width: int = 256
  # Future frames that each vocoder block sees, of blocks at the latents' rate
  # and of those behind them at the rate of the inverse STFT.
  decoder_lookahead: tuple[int, ...] = (3, 3, 0, 0)
  decoder_fine_lookahead: tuple[int, ...] = (0,)
  flow_layers: int = 4  # affine couplings; 0 is a plain VAE
  flow_width: int = 128
  # Of the encoder's matrix products; parameters, flow and vocoder are float32.
  dtype: str = "float32"

  @property
  def decoder_hop(self) -> int:
    """Samples from frame to frame of the inverse STFT."""
    return self.hop // self.decoder_split

  @property
  def decoder_reach(self) -> tuple[int, int]:
    """Latent frames to the left and right that a frame of sound depends on."""
    overlap = self.decoder_window // self.decoder_hop // 2
    left, right = reach(self.decoder_lookahead)
    before, behind = reach(self.decoder_fine_lookahead)
    # Parts of a latent frame count as one.
    return (
      left + math.ceil((before + overlap) / self.decoder_split),
      right + math.ceil((behind + overlap) / self.decoder_split),
    )


class Coupling(nn.Module):
  """Affine coupling (a, b) → (b · exp(s(a)) + m(a), a) of channel halves.

  The halves change places, so that in a stack each conditions the other.
  """

  width: int  # channels of the network that gives s and m
  channels: int  # c

  def setup(self):
    self.hidden = ConvStack(self.width, (1,), kernel=3)
    self.out = Dense(self.channels, kernel_init=nn.initializers.zeros)

  def scale_and_shift(self, a, mask):
    log_scale, shift = jnp.split(self.out(self.hidden(a, mask)), 2, axis=-1)
    return 1.5 * jnp.tanh(log_scale / 1.5), shift

  def __call__(self, z, mask):
    a, b = jnp.split(z, 2, axis=-1)
    log_scale, shift = self.scale_and_shift(a, mask)
    moved = b * jnp.exp(log_scale) + shift
    return jnp.concatenate((moved, a), axis=-1), jnp.sum(log_scale, axis=-1)

  def inverse(self, z, mask):
    moved, a = jnp.split(z, 2, axis=-1)
    log_scale, shift = self.scale_and_shift(a, mask)
    return jnp.concatenate((a, (moved - shift) * jnp.exp(-log_scale)), axis=-1)


class Flow(nn.Module):
  """Normalizing flow g (equation 2): an affine map, then affine couplings."""

  channels: int
  layers: int
  width: int

  def setup(self):
    if self.layers:
      shape = (self.channels,)
      self.log_scale = self.param("log_scale", nn.initializers.zeros, shape)
      self.shift = self.param("shift", nn.initializers.zeros, shape)
      self.couplings = Coupling(self.width, self.channels)

  def scale(self):
    return jnp.exp(self.log_scale)[None, None]

  def __call__(
    self, z: Float[Array, "b t c"], mask: Bool[Array, "b t"] | None = None
  ) -> tuple[Float[Array, "b t c"], Float[Array, "b t"]]:
    """Maps z to z̃ and each frame's share of log|det ∂g/∂z|, float32."""
    z = z.astype(jnp.float32)
    if not self.layers:
      return z, jnp.zeros(z.shape[:2], jnp.float32)
    z = z * self.scale() + self.shift[None, None]
    z, changes = scanned(Coupling.__call__, self.layers)(
      self.couplings, z, mask
    )
    return z, jnp.sum(self.log_scale) + jnp.sum(changes, axis=0)

  def inverse(
    self, z: Float[Array, "b t c"], mask: Bool[Array, "b t"] | None = None
  ) -> Float[Array, "b t c"]:
    """Inverts the flow: z̃ to z."""
    if not self.layers:
      return z
    z, _ = scanned(
      lambda coupling, z, mask: (coupling.inverse(z, mask), None),
      self.layers,
      reverse=True,
    )(self.couplings, z, mask)
    return (z - self.shift[None, None]) / self.scale()


class Encoder(nn.Module):
  """Encoder: waveform to μ and log σ (equation 1), one frame per hop."""

  config: FlowVAEConfig

  @nn.compact
  def __call__(self, wave, mask):
    c = self.config
    frames = spectra.frame(wave, c.encoder_window, c.hop)
    frames = frames * spectra.hann(c.encoder_window)[None, None]
    spectrum = spectra.rfft(frames)
    power = spectrum.real**2 + spectrum.imag**2
    # The spectrum tells how loud a frame is. Its shape has unit variance, or
    # the features would hold little of its phases, least in quiet frames.
    rms = jnp.sqrt(jnp.mean(frames**2, axis=-1, keepdims=True) + 1e-6)
    features = jnp.concatenate(
      [frames / rms, 0.3 * jnp.log(power + 1e-4) + 1.0], axis=-1
    )
    x = ConvStack(
      c.encoder_width,
      (3,) * c.encoder_blocks,
      dtype=jnp.dtype(c.dtype),
      name="stack",
    )(features, mask)
    out = Dense(2 * c.channels, dtype=jnp.float32, name="out")(x)
    mu, log_sigma = jnp.split(out, 2, axis=-1)
    return mu, jnp.clip(log_sigma - 1.0, -7.0, 2.0)


class Vocoder(nn.Module):
  """Vocoder: latents to waveform (equation 4), by ConvNeXt and inverse STFT."""

  config: FlowVAEConfig

  @nn.compact
  def __call__(self, z, mask):
    c = self.config
    x = ConvStack(c.decoder_width, c.decoder_lookahead, name="stack")(z, mask)
    # A latent frame's channels are those of its vocoder frames side by side.
    x = split_time(x, c.decoder_split)
    if mask is not None:
      mask = jnp.repeat(mask, c.decoder_split, axis=1)
    x = ConvStack(c.decoder_width, c.decoder_fine_lookahead, name="fine")(
      x, mask
    )
    x = layer_norm(x, "norm")
    bins = c.decoder_window // 2 + 1
    x = Dense(2 * bins, dtype=jnp.float32, name="head")(x)
    log_magnitude, phase = jnp.split(x, 2, axis=-1)
    magnitude = keep_valid(jnp.exp(jnp.minimum(log_magnitude, 5.0)), mask)
    spectrum = jax.lax.complex(
      magnitude * jnp.cos(phase), magnitude * jnp.sin(phase)
    )
    return inverse_stft(spectrum, c.decoder_window, c.decoder_hop, mask)


def inverse_stft(
  spectrum: Complex[Array, "b t f"],
  window: int,
  hop: int,
  mask: Bool[Array, "b t"] | None = None,
) -> Float[Array, "b n"]:
  """Least-squares inverse of `spectra.stft` over the frames of the mask."""
  shape = spectra.hann(window)[None, None]
  frames = spectra.irfft(spectrum) * shape
  weights = jnp.broadcast_to(shape**2, frames.shape)
  envelope = spectra.overlap_add(keep_valid(weights, mask), hop)
  return spectra.overlap_add(frames, hop) / jnp.maximum(envelope, 1e-2)


class FlowVAE(nn.Module):
  """Flow-VAE; methods `encode`, `decode`, `flow` and `unflow`."""

  config: FlowVAEConfig

  def setup(self):
    c = self.config
    self.encoder = Encoder(c)
    self.vocoder = Vocoder(c)
    self.g = Flow(c.channels, c.flow_layers, c.flow_width)

  def encode(
    self,
    wave: Float[Array, "b n"],
    mask: Bool[Array, "b t"] | None = None,
  ) -> tuple[Float[Array, "b t c"], Float[Array, "b t c"]]:
    """Encodes a waveform to μ and log σ (equation 1), float32, t = n // hop.

    Samples in masked frames must be finite; they reach no valid frame but the
    window's overhang, as silence would.
    """
    return self.encoder(wave, mask)

  def decode(
    self,
    z: Float[Array, "b t c"],
    mask: Bool[Array, "b t"] | None = None,
  ) -> Float[Array, "b n"]:
    """Decodes latents to a waveform (equation 4), float32, n = t · hop."""
    return self.vocoder(z, mask)

  def flow(self, z, mask=None):
    """Maps z to z̃ and log|det ∂g/∂z| per frame (equation 2)."""
    return self.g(z, mask)

  def unflow(self, z, mask=None):
    """Maps z̃ back to z, the inverse of equation 2."""
    return self.g.inverse(z, mask)

  def __call__(self, wave: Float[Array, "b n"], key) -> dict[str, Array]:
    """Encodes, samples and decodes, for training.

    Returns:
      wave [b, n], z [b, t, c], and kl [b, t] (equation 3) in nats per latent
      dimension.
    """
    mu, log_sigma = self.encode(wave)
    noise = jax.random.normal(key, mu.shape)
    z = mu + jnp.exp(log_sigma) * noise
    z_tilde, log_det = self.flow(z)
    log_q = -0.5 * noise**2 - log_sigma - 0.5 * LOG_2PI
    log_p = -0.5 * z_tilde**2 - 0.5 * LOG_2PI
    kl = jnp.sum(log_q - log_p, axis=-1) - log_det
    return {"wave": self.decode(z), "kl": kl / self.config.channels, "z": z}
