"""Low-rank changes of kernels, applied to parameters before `model.apply`.

  (1)  W′ = W + (alpha / rank) · A B

So models know nothing of them (Hu et al. 2021, arXiv 2106.09685). A begins
random and B at zero, so that the first W′ is W. Kernels of scanned layers,
[l, i, o], have an A and a B a layer.

At inference every row of a batch has changes of its own, and equation 1 would
make a kernel for each. There the changes of e adapters lie side by side behind
the kernel, and every row weighs them:

  (2)  y = x W + Σ_k s_k (x A_k) B_k          strengths s of the row

With strengths of 0 the sum is 0, and y is x W to the last bit.

Shape letters:
  i features in    o features out    r rank    n leading axes of a kernel
  b rows    e adapters
"""

import contextlib
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PyTree = Any
# A and B by the path of their kernel, and the scale of equation 1.
Change = tuple[Mapping[str, Mapping[str, np.ndarray]], float]
DOWN, UP = "lora_a", "lora_b"  # names of A and B, in place of "kernel"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoraConfig:
  """Sizes of a low-rank change, and the kernels that have one."""

  rank: int = 8  # of A B
  alpha: float = 16.0  # A B is multiplied by alpha / rank
  # Regular expression, searched for in the paths of kernels such as
  # stack/blocks/attention/q.
  targets: str = r"attention/(q|k|v|o)$"

  @property
  def scale(self) -> float:
    """Factor of A B in equation 1."""
    return self.alpha / self.rank

  def __post_init__(self):
    if self.rank < 1:
      raise ValueError(f"rank is {self.rank}; it must be 1 or more")
    try:
      re.compile(self.targets)
    except re.error as error:
      raise ValueError(
        f"targets is {self.targets!r}, which is no regular expression ({error})"
      ) from error


def targets(params: Mapping[str, Any], cfg: LoraConfig) -> dict[str, Any]:
  """Kernels [*n, i, o] that a change has, by path without "/kernel".

  Raises:
    ValueError: there is none.
  """
  kernels = {
    path.removesuffix("/kernel"): leaf
    for path, leaf in _paths(params).items()
    if path.endswith("/kernel") and len(leaf.shape) > 1
  }
  found = {p: k for p, k in kernels.items() if re.search(cfg.targets, p)}
  if not found:
    some = ", ".join(sorted(kernels)[:6])
    raise ValueError(
      f"targets {cfg.targets!r} matches no kernel of the model; they are {some}"
      " and so on"
    )
  return found


def init(
  key: jax.Array, params: Mapping[str, Any], cfg: LoraConfig
) -> dict[str, dict[str, jax.Array]]:
  """Fresh A [*n, i, r] and B [*n, r, o] of every target, by its path."""
  made = {}
  for number, (path, kernel) in enumerate(targets(params, cfg).items()):
    *lead, i, o = kernel.shape
    noise = jax.random.normal(
      jax.random.fold_in(key, number), (*lead, i, cfg.rank)
    )
    made[path] = {DOWN: noise * i**-0.5, UP: jnp.zeros((*lead, cfg.rank, o))}
  return made


def change(
  params: Mapping[str, Any],
  lora: Mapping[str, Mapping[str, Any]],
  scale: float | jax.Array,
) -> dict[str, Any]:
  """Parameters with equation 1 applied to the kernels that `lora` names.

  Args:
    params: nested dicts of arrays.
    lora: path of a kernel -> A and B, as `init` makes them.
    scale: alpha / rank, times the strength of the change.
  """

  def changed(path: tuple, leaf: Any) -> Any:
    name = _name(path)
    pair = lora.get(name.removesuffix("/kernel"))
    if pair is None or not name.endswith("/kernel"):
      return leaf
    return leaf + (scale * (pair[DOWN] @ pair[UP])).astype(leaf.dtype)

  return jax.tree_util.tree_map_with_path(changed, params)


# ------------------------------------------------------------ many in a batch


def attach(
  params: Mapping[str, Any],
  changes: Sequence[Change],
) -> dict[str, Any]:
  """Parameters with the changes of e adapters beside their kernels.

  Ranks are filled up with zeros to the largest, and so are the kernels that an
  adapter leaves alone: A becomes [*n, i, e · r] and B [*n, e · r, o], times its
  scale. `mixing` makes the model's products heed them.

  Args:
    params: nested dicts of NumPy arrays; they are not written into.
    changes: of each adapter.
  """
  rank = max(
    (pair[DOWN].shape[-1] for lora, _ in changes for pair in lora.values()),
    default=0,
  )
  paths = dict.fromkeys(path for lora, _ in changes for path in lora)
  out = jax.tree.map(lambda x: x, dict(params))  # dicts of its own
  for path in paths:
    node = out
    for name in path.split("/"):
      node = node[name]
    *lead, i, o = node["kernel"].shape
    down = np.zeros((*lead, i, len(changes) * rank), np.float32)
    up = np.zeros((*lead, len(changes) * rank, o), np.float32)
    for number, (lora, scale) in enumerate(changes):
      if path in lora:
        pair, begin = lora[path], number * rank
        place = slice(begin, begin + pair[DOWN].shape[-1])
        down[..., place] = pair[DOWN]
        up[..., place, :] = scale * pair[UP]
    node[DOWN], node[UP] = down, up
  return out


def mixing(
  strengths: Float[Array, "b e"],
) -> contextlib.AbstractContextManager[None]:
  """Context in which dense layers add the sum of equation 2.

  Args:
    strengths: of every row's adapters, in the order of `attach`.
  """

  def add(next_fun, args, kwargs, context):
    y = next_fun(*args, **kwargs)
    module = context.module
    if context.method_name != "__call__" or not isinstance(module, nn.Dense):
      return y
    if not module.has_variable("params", DOWN):
      return y
    x = args[0]
    down = module.get_variable("params", DOWN).astype(x.dtype)
    up = module.get_variable("params", UP).astype(x.dtype)
    each = jnp.repeat(strengths, down.shape[1] // strengths.shape[1], axis=1)
    each = each.reshape(len(each), *(1,) * (x.ndim - 2), -1)
    return y + (((x @ down) * each.astype(x.dtype)) @ up).astype(y.dtype)

  return nn.intercept_methods(add)


def _paths(tree: PyTree) -> dict[str, Any]:
  """Leaves of nested dicts by path."""
  leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {_name(path): leaf for path, leaf in leaves}


def _name(path: tuple) -> str:
  """Keys of a tree's path, joined by "/"."""
  return jax.tree_util.keystr(path, simple=True, separator="/")
