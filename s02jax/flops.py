"""FLOPs of matrix products: by formula for model-FLOP utilisation, and counted
in what a function traces to."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

Known = dict[Any, Any]  # values by variable of a program


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
  times: float

  @property
  def flops(self) -> float:
    return 2.0 * self.m * self.k * self.n * self.times

  def filled(self, unit: int) -> float:
    """Share of a `unit` × `unit` matrix unit that k and n make use of."""
    return math.prod(d / (math.ceil(d / unit) * unit) for d in (self.k, self.n))


def counted(
  program: ClosedJaxpr, times: float = 1, known: Known | None = None
) -> list[Product]:
  """Every matrix product and convolution of a program, loops multiplied out.

  Of the branches of a condition the costliest counts. A loop without a known
  end counts once. Of the attention kernel's tiles those that it computes.

  Args:
    program: as `jax.make_jaxpr` gives it.
    times: that it runs.
    known: values of its inputs, where they are known when it is compiled.
  """
  known = dict(known or {})
  known |= dict(zip(program.jaxpr.constvars, program.consts, strict=True))
  found = []
  for eqn in program.jaxpr.eqns:
    name = eqn.primitive.name
    if name == "dot_general":
      found.append(_dot(eqn, times))
    elif name == "conv_general_dilated":
      found.append(_convolution(eqn, times))
    elif name in _SAME and _value(eqn.invars[0], known) is not None:
      known[eqn.outvars[0]] = _value(eqn.invars[0], known)
    else:
      repeats = times * _repeats(eqn, known)
      parts = [
        counted(inner, repeats, _passed(eqn, inner, known))
        for inner in _inner(eqn)
      ]
      if name == "cond":
        parts = [max(parts, key=lambda p: sum(x.flops for x in p))]
      found += sum(parts, [])
  return found


# What changes where a value lies or how it is laid out, but not how many of
# its entries are zero.
_SAME = ("copy", "device_put", "reshape", "sharding_constraint", "transpose")


def _value(x: Any, known: Known) -> Any:
  return x.val if isinstance(x, Literal) else known.get(x)


def _passed(eqn: Any, inner: ClosedJaxpr, known: Known) -> Known:
  """Values that an equation hands to the program inside it."""
  outside = eqn.invars[1:] if eqn.primitive.name == "cond" else eqn.invars
  if len(outside) != len(inner.jaxpr.invars):  # a kernel, a loop of two parts
    return {}
  pairs = zip(inner.jaxpr.invars, outside, strict=True)
  values = ((mine, _value(theirs, known)) for mine, theirs in pairs)
  return {mine: value for mine, value in values if value is not None}


def _inner(eqn: Any) -> list[ClosedJaxpr]:
  """Programs among an equation's parameters."""
  found = []
  for value in eqn.params.values():
    for leaf in value if isinstance(value, (list, tuple)) else [value]:
      if isinstance(leaf, Jaxpr):
        leaf = ClosedJaxpr(leaf, ())
      if isinstance(leaf, ClosedJaxpr):
        found.append(leaf)
  return found


def _repeats(eqn: Any, known: Known) -> float:
  if eqn.primitive.name == "scan":
    return eqn.params["length"]
  if eqn.primitive.name == "shard_map":  # shapes inside are one device's
    return math.prod(eqn.params["mesh"].shape.values())
  if eqn.primitive.name == "pallas_call":
    grid = eqn.params["grid_mapping"]
    return math.prod(grid.grid) * _visited(eqn, grid, known)
  return 1


def _visited(eqn: Any, grid: Any, known: Known) -> float:
  """Share of a kernel's grid that is computed: the splash kernel's second
  table says of each tile whether any of its keys is seen."""
  if not (eqn.params["name"] or "").startswith("splash"):
    return 1.0
  tiles = _value(eqn.invars[1], known)
  return 1.0 if tiles is None else float(np.mean(np.asarray(tiles) > 0))


def _dot(eqn: Any, times: float) -> Product:
  left, right = (v.aval.shape for v in eqn.invars)
  (contract, right_contract), (batch, _) = eqn.params["dimension_numbers"]
  k = math.prod(left[d] for d in contract)
  b = math.prod(left[d] for d in batch)
  m = math.prod(left) // max(k * b, 1)
  n = math.prod(right) // max(
    math.prod(right[d] for d in right_contract) * b, 1
  )
  return Product(m=m, k=k, n=n, times=times * b)


def _convolution(eqn: Any, times: float) -> Product:
  out, kernel = eqn.outvars[0].aval.shape, eqn.invars[1].aval.shape
  n = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
  # The gradient of a stride reads zeros between its inputs.
  m = math.prod(out) // n // math.prod(eqn.params["lhs_dilation"])
  return Product(m=m, k=math.prod(kernel) // n, n=n, times=times)
