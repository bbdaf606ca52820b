"""Flow matching: audio tokens and a voice to latents of the Flow-VAE.

Report §3.2. x₁ standardised latents, x₀ ~ N(0, I), t in 0..1:

  (1)  x_t = (1 − t) x₀ + t x₁          target velocity  u = x₁ − x₀
  (2)  u ≈ v(x_t, t; c′, v, x_p)

c′ are the audio tokens, embedded, convolved and upsampled to the latent rate; v
is the vector of a speaker encoder trained here; x_p are prompt latents. They
are dropped together, which makes classifier-free guidance possible.

Our addition: the condition also regresses a diagonal Gaussian N(m, s²) of x₁
(trained on its own, gradients stopped towards the velocity). Were x₁ exactly
Gaussian, the velocity would be known in closed form,

  (3)  v* = m + (s² t − (1 − t)) / ((1 − t)² + s² t²) · (x_t − t m),

so the Transformer learns only what (3) lacks: v = v* + Transformer. Where the
conditions are dropped m = 0 and s = 1, the statistics of x₁ itself.

A model that was distilled takes large steps, by one of two other velocities.
With σ(t)² = (1 − t)² + s² t², the Gaussian's are known too:

  (4)  mean velocity from t to a later r, along the curve of (2):
       v* = m + (s² (t + r) − (2 − t − r)) / (σ(t) (σ(t) + σ(r))) · (x_t − t m)
  (5)  velocity of the straight line from x₀ to where (2) takes it, m + s x₀:
       v* = m + (s − 1) / (1 − t + s t) · (x_t − t m)

(4) at r = t is (3). Neither needs guidance: it is in what they have learnt.

Attention is full within a window, and a row may hold several; the look-ahead of
the convolutions, which reach over windows, is stated in the config.

Shape letters: b batch, s tokens, r latents per token, l = s · r latents, c
latent channels, d width, e speaker vector, t mel frames, m mel bins.
"""

import dataclasses
import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from s02jax.models.layers.convnext import (
  ConvStack,
  keep_valid,
  reach,
  split_time,
)
from s02jax.models.layers.linear import Dense, look_up
from s02jax.models.layers.transformer import Stack, TransformerConfig
from s02jax.models.speaker_encoder import SpeakerEncoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowMatchingConfig:
  """Sizes of the flow-matching model."""

  transformer: TransformerConfig
  num_codes: int = 512  # of the audio tokenizer
  channels: int = 64  # of the latents
  latents_per_token: int = 2
  mel_bins: int = 80  # of a reference's log-mel
  condition_width: int = 256  # channels of c′
  # Future frames each convolution block sees, at the token and latent rate.
  token_lookahead: tuple[int, ...] = (2, 2)
  latent_lookahead: tuple[int, ...] = (2, 2)
  speaker_width: int = 128  # channels of the speaker encoder's blocks
  speaker_layers: int = 3  # blocks of the speaker encoder
  speaker_dim: int = 128  # features of the speaker vector
  # Velocity: of the flow at t, its mean until a later time, or that of a
  # straight line (equations 3, 4, 5).
  velocity: Literal["flow", "mean", "line"] = "flow"
  dtype: str = "float32"  # of matrix products; parameters are float32

  @property
  def guided(self) -> bool:
    """Whether the model is solved with guidance: one that is no student."""
    return self.velocity == "flow"

  @property
  def reach(self) -> tuple[int, int]:
    """Tokens to the left and to the right that a condition sees."""
    tokens, latents = reach(self.token_lookahead), reach(self.latent_lookahead)
    left, right = (
      at_tokens + math.ceil(at_latents / self.latents_per_token)
      for at_tokens, at_latents in zip(tokens, latents, strict=True)
    )
    return left, right


def gaussian_velocity(x_t, t, mean, log_scale, end=None):
  """Velocity of a Gaussian x₁ in closed form (equations 3 and 4).

  All arguments broadcast to [b, l, c]; `log_scale` is log s. The velocity is
  the mean one until `end`; without, that of the time t.
  """
  end = t if end is None else end
  scale = jnp.exp(log_scale)
  now, then = (jnp.hypot(1 - r, scale * r) for r in (t, end))
  slope = (scale**2 * (t + end) - (2 - t - end)) / (now * (now + then))
  return mean + slope * (x_t - t * mean)


def line_velocity(x_t, t, mean, log_scale):
  """Velocity of straight lines to a Gaussian x₁ (equation 5).

  All arguments broadcast to [b, l, c]; `log_scale` is log s.
  """
  scale = jnp.exp(log_scale)
  slope = (scale - 1) / (1 - t + scale * t)
  return mean + slope * (x_t - t * mean)


def time_features(t: Float[Array, "b"], size: int) -> Float[Array, "b f"]:
  """Sines and cosines of t at frequencies of 1 to 1,000 radians."""
  frequencies = np.geomspace(1.0, 1000.0, size // 2).astype(np.float32)
  angles = t[:, None] * frequencies[None, :]
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class FlowMatching(nn.Module):
  """Flow-matching model; methods `speaker`, `condition` and `velocity`."""

  config: FlowMatchingConfig

  def setup(self):
    c = self.config
    dtype = jnp.dtype(c.dtype)
    width = c.transformer.width
    self.speaker_encoder = SpeakerEncoder(
      width=c.speaker_width,
      layers=c.speaker_layers,
      out=c.speaker_dim,
      dtype=dtype,
    )
    self.embedding = nn.Embed(c.num_codes, c.condition_width)
    self.voice = Dense(c.condition_width)
    self.token_stack = ConvStack(
      c.condition_width, c.token_lookahead, dtype=dtype
    )
    self.upsample = Dense(c.condition_width * c.latents_per_token, dtype=dtype)
    self.latent_stack = ConvStack(
      c.condition_width, c.latent_lookahead, dtype=dtype
    )
    self.gaussian = Dense(2 * c.channels, dtype=jnp.float32)
    self.into = Dense(width, dtype=dtype)
    self.time_mlp = nn.Sequential([Dense(width), nn.silu, Dense(width)])
    if c.velocity == "mean":
      last = Dense(width, kernel_init=nn.initializers.zeros)
      self.span_mlp = nn.Sequential([Dense(width), nn.silu, last])
    self.voice_mlp = Dense(width)
    self.modulation = Dense(
      6 * width * c.transformer.layers, kernel_init=nn.initializers.zeros
    )
    self.stack = Stack(c.transformer, dtype)
    self.out = Dense(
      c.channels, kernel_init=nn.initializers.zeros, dtype=jnp.float32
    )

  def speaker(
    self, mel: Float[Array, "b t m"], mask: Bool[Array, "b t"]
  ) -> Float[Array, "b e"]:
    """Speaker vector of a reference recording."""
    return self.speaker_encoder(mel, mask)

  def condition(
    self,
    tokens: Int[Array, "b s"],
    mask: Bool[Array, "b s"],
    speaker: Float[Array, "b e"],
  ) -> Float[Array, "b l k"]:
    """Joins c′, m and log s of equation 3; k is the width of c′ + 2 c."""
    c = self.config
    x = look_up(self.embedding.embedding, jnp.where(mask, tokens, 0))
    x = self.token_stack(x + self.voice(speaker)[:, None], mask)
    x = split_time(self.upsample(x), c.latents_per_token)
    mask = jnp.repeat(mask, c.latents_per_token, axis=1)
    x = self.latent_stack(x + self.voice(speaker)[:, None], mask)
    mean, log_scale = jnp.split(self.gaussian(x), 2, axis=-1)
    log_scale = jnp.clip(log_scale, -3.0, 0.5)
    return jnp.concatenate([x, mean, log_scale], axis=-1)

  def split_condition(self, condition):
    """Splits the result of `condition` into c′, m and log s."""
    c = self.config
    return jnp.split(
      condition, [c.condition_width, c.condition_width + c.channels], axis=-1
    )

  def velocity(
    self,
    x_t: Float[Array, "b l c"],
    t: Float[Array, "b"],
    condition: Float[Array, "b l k"],
    speaker: Float[Array, "b e"],
    prompt: Float[Array, "b l c"],
    prompt_mask: Bool[Array, "b l"],
    mask: Bool[Array, "b l"],
    keep: Bool[Array, "b"],
    segment: Int[Array, "b l"] | None = None,
    end: Float[Array, "b"] | None = None,
  ) -> Float[Array, "b l c"]:
    """Velocity of latents (equation 2), float32; zero where masked.

    Args:
      x_t: noisy latents of equation 1.
      t: time, 0 is noise.
      condition: result of `condition`.
      speaker: speaker vectors v.
      prompt: standardised latents x_p where `prompt_mask`, anything elsewhere.
      prompt_mask: latents that are given.
      mask: latents that exist.
      keep: rows that see their conditions; in others all are dropped.
      segment: windows, numbers above 0 where `mask`, that do not see each
        other; None is one.
      end: time until which the velocity is the mean one, at least t; None is
        t. A model of another velocity does not look at it.
    """
    end = t if end is None else end
    kept = keep[:, None, None]
    x_t = keep_valid(x_t, mask)
    condition = jnp.where(kept & mask[..., None], condition, 0)
    prompt_mask = prompt_mask & mask & keep[:, None]
    prompt = keep_valid(prompt, prompt_mask)
    speaker = jnp.where(keep[:, None], speaker, 0)
    features, mean, log_scale = self.split_condition(condition)
    mean, log_scale = jax.lax.stop_gradient((mean, log_scale))
    inputs = jnp.concatenate(
      [x_t, features, mean, prompt, prompt_mask[..., None]], axis=-1
    )
    where = self.time_mlp(time_features(t, 128)) + self.voice_mlp(speaker)
    if self.config.velocity == "mean":
      where += self.span_mlp(time_features(end - t, 128))
    modulation = self.modulation(nn.silu(where))
    layers = self.config.transformer.layers
    modulation = modulation.reshape(len(t), layers, -1).transpose(1, 0, 2)
    positions = jnp.broadcast_to(jnp.arange(mask.shape[1])[None], mask.shape)
    x = self.stack(
      self.into(inputs),
      mask.astype(jnp.int32) if segment is None else segment,
      positions,
      None,
      modulation,
    )
    linear = self._linear(x_t, t, end, mean, log_scale)
    return keep_valid(linear + self.out(x), mask)

  def _linear(self, x_t, t, end, mean, log_scale) -> Float[Array, "b l c"]:
    """Velocity v* of the regressed Gaussian, of the kind that is learnt."""
    t, end = t[:, None, None], end[:, None, None]
    match self.config.velocity:
      case "flow":
        return gaussian_velocity(x_t, t, mean, log_scale)
      case "mean":
        return gaussian_velocity(x_t, t, mean, log_scale, end)
      case "line":
        return line_velocity(x_t, t, mean, log_scale)

  def predict(
    self,
    tokens,
    speaker,
    x_t,
    t,
    prompt_mask,
    prompt,
    mask,
    keep,
    segment=None,
    end=None,
  ) -> dict[str, Array]:
    """Computes velocity, m and log s of equation 3, for training."""
    token_mask = mask[:, :: self.config.latents_per_token]
    condition = self.condition(tokens, token_mask, speaker)
    _, mean, log_scale = self.split_condition(condition)
    velocity = self.velocity(
      x_t, t, condition, speaker, prompt, prompt_mask, mask, keep, segment, end
    )
    return {"velocity": velocity, "mean": mean, "log_scale": log_scale}

  def __call__(self, tokens, mel, mel_mask, **others) -> dict[str, Array]:
    """Computes `predict` in the voice of a reference; applies all of it."""
    return self.predict(tokens, self.speaker(mel, mel_mask), **others)
