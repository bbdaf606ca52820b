"""Analytic FLOPs of matrix products, for model-FLOP utilisation."""

import jax


def products(params, positions: int) -> int:
  """Forward and backward FLOPs of a stack of matrix products.

  Each kernel entry is used once per position: 2 FLOPs forward, 4 backward.

  Args:
    params: parameters (or their shapes) that all see the same positions.
    positions: rows × frames they are applied to.
  """
  kernels = [x for x in jax.tree.leaves(params) if len(x.shape) >= 2]
  return 6 * positions * sum(_size(x.shape) for x in kernels)


def _size(shape: tuple[int, ...]) -> int:
  size = 1
  for n in shape:
    size *= n
  return size
