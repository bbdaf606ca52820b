"""Learnable speaker encoder: speech of any length to one vector.

Neighbouring log-mel frames are joined, pass ConvNeXt blocks and are pooled by
attention: every head weighs time for its own share of the features. Padding
frames, NaN included, reach nothing, and padding a clip does not change its
vector.

Shape letters:
  b batch    t log-mel frames    p joined frames    m mel bins    d width
  h pooling heads    o output
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from s02jax.models.layers.convnext import (
  ConvStack,
  keep_valid,
  layer_norm,
  merge_time,
)
from s02jax.models.layers.linear import Dense
from s02jax.sharding import shard


def unit_power(z: Float[Array, "*b o"]) -> Float[Array, "*b o"]:
  """Scales to mean square one; zeros stay zeros, with a finite gradient."""
  power = jnp.mean(jnp.square(z), axis=-1, keepdims=True)
  return z * jax.lax.rsqrt(power + 1e-6)


class SpeakerEncoder(nn.Module):
  """Speaker encoder: log-mel [b, t, m] and its mask to float32 [b, out].

  The vector has mean square one; a clip without a valid frame gives zeros.
  Parameters are float32 whatever `dtype`, that of the products, is.
  """

  width: int  # channels of the blocks, a multiple of heads
  layers: int  # ConvNeXt blocks
  out: int  # features of the vector
  join: int = 2  # log-mel frames of one position
  heads: int = 4  # of the pooling
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, mel: Float[Array, "b t m"], mask: Bool[Array, "b t"]
  ) -> Float[Array, "b o"]:
    short = -mel.shape[1] % self.join
    mel = jnp.pad(keep_valid(mel, mask), ((0, 0), (0, short), (0, 0)))
    mask = jnp.pad(mask, ((0, 0), (0, short)))
    mask = mask.reshape(mask.shape[0], -1, self.join).any(-1)
    x = ConvStack(
      self.width, (3,) * self.layers, dtype=self.dtype, name="body"
    )(merge_time(mel.astype(self.dtype), self.join), mask)

    x = layer_norm(x, "pool_norm")
    scores = Dense(self.heads, name="pool_scores")(x)
    scores = jnp.where(mask[:, :, None], scores, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=1)
    shares = keep_valid(x, mask).reshape(*x.shape[:2], self.heads, -1)
    # Every sharding is stated: left alone, the partitioner loses gradients.
    shares = shard(shares, "batch", "time", None, None)
    pooled = jnp.einsum("bph,bphd->bhd", weights, shares)
    pooled = shard(pooled, "batch", None, None).reshape(-1, self.width)
    pooled = shard(pooled, "batch", "embed")
    vector = shard(Dense(self.out, name="out")(pooled), "batch", "embed")
    return jnp.where(mask.any(1)[:, None], unit_power(vector), 0)
