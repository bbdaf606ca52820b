"""Layers of equal shape as one loop over stacked parameters."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from s02jax import sharding

LARGE = 2**20  # elements of a carry from which a CPU's loop is not unrolled


def scanned(
  body: Callable[..., tuple[Any, Any]], layers: int, reverse: bool = False
) -> Callable[..., tuple[Any, Any]]:
  """Loops `body` over layers; compiled code holds it once.

  On a CPU, where a loop over small arrays costs more than a long program, it is
  unrolled; of large ones (`LARGE`) the long program would compute the sum over
  all layers before anew in each. Elsewhere the backward pass computes a layer
  again from its input: what a layer computes is far larger than that, and
  memory is slower than products.

  Args:
    body: (module, carry, *inputs) -> (carry, output). All layers see the same
      inputs; the module's parameters have a leading axis of `layers`.
    layers: calls of `body`.
    reverse: begin with the last layer.

  Returns:
    (module, carry, *inputs) -> (carry, outputs with a leading axis).
  """
  on_cpu = sharding.platform() == "cpu"

  def run(module: nn.Module, carry: Any, *inputs: Any) -> tuple[Any, Any]:
    small = sum(_known_size(x) for x in jax.tree.leaves(carry)) < LARGE
    scan = nn.scan(
      body if on_cpu else nn.remat(body, prevent_cse=False),
      variable_axes={"params": 0},
      split_rngs={"params": True},
      in_axes=nn.broadcast,
      length=layers,
      reverse=reverse,
      unroll=layers if on_cpu and small else 1,
    )
    return scan(module, carry, *inputs)

  return run


def _known_size(x: Any) -> int:
  """Number of elements; an axis of open length, in an export, counts as 1."""
  return math.prod(n for n in x.shape if isinstance(n, int))
