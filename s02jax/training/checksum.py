"""One number for the bits of every array of a state, the same on any mesh.

sum = Σᵢ bits(xᵢ) · (2i + 1)  mod 2³²,  i the element's number by rows     (1)

A multiplier is odd, so a single wrong bit always changes the sum. The sum is
computed where the array lies, whatever its sharding: integers add up to the
same in any order. It costs one reading of the memory.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from s02jax import sharding
from s02jax.core.trees import named

PyTree = Any
_UNSIGNED = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}


def checksums(state: PyTree) -> dict[str, int]:
  """Equation (1) of every array, by its path.

  Args:
    state: jax Arrays of at most four bytes an element, all on one mesh or all
      on one device.
  """
  leaves = named(state)
  if not leaves:
    return {}
  placed = next(iter(leaves.values())).sharding
  mesh = placed.mesh if isinstance(placed, NamedSharding) else None
  sums = jax.device_get(_program(mesh)(leaves))
  return {name: int(value) for name, value in sums.items()}


@functools.cache
def _program(mesh: Any) -> Any:
  """The jitted sums; every process of the mesh gets all of them."""
  placed = None if mesh is None else sharding.replicated(mesh)
  return jax.jit(
    lambda leaves: jax.tree.map(_sum, leaves), out_shardings=placed
  )


def _sum(x: jax.Array) -> jax.Array:
  """Equation (1), uint32."""
  if x.dtype == jnp.bool_:
    x = x.astype(jnp.uint8)
  kind = _UNSIGNED[x.dtype.itemsize]
  bits = jax.lax.bitcast_convert_type(x, kind).astype(jnp.uint32)
  place, stride = jnp.zeros(x.shape, jnp.uint32), 1
  for axis in reversed(range(x.ndim)):
    along = jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    place = place + along * jnp.uint32(stride % 2**32)
    stride *= x.shape[axis]
  odd = place * jnp.uint32(2) + jnp.uint32(1)
  return jnp.sum(bits * odd, dtype=jnp.uint32)
