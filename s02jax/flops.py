"""FLOPs of matrix products, by formula and counted in a traced function.

The formula (`kernel_flops`) serves model-FLOP utilisation; the count
(`traced_products`) has everything that is executed, recomputation included.
"""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

Known = dict[Any, Any]  # values by variable of a jaxpr


def kernel_flops(params, positions: int) -> int:
  """Forward and backward FLOPs of all kernels in a tree of parameters.

  Each kernel entry is used once per position: 2 FLOPs forward, 4 backward.

  Args:
    params: parameters, or their shapes, that all see the same positions.
    positions: rows × frames that they are applied to.
  """
  kernels = [
    math.prod(x.shape)
    for path, x in jax.tree_util.tree_leaves_with_path(params)
    if path[-1].key in ("kernel", "taps")
  ]
  return 6 * positions * sum(kernels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Product:
  """Matrix product [m, k] · [k, n] run `times` a step over all devices."""

  m: int
  k: int
  n: int
  times: float

  @property
  def flops(self) -> float:
    """FLOPs of all its repetitions."""
    return 2.0 * self.m * self.k * self.n * self.times

  def filled(self, unit: int) -> float:
    """Share of a `unit` × `unit` matrix unit that k and n fill."""
    return math.prod(d / (math.ceil(d / unit) * unit) for d in (self.k, self.n))


def traced_products(
  jaxpr: ClosedJaxpr, times: float = 1, known: Known | None = None
) -> list[Product]:
  """Matrix products and convolutions of a jaxpr, loops multiplied out.

  A condition counts as its costliest branch, a loop without a known end as one
  turn, an attention kernel as the tiles that it computes.

  Args:
    jaxpr: result of `jax.make_jaxpr`.
    times: how often it runs.
    known: values of its inputs that are known when it is compiled.
  """
  known = dict(known or {})
  known |= dict(zip(jaxpr.jaxpr.constvars, jaxpr.consts, strict=True))
  found = []
  for eqn in jaxpr.jaxpr.eqns:
    name = eqn.primitive.name
    if name == "dot_general":
      found.append(_dot(eqn, times))
    elif name == "conv_general_dilated":
      found.append(_convolution(eqn, times))
    elif name in _CUDNN:
      found += _attention(eqn, times, _CUDNN[name])
    elif name in _SAME and _value(eqn.invars[0], known) is not None:
      known[eqn.outvars[0]] = _value(eqn.invars[0], known)
    else:
      repeats = times * _repeats(eqn, known)
      parts = [
        traced_products(inner, repeats, _passed(eqn, inner, known))
        for inner in _inner(eqn)
      ]
      if name == "cond":
        parts = [max(parts, key=lambda p: sum(x.flops for x in p))]
      found += sum(parts, [])
  return found


# Primitives that move or lay out a value anew, and keep its number of zeros.
_SAME = ("copy", "device_put", "reshape", "sharding_constraint", "transpose")


def _value(x: Any, known: Known) -> Any:
  """Value of a variable or literal; None where it is not known."""
  return x.val if isinstance(x, Literal) else known.get(x)


def _passed(eqn: Any, inner: ClosedJaxpr, known: Known) -> Known:
  """Known values that an equation passes to the jaxpr inside it."""
  outside = eqn.invars[1:] if eqn.primitive.name == "cond" else eqn.invars
  if len(outside) != len(inner.jaxpr.invars):  # a kernel, a loop of two parts
    return {}
  pairs = zip(inner.jaxpr.invars, outside, strict=True)
  values = ((mine, _value(theirs, known)) for mine, theirs in pairs)
  return {mine: value for mine, value in values if value is not None}


def _inner(eqn: Any) -> list[ClosedJaxpr]:
  """Jaxprs among the parameters of an equation."""
  found = []
  for value in eqn.params.values():
    for leaf in value if isinstance(value, (list, tuple)) else [value]:
      if isinstance(leaf, Jaxpr):
        leaf = ClosedJaxpr(leaf, ())
      if isinstance(leaf, ClosedJaxpr):
        found.append(leaf)
  return found


def _repeats(eqn: Any, known: Known) -> float:
  """Number of times that an equation runs the jaxpr inside it."""
  if eqn.primitive.name == "scan":
    return eqn.params["length"]
  if eqn.primitive.name == "shard_map":  # shapes inside are one device's
    return math.prod(eqn.params["mesh"].shape.values())
  if eqn.primitive.name == "pallas_call":
    grid = eqn.params["grid_mapping"]
    return math.prod(grid.grid) * _visited(eqn, grid, known)
  return 1


def _visited(eqn: Any, grid: Any, known: Known) -> float:
  """Share of a kernel's grid that is computed.

  The splash kernel's second table says of each tile whether any key is seen.
  """
  if not (eqn.params["name"] or "").startswith("splash"):
    return 1.0
  tiles = _value(eqn.invars[1], known)
  return 1.0 if tiles is None else float(np.mean(np.asarray(tiles) > 0))


def _dot(eqn: Any, times: float) -> Product:
  """Matrix product of a dot_general equation."""
  left, right = (v.aval.shape for v in eqn.invars)
  (contract, right_contract), (batch, _) = eqn.params["dimension_numbers"]
  k = math.prod(left[d] for d in contract)
  b = math.prod(left[d] for d in batch)
  m = math.prod(left) // max(k * b, 1)
  n = math.prod(right) // max(
    math.prod(right[d] for d in right_contract) * b, 1
  )
  return Product(m=m, k=k, n=n, times=times * b)


# cuDNN's attention, by its primitive: scores and weighted values; for the
# gradient the scores again, and the gradients of all four factors.
_CUDNN = {
  "dot_product_attention_fwd_wrapper": 2,
  "dot_product_attention_bwd_wrapper": 5,
}


def _attention(eqn: Any, times: float, number: int) -> list[Product]:
  """Matrix products of cuDNN's attention; of a causal one half of the tiles."""
  (b, s, h, f), t = eqn.invars[0].aval.shape, eqn.invars[1].aval.shape[1]
  if "CAUSAL" in eqn.params["mask_type"].name:
    times /= 2
  return [Product(m=s, k=f, n=t, times=times * b * h)] * number


def _convolution(eqn: Any, times: float) -> Product:
  """Matrix product that a convolution equation is equal to."""
  out, kernel = eqn.outvars[0].aval.shape, eqn.invars[1].aval.shape
  n = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
  # The gradient of a stride reads zeros between its inputs.
  m = math.prod(out) // n // math.prod(eqn.params["lhs_dilation"])
  return Product(m=m, k=math.prod(kernel) // n, n=n, times=times)
