"""ConvNeXt blocks over time (Liu et al. 2022; as a vocoder, Siuzdak 2023).

Shape letters: b batch, t frames, d width, k kernel taps.
"""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from s02jax.models.layers.linear import Dense
from s02jax.models.layers.scanned import scanned
from s02jax.sharding import shard

KERNEL = 7  # taps of a block's convolution


def keep_valid(x: Array, mask: Bool[Array, "b t"] | None) -> Array:
  """Zeros where the mask is False, whatever stood there, NaN included."""
  return x if mask is None else jnp.where(mask[..., None], x, 0)


def layer_norm(x: Float[Array, "b t d"], name: str) -> Float[Array, "b t d"]:
  """LayerNorm over d in float32, a submodule of the module that calls it.

  Its sharding is stated: left alone, the partitioner may split the gradient of
  the dense layer behind it over axes of the batch, and loses a part of it.
  """
  norm = nn.LayerNorm(epsilon=1e-5, dtype=jnp.float32, name=name)
  return shard(norm(x), "batch", "time", "embed")


class DepthwiseConv(nn.Module):
  """Depthwise convolution over time, as shifts and products.

  Output frame t sees inputs t - (kernel - 1 - lookahead) … t + lookahead. XLA
  runs a grouped convolution 20 to 75 times slower on a CPU.
  """

  kernel: int = KERNEL  # taps of each channel's filter
  lookahead: int = 3  # taps that lie in the future
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
    d, t = x.shape[-1], x.shape[1]
    taps = self.param(
      "taps",
      nn.initializers.variance_scaling(1.0, "fan_in", "normal", in_axis=0),
      (self.kernel, d),
    ).astype(self.dtype)
    bias = self.param("bias", nn.initializers.zeros, (d,)).astype(self.dtype)
    left = self.kernel - 1 - self.lookahead
    padded = jnp.pad(x, ((0, 0), (left, self.lookahead), (0, 0)))
    shifted = [
      padded[:, i : i + t] * taps[None, None, i] for i in range(self.kernel)
    ]
    return sum(shifted) + bias[None, None]


class ConvNeXt(nn.Module):
  """ConvNeXt block: x + scale · W2 gelu(W1 norm(depthwise(x))).

  The frames stay aligned.
  """

  expansion: int = 3  # hidden width over width
  kernel: int = KERNEL  # taps
  lookahead: int = 3  # taps that lie in the future
  dtype: DTypeLike = jnp.float32
  scale: float = 0.3  # initial value of the residual branch's scale

  @nn.compact
  def __call__(
    self, x: Float[Array, "b t d"], mask: Bool[Array, "b t"] | None = None
  ) -> Float[Array, "b t d"]:
    d = x.shape[-1]
    y = keep_valid(x, mask)
    y = DepthwiseConv(
      self.kernel, self.lookahead, dtype=self.dtype, name="depthwise"
    )(y)
    y = layer_norm(y, "norm")
    y = Dense(self.expansion * d, dtype=self.dtype, name="up")(y)
    y = shard(nn.gelu(y), "batch", "time", "mlp")
    y = Dense(d, dtype=self.dtype, name="down")(y)
    scale = self.param("scale", nn.initializers.constant(self.scale), (d,))
    return keep_valid(
      shard(
        x + y * scale.astype(self.dtype)[None, None], "batch", "time", "embed"
      ),
      mask,
    )


class ConvStack(nn.Module):
  """Stack: a dense layer to `width`, then a block per entry of `lookahead`.

  Neighbours of one look-ahead share a loop, and `blocks_0`, `blocks_1`, … hold
  the stacked parameters of one loop each.
  """

  width: int  # channels d
  lookahead: tuple[int, ...]  # future taps of each block
  expansion: int = 3  # hidden width of a block over its width
  kernel: int = KERNEL  # taps of a block
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b t c"], mask: Bool[Array, "b t"] | None = None
  ) -> Float[Array, "b t d"]:
    x = Dense(self.width, dtype=self.dtype, name="into")(keep_valid(x, mask))
    x = layer_norm(x, "into_norm")
    x = keep_valid(x.astype(self.dtype), mask)
    runs = [(f, len(list(run))) for f, run in itertools.groupby(self.lookahead)]
    for i, (future, layers) in enumerate(runs):
      block = ConvNeXt(
        self.expansion, self.kernel, future, self.dtype, name=f"blocks_{i}"
      )
      x, _ = scanned(lambda block, x, mask: (block(x, mask), None), layers)(
        block, x, mask
      )
    return x


def reach(lookahead: tuple[int, ...]) -> tuple[int, int]:
  """Frames to the left and right that an output frame of ConvStack sees."""
  right = sum(lookahead)
  return len(lookahead) * (KERNEL - 1) - right, right


def merge_time(x: Float[Array, "b t d"], r: int) -> Float[Array, "b s e"]:
  """Merges r neighbouring frames into one of e = r · d channels."""
  b, t, d = x.shape
  return x.reshape(b, t // r, r * d)


def split_time(x: Float[Array, "b s e"], r: int) -> Float[Array, "b t d"]:
  """Splits every frame of r · d channels into r frames of d."""
  b, t, d = x.shape
  return x.reshape(b, t * r, d // r)


def lengths_to_mask(lengths: Array, frames: int) -> Bool[Array, "b t"]:
  """Mask that is True where a frame's number is below its row's length."""
  return (
    jnp.arange(frames)[None, :]
    < jax.lax.convert_element_type(lengths, jnp.int32)[:, None]
  )
