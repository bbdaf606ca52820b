"""Transformer layers, shared by the AR model and flow matching.

Pre-norm RMSNorm, rotary positions, grouped-query attention with RMS-normalised
queries and keys, SwiGLU. Weights are float32; `dtype` is that of the products.
Normalisation, rotary angles and softmax are float32 whatever `dtype` is.

Who sees whom is equation 1 of `models/layers/attention.py`.

Training runs the layers as one loop over stacked parameters (`Stack`); what
reads a cache applies `Block.layer` by itself, see
`synthesis/decode/decoder.py`.

Shape letters:
  b batch    s queries    t keys    d width    m hidden width of the MLP
  h query heads    k key-value heads    f features of a head
  l layers
"""

import dataclasses
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Shaped

from s02jax import sharding
from s02jax.models.layers.attention import (
  KEPT,
  BlockSize,
  attention,
  row_mask,
)
from s02jax.models.layers.linear import Dense
from s02jax.sharding import shard

# Values of a layer that are kept for the backward pass, fewest first.
REMAT_POLICIES = {
  "full": jax.checkpoint_policies.nothing_saveable,
  "attention": KEPT,
  "dots": jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable, KEPT
  ),
}
# Cosine and sine of each feature's rotary angle, both of a pair alike.
Turn = tuple[Float[Array, "b s f"], Float[Array, "b s f"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerConfig:
  """Sizes of a Transformer."""

  width: int
  layers: int
  heads: int  # query heads
  kv_heads: int  # divides heads
  hidden: int  # width between the two products of the MLP
  head_dim: int = 0  # features of a head; 0 stands for width // heads
  rope_base: float = 10_000.0
  remat: str = "none"  # recomputation: none, or one of REMAT_POLICIES
  # Layers in one turn of the scan's loop, a divisor of `layers`. All of them
  # is a sixth faster on a CPU; 1 compiles soonest and needs least memory.
  unroll: int = 1

  def __post_init__(self):
    if not self.head_dim and self.width % self.heads == 0:
      object.__setattr__(self, "head_dim", self.width // self.heads)
    if not self.head_dim or self.head_dim % 2 or self.heads % self.kv_heads:
      raise ValueError(
        f"width {self.width} must be an even multiple of heads {self.heads}, "
        "or head_dim be given and even, and heads a multiple of kv_heads "
        f"{self.kv_heads}"
      )
    if self.unroll < 1 or self.layers % self.unroll:
      raise ValueError(f"unroll {self.unroll} must divide layers {self.layers}")
    if self.remat not in ("none", *REMAT_POLICIES):
      raise ValueError(
        f"remat {self.remat!r} is none of none, {', '.join(REMAT_POLICIES)}"
      )

  def turn(self, *axes: Shaped[Array, "b s"]) -> Turn:
    """Rotary angles of positions on one or more axes, as `rotate` takes them.

    Raises:
      ValueError: the axes cannot share the pairs of a head equally.
    """
    if self.head_dim % (2 * len(axes)):
      raise ValueError(
        f"the {self.head_dim // 2} pairs of a head must be a multiple of the"
        f" {len(axes)} axes of its positions"
      )
    return rotary_turn(axes, self.head_dim, self.rope_base)


def rotary_turn(
  axes: Sequence[Shaped[Array, "b s"]], features: int, base: float
) -> Turn:
  """Cosines and sines of rotary angles, float32.

  Every one of n axes turns as many neighbouring pairs of a head: its pair i by
  position / base^(2 i n / f). Computed once, for all layers: a loop over the
  layers that was given angles would compute them in each.
  """
  each = features // len(axes)
  exponent = jnp.arange(0, each, 2, dtype=jnp.float32) / each
  frequency = (1.0 / base**exponent)[None, None, :]
  angles = jnp.concatenate(
    [x.astype(jnp.float32)[:, :, None] * frequency for x in axes], axis=2
  )
  return _twice(jnp.cos(angles)), _twice(jnp.sin(angles))


def rotate(x: Float[Array, "b s h f"], turn: Turn) -> Float[Array, "b s h f"]:
  """Rotates the pair (x_i, x_{i + f/2}) of every head by angle i.

  The pair turned by a right angle is a product with a matrix of -1, 0 and 1,
  exact in any dtype: a TPU writes halves that are split and joined to memory,
  a product it does not.
  """
  half = jnp.eye(x.shape[3] // 2, dtype=x.dtype)
  quarter = jnp.block([[0 * half, half], [-half, 0 * half]])
  cos, sin = (wave[:, :, None] for wave in turn)
  return (x * cos + jnp.matmul(x, quarter, precision="highest") * sin).astype(
    x.dtype
  )


def _twice(x: Float[Array, "b s p"]) -> Float[Array, "b s 2*p"]:
  """Concatenates x with itself.

  On a CPU by a product, which XLA computes once: a cosine it takes for cheap,
  and computes it again in each of the loops that read it.
  """
  if sharding.platform() != "cpu":
    return jnp.tile(x, 2)
  same = jnp.eye(x.shape[2], dtype=x.dtype)
  return jnp.matmul(x, jnp.tile(same, 2), precision="highest")


class RMSNorm(nn.Module):
  """RMSNorm: x / sqrt(mean x^2 + epsilon) * scale over d, in float32."""

  dtype: DTypeLike = jnp.float32
  epsilon: float = 1e-6

  @nn.compact
  def __call__(self, x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
    x = x.astype(jnp.float32)
    power = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    x = x * jax.lax.rsqrt(power + self.epsilon)
    return (x * scale.reshape((1,) * (x.ndim - 1) + (-1,))).astype(self.dtype)


def _linear(features: int, dtype: DTypeLike, layers: int = 0) -> nn.Dense:
  """Bias-free dense layer.

  Into the residual of a stack of `layers`, its first weights are scaled down.
  """
  scale = 1.0 / (2 * layers) if layers else 1.0
  init = nn.initializers.variance_scaling(scale, "fan_in", "truncated_normal")
  return Dense(features, use_bias=False, dtype=dtype, kernel_init=init)


class Attention(nn.Module):
  """Grouped-query attention with rotary positions, before the residual."""

  config: TransformerConfig
  dtype: DTypeLike = jnp.float32

  def setup(self):
    cfg = self.config
    self.q = _linear(cfg.heads * cfg.head_dim, self.dtype)
    self.k = _linear(cfg.kv_heads * cfg.head_dim, self.dtype)
    self.v = _linear(cfg.kv_heads * cfg.head_dim, self.dtype)
    self.o = _linear(cfg.width, self.dtype, cfg.layers)
    self.q_norm = RMSNorm(self.dtype)
    self.k_norm = RMSNorm(self.dtype)

  def __call__(self, x, turn, attend):
    """Applies attention: [b, s, d] to [b, s, d].

    Args:
      x: normalised residual.
      turn: rotary angles of its positions.
      attend: (query, key, value) of x's positions -> [b, s, h, f].
    """

    def heads(y):
      y = y.reshape(*x.shape[:2], -1, self.config.head_dim)
      return shard(y, "batch", "time", "heads", "head_dim")

    query = rotate(self.q_norm(heads(self.q(x))), turn)
    key = rotate(self.k_norm(heads(self.k(x))), turn)
    out = attend(query, key, heads(self.v(x)))
    return self.o(out.reshape(*x.shape[:2], -1))


class SwiGLU(nn.Module):
  """MLP down(silu(gate(x)) * up(x)), before the residual."""

  config: TransformerConfig
  dtype: DTypeLike = jnp.float32

  def setup(self):
    cfg = self.config
    self.gate = _linear(cfg.hidden, self.dtype)
    self.up = _linear(cfg.hidden, self.dtype)
    self.down = _linear(cfg.width, self.dtype, cfg.layers)

  def __call__(self, x: Float[Array, "b s d"]) -> Float[Array, "b s d"]:
    hidden = nn.silu(self.gate(x)) * self.up(x)
    return self.down(shard(hidden, "batch", "time", "mlp"))


class Block(nn.Module):
  """Layer of attention and MLP; the residual keeps the dtype of x.

  With `modulation` [b, 6 d] (shift, scale, gate of attention, then of the MLP)
  a sub-layer is x + gate * f((1 + scale) * norm(x) + shift); without, it is
  x + f(norm(x)). A zero modulation therefore makes the block the identity.
  """

  config: TransformerConfig
  dtype: DTypeLike = jnp.float32

  def setup(self):
    self.attention_norm = RMSNorm(self.dtype)
    self.attention = Attention(self.config, self.dtype)
    self.mlp_norm = RMSNorm(self.dtype)
    self.mlp = SwiGLU(self.config, self.dtype)

  def __call__(self, x, turn, mask, modulation=None):
    """Applies the layer to rows that attend to themselves; a scan's body."""

    def attend(query, key, value):
      return attention(query, key, value, mask)

    return self.layer(x, turn, attend, modulation), None

  def layer(self, x, turn, attend, modulation=None):
    """Applies the layer; `turn` and `attend` as in Attention."""
    if modulation is None:
      shift_a = scale_a = shift_m = scale_m = 0
      gate_a = gate_m = 1
    else:
      shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = jnp.split(
        modulation.astype(self.dtype)[:, None], 6, axis=-1
      )
    # Stated as that of ConvNeXt's norms, for the sake of the gradients.
    y = self.attention_norm(x) * (1 + scale_a) + shift_a
    y = self.attention(shard(y, "batch", "time", "embed"), turn, attend)
    x = shard(x + (gate_a * y).astype(x.dtype), "batch", "time", "embed")
    y = self.mlp_norm(x) * (1 + scale_m) + shift_m
    y = shard(y, "batch", "time", "embed")
    x = x + (gate_m * self.mlp(y)).astype(x.dtype)
    return shard(x, "batch", "time", "embed")


class Stack(nn.Module):
  """Scanned layers and a last norm; parameters have a leading axis l."""

  config: TransformerConfig
  dtype: DTypeLike = jnp.float32

  def setup(self):
    block = Block
    if self.config.remat != "none":
      policy = REMAT_POLICIES[self.config.remat]
      block = nn.remat(Block, prevent_cse=False, policy=policy)
    scanned = nn.scan(
      block,
      variable_axes={"params": 0},
      split_rngs={"params": True},
      in_axes=(nn.broadcast, nn.broadcast, 0),
      length=self.config.layers,
      unroll=self.config.unroll,
    )
    self.blocks = scanned(self.config, self.dtype)
    self.norm = RMSNorm(self.dtype)

  def __call__(
    self,
    x: Float[Array, "b s d"],
    segment: Int[Array, "b s"],
    position: Int[Array, "b s"],
    block: BlockSize,
    modulation: Float[Array, "l b 6*d"] | None = None,
    rotary: Sequence[Shaped[Array, "b s"]] = (),
  ) -> Float[Array, "b s d"]:
    """Applies all layers, which attend by equation 1, and the last norm.

    Args:
      x: input; anything where segment is 0.
      segment: segments of equation 1, 0 is padding.
      position: order of equation 1.
      block: block of equation 1.
      modulation: of every layer, see `Block`.
      rotary: axes of positions that the angles are made of, if not `position`
        alone.
    """
    x = jnp.where(segment[:, :, None] > 0, x, 0)
    mask = row_mask(segment, position, block, self.config.head_dim)
    turn = self.config.turn(*(rotary or (position,)))
    x, _ = self.blocks(x, turn, mask, modulation)
    return self.norm(x)
