"""The Transformer that the AR model and flow matching share.

Pre-norm RMSNorm, rotary positions, grouped-query attention with RMS-normalised
queries and keys, SwiGLU. Weights are float32; `dtype` is that of the products.
Normalisation, rotary angles and softmax are float32 whatever `dtype` is.

Who sees whom is equation 1 of `models/attention.py`.

Shape letters:
  b batch    s queries    t keys    d width    m hidden width of the MLP
  h query heads    k key-value heads    f features of a head
  l layers
"""

import dataclasses

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from s02jax.models import attention as at
from s02jax.models.linear import Dense
from s02jax.sharding import shard

# What the backward pass finds kept of a layer, least first.
REMAT_POLICIES = {
  "full": jax.checkpoint_policies.nothing_saveable,
  "attention": jax.checkpoint_policies.save_only_these_names(at.RESULT),
  "dots": jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    jax.checkpoint_policies.save_only_these_names(at.RESULT),
  ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerConfig:
  width: int
  layers: int
  heads: int
  kv_heads: int  # divides heads
  hidden: int  # width between the two products of the MLP
  rope_base: float = 10_000.0
  remat: str = "none"  # none, or one of REMAT_POLICIES
  # Layers in one turn of the scan's loop, a divisor of `layers`. All of them
  # is a sixth faster on a CPU; 1 compiles soonest and needs least memory.
  unroll: int = 1

  def __post_init__(self):
    if self.width % (2 * self.heads) or self.heads % self.kv_heads:
      raise ValueError(
        f"width {self.width} must be an even multiple of heads {self.heads}, "
        f"and heads a multiple of kv_heads {self.kv_heads}"
      )
    if self.unroll < 1 or self.layers % self.unroll:
      raise ValueError(f"unroll {self.unroll} must divide layers {self.layers}")
    if self.remat not in ("none", *REMAT_POLICIES):
      raise ValueError(
        f"remat {self.remat!r} is none of none, {', '.join(REMAT_POLICIES)}"
      )

  @property
  def head_dim(self) -> int:
    return self.width // self.heads


def rotary_angles(
  position: Int[Array, "b s"], features: int, base: float
) -> Float[Array, "b s f/2"]:
  exponent = jnp.arange(0, features, 2, dtype=jnp.float32) / features
  frequency = (1.0 / base**exponent)[None, None, :]
  return position.astype(jnp.float32)[:, :, None] * frequency


def rotate(
  x: Float[Array, "b s h f"], angles: Float[Array, "b s f/2"]
) -> Float[Array, "b s h f"]:
  """Turns the pair (x_i, x_{i + f/2}) of every head by angle i."""
  cos, sin = jnp.cos(angles)[:, :, None], jnp.sin(angles)[:, :, None]
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  turned = (first * cos - second * sin, second * cos + first * sin)
  return jnp.concatenate(turned, axis=-1).astype(x.dtype)


class RMSNorm(nn.Module):
  """x / sqrt(mean x^2 + epsilon) * scale over the last axis, in float32."""

  dtype: jnp.dtype = jnp.float32
  epsilon: float = 1e-6

  @nn.compact
  def __call__(self, x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
    x = x.astype(jnp.float32)
    power = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    x = x * jax.lax.rsqrt(power + self.epsilon)
    return (x * scale.reshape((1,) * (x.ndim - 1) + (-1,))).astype(self.dtype)


def _linear(features: int, dtype: jnp.dtype, layers: int = 0) -> nn.Dense:
  """Bias-free; into the residual of a stack of `layers`, scaled down by it."""
  scale = 1.0 / (2 * layers) if layers else 1.0
  init = nn.initializers.variance_scaling(scale, "fan_in", "truncated_normal")
  return Dense(features, use_bias=False, dtype=dtype, kernel_init=init)


class Attention(nn.Module):
  config: TransformerConfig
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    cfg = self.config
    self.q = _linear(cfg.width, self.dtype)
    self.k = _linear(cfg.kv_heads * cfg.head_dim, self.dtype)
    self.v = _linear(cfg.kv_heads * cfg.head_dim, self.dtype)
    self.o = _linear(cfg.width, self.dtype, cfg.layers)
    self.q_norm = RMSNorm(self.dtype)
    self.k_norm = RMSNorm(self.dtype)

  def __call__(self, x, angles, mask, cached=None, index=0):
    """Returns [b, s, d] and the keys and values of x (None without a cache).

    Args:
      x: [b, s, d].
      angles: f32 [b, s, f/2].
      mask: a `Mask`; over the cache's slots where there is a cache.
      cached: keys and values [b, t, k, f] that x continues, or None.
      index: i32 scalar, the slot of x's first position.
    """

    def heads(y):
      y = y.reshape(*x.shape[:2], -1, self.config.head_dim)
      return shard(y, "batch", "time", "heads", "head_dim")

    query = rotate(self.q_norm(heads(self.q(x))), angles)
    key = rotate(self.k_norm(heads(self.k(x))), angles)
    value = heads(self.v(x))
    if cached is None:
      out, fresh = at.attention(query, key, value, mask), None
    else:
      fresh = (key, value)
      keys, values = (
        jax.lax.dynamic_update_slice_in_dim(
          old, new.astype(old.dtype), index, 1
        )
        for old, new in zip(cached, fresh, strict=True)
      )
      out = at.attention(query, keys, values, mask)
    return self.o(out.reshape(x.shape)), fresh


class SwiGLU(nn.Module):
  config: TransformerConfig
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    cfg = self.config
    self.gate = _linear(cfg.hidden, self.dtype)
    self.up = _linear(cfg.hidden, self.dtype)
    self.down = _linear(cfg.width, self.dtype, cfg.layers)

  def __call__(self, x: Float[Array, "b s d"]) -> Float[Array, "b s d"]:
    hidden = nn.silu(self.gate(x)) * self.up(x)
    return self.down(shard(hidden, "batch", "time", "mlp"))


class Block(nn.Module):
  """One layer; the residual keeps the dtype of x.

  With `modulation` [b, 6 d] (shift, scale, gate of attention, then of the MLP)
  a sub-layer is x + gate * f((1 + scale) * norm(x) + shift); without, it is
  x + f(norm(x)). A zero modulation therefore makes the block the identity.
  """

  config: TransformerConfig
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    self.attention_norm = RMSNorm(self.dtype)
    self.attention = Attention(self.config, self.dtype)
    self.mlp_norm = RMSNorm(self.dtype)
    self.mlp = SwiGLU(self.config, self.dtype)

  def __call__(self, x, angles, mask, modulation=None, cached=None, index=None):
    """Returns x and the fresh keys and values; arguments as in Attention."""
    if modulation is None:
      shift_a = scale_a = shift_m = scale_m = 0
      gate_a = gate_m = 1
    else:
      shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = jnp.split(
        modulation.astype(self.dtype)[:, None], 6, axis=-1
      )
    y = self.attention_norm(x) * (1 + scale_a) + shift_a
    y, fresh = self.attention(y, angles, mask, cached, index)
    x = shard(x + (gate_a * y).astype(x.dtype), "batch", "time", "embed")
    y = self.mlp_norm(x) * (1 + scale_m) + shift_m
    x = x + (gate_m * self.mlp(y)).astype(x.dtype)
    return shard(x, "batch", "time", "embed"), fresh


@flax.struct.dataclass
class Cache:
  """Keys and values of every layer for the positions seen so far."""

  keys: Float[Array, "l b t k f"]
  values: Float[Array, "l b t k f"]
  segment: Int[Array, "b t"]  # 0: padding, or a slot not yet filled
  position: Int[Array, "b t"]
  index: Int[Array, ""]  # slots filled


def empty_cache(
  config: TransformerConfig, batch: int, slots: int, dtype: jnp.dtype
) -> Cache:
  shape = (config.layers, batch, slots, config.kv_heads, config.head_dim)
  return Cache(
    keys=jnp.zeros(shape, dtype),
    values=jnp.zeros(shape, dtype),
    segment=jnp.zeros((batch, slots), jnp.int32),
    position=jnp.zeros((batch, slots), jnp.int32),
    index=jnp.zeros((), jnp.int32),
  )


class Stack(nn.Module):
  """The layers, scanned: their parameters have a leading axis l."""

  config: TransformerConfig
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    block = Block
    if self.config.remat != "none":
      policy = REMAT_POLICIES[self.config.remat]
      block = nn.remat(Block, prevent_cse=False, policy=policy)
    scanned = nn.scan(
      block,
      variable_axes={"params": 0},
      split_rngs={"params": True},
      in_axes=(nn.broadcast, nn.broadcast, 0, 0, nn.broadcast),
      length=self.config.layers,
      unroll=self.config.unroll,
    )
    self.blocks = scanned(self.config, self.dtype)
    self.norm = RMSNorm(self.dtype)

  def _angles(self, position):
    cfg = self.config
    return rotary_angles(position, cfg.head_dim, cfg.rope_base)

  def __call__(
    self,
    x: Float[Array, "b s d"],
    segment: Int[Array, "b s"],
    position: Int[Array, "b s"],
    block: at.Block,
    modulation: Float[Array, "l b 6*d"] | None = None,
    rotary: Int[Array, "b s"] | None = None,
  ) -> Float[Array, "b s d"]:
    """Attends by equation 1 and normalises the result.

    `position` is the order of equation 1; `rotary`, where given, is what the
    angles are made of instead.

    What x holds where segment is 0 is replaced by zeros on entry.
    """
    x = jnp.where(segment[:, :, None] > 0, x, 0)
    mask = at.row_mask(segment, position, block, self.config.head_dim)
    angles = self._angles(position if rotary is None else rotary)
    x, _ = self.blocks(x, angles, mask, modulation, None, None)
    return self.norm(x)

  def extend(
    self,
    x: Float[Array, "b s d"],
    segment: Int[Array, "b s"],
    position: Int[Array, "b s"],
    cache: Cache,
    rotary: Int[Array, "b s"],
  ) -> tuple[Float[Array, "b s d"], Cache]:
    """Causal attention over the cache and x, which fills its next s slots."""
    x = jnp.where(segment[:, :, None] > 0, x, 0)
    key_segment, key_position = (
      jax.lax.dynamic_update_slice_in_dim(old, new, cache.index, 1)
      for old, new in ((cache.segment, segment), (cache.position, position))
    )
    mask = at.dense_mask(segment, position, key_segment, key_position, 1)
    x, (keys, values) = self.blocks(
      x,
      self._angles(rotary),
      mask,
      None,
      (cache.keys, cache.values),
      cache.index,
    )
    keys, values = (
      jax.lax.dynamic_update_slice_in_dim(
        old, new.astype(old.dtype), cache.index, 2
      )
      for old, new in ((cache.keys, keys), (cache.values, values))
    )
    cache = Cache(
      keys=keys,
      values=values,
      segment=key_segment,
      position=key_position,
      index=cache.index + x.shape[1],
    )
    return self.norm(x), cache
