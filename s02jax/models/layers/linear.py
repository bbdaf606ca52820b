"""Dense layers whose gradients are plain matrix products, and embeddings.

Shape letters: i features in, o features out; b batch, s positions, v rows of a
table, d width.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from s02jax import sharding


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def product(
  x: Float[Array, "*n i"],
  kernel: Float[Array, "i o"],
  dtype: DTypeLike | None = None,
) -> Float[Array, "*n o"]:
  """Matrix product x · kernel, with a gradient that is fast on a CPU.

  It is summed and returned in `dtype`, if that is given; the gradient's
  products have the dtype of x and kernel all the same.

  JAX derives the kernel's gradient transposed, [o, i], for which XLA copies the
  whole output gradient on a CPU; here it is computed as [i, o], on a CPU of one
  axis of positions: of several it copies all of x. And a product of a single
  row is one of a vector, which a CPU reads the kernel faster for.
  """
  if x.size == x.shape[-1]:
    row = jnp.matmul(kernel.T, x.reshape(-1), preferred_element_type=dtype)
    return row.reshape(*x.shape[:-1], -1)
  return jnp.matmul(x, kernel, preferred_element_type=dtype)


def _forward(
  x: Array, kernel: Array, dtype: DTypeLike | None
) -> tuple[Array, tuple[Array, Array]]:
  return product(x, kernel, dtype), (x, kernel)


def _backward(
  dtype: DTypeLike | None, saved: tuple[Array, Array], change: Array
) -> tuple[Array, Array]:
  del dtype
  x, kernel = saved
  change = change.astype(x.dtype)
  back = jnp.matmul(change, kernel.T)
  if sharding.platform() == "cpu":
    x, change = (y.reshape(-1, y.shape[-1]) for y in (x, change))
  positions = tuple(range(x.ndim - 1))
  over = ((positions, positions), ((), ()))
  return back, jax.lax.dot_general(x, change, over).astype(kernel.dtype)


product.defvjp(_forward, _backward)


def _dot_general(
  x: Array, kernel: Array, _: Any, precision: None = None
) -> Array:
  """Adapts `product` to the signature by which `nn.Dense` calls it."""
  if precision is not None:
    raise ValueError(f"precision {precision!r}: a product has the default one")
  return product(x, kernel)


Dense = functools.partial(nn.Dense, dot_general=_dot_general)


class Logits(nn.Module):
  """Dense layer of products in `dtype`, summed and returned in float32."""

  features: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "*n i"]) -> Float[Array, "*n o"]:
    shape = (x.shape[-1], self.features)
    kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
    bias = self.param("bias", nn.initializers.zeros, shape[1:])
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    bias = bias.astype(jnp.float32).reshape((1,) * (x.ndim - 1) + (-1,))
    return product(x, kernel, jnp.float32) + bias


def look_up(
  table: Float[Array, "v d"], ids: Int[Array, "b s"]
) -> Float[Array, "b s d"]:
  """Rows of a table of embeddings.

  On a mesh the table is gathered along d first: looked up in a table that is
  split along d, rows come split along d, and the partitioner has to make all of
  them whole to split them along b.
  """
  return jnp.take(sharding.shard(table, "vocab", "embed"), ids, axis=0)
