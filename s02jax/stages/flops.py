"""FLOPs of matrix products: by formula for model-FLOP utilisation, and counted
in what a function traces to."""

import dataclasses
import math
from typing import Any

import jax


def products(params, positions: int) -> int:
  """Forward and backward FLOPs of a stack of matrix products.

  Each kernel entry is used once per position: 2 FLOPs forward, 4 backward.

  Args:
    params: parameters (or their shapes) that all see the same positions.
    positions: rows × frames they are applied to.
  """
  kernels = [
    math.prod(x.shape)
    for path, x in jax.tree_util.tree_leaves_with_path(params)
    if path[-1].key in ("kernel", "taps")
  ]
  return 6 * positions * sum(kernels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Product:
  """A matrix product [m, k] · [k, n], `times` a step over all devices."""

  m: int
  k: int
  n: int
  times: int

  @property
  def flops(self) -> float:
    return 2.0 * self.m * self.k * self.n * self.times

  def filled(self, unit: int) -> float:
    """Share of a `unit` × `unit` matrix unit that k and n make use of."""
    return math.prod(d / (math.ceil(d / unit) * unit) for d in (self.k, self.n))


def counted(jaxpr: Any, times: int = 1) -> list[Product]:
  """Every matrix product and convolution of a jaxpr, loops multiplied out.

  Of the branches of a condition the costliest counts. A loop without a known
  end counts once.
  """
  found = []
  for eqn in jaxpr.eqns:
    if eqn.primitive.name == "dot_general":
      found.append(_dot(eqn, times))
    elif eqn.primitive.name == "conv_general_dilated":
      found.append(_convolution(eqn, times))
    elif eqn.primitive.name == "cond":
      branches = [counted(b.jaxpr, times) for b in eqn.params["branches"]]
      found += max(branches, key=lambda b: sum(p.flops for p in b))
    else:
      for inner in _inner(eqn):
        found += counted(inner, times * _repeats(eqn))
  return found


def _inner(eqn: Any) -> list[Any]:
  """Jaxprs among an equation's parameters."""
  found = []
  for value in eqn.params.values():
    for leaf in value if isinstance(value, (list, tuple)) else [value]:
      leaf = getattr(leaf, "jaxpr", leaf)
      if hasattr(leaf, "eqns"):
        found.append(leaf)
  return found


def _repeats(eqn: Any) -> int:
  if eqn.primitive.name == "scan":
    return eqn.params["length"]
  if eqn.primitive.name == "shard_map":  # shapes inside are one device's
    return math.prod(eqn.params["mesh"].shape.values())
  if eqn.primitive.name == "pallas_call":
    return math.prod(eqn.params["grid_mapping"].grid)
  return 1


def _dot(eqn: Any, times: int) -> Product:
  left, right = (v.aval.shape for v in eqn.invars)
  (contract, right_contract), (batch, _) = eqn.params["dimension_numbers"]
  k = math.prod(left[d] for d in contract)
  b = math.prod(left[d] for d in batch)
  m = math.prod(left) // max(k * b, 1)
  n = math.prod(right) // max(
    math.prod(right[d] for d in right_contract) * b, 1
  )
  return Product(m=m, k=k, n=n, times=times * b)


def _convolution(eqn: Any, times: int) -> Product:
  out, kernel = eqn.outvars[0].aval.shape, eqn.invars[1].aval.shape
  n = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
  # The gradient of a stride reads zeros between its inputs.
  m = math.prod(out) // n // math.prod(eqn.params["lhs_dilation"])
  return Product(m=m, k=math.prod(kernel) // n, n=n, times=times)
