"""Low-rank changes of kernels, applied to parameters before `model.apply`.

  (1)  W′ = W + (alpha / rank) · A B

So models know nothing of them (Hu et al. 2021, arXiv 2106.09685). A begins
random and B at zero, so that the first W′ is W. Kernels of scanned layers,
[l, i, o], have an A and a B a layer.

Shape letters:
  i features in    o features out    r rank    n leading axes of a kernel
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from s02jax.core.errors import UserError

PyTree = Any
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

  def check(self) -> None:
    """Raises UserError for sizes that make no change of a weight."""
    if self.rank < 1:
      raise UserError(
        f"config.adapter.rank is {self.rank}; it must be 1 or more."
      )
    try:
      re.compile(self.targets)
    except re.error as error:
      raise UserError(
        f"config.adapter.targets is {self.targets!r}, which is no regular"
        f" expression ({error})."
      ) from error


def targets(params: Mapping[str, Any], cfg: LoraConfig) -> dict[str, Any]:
  """Kernels [*n, i, o] that a change has, by path without "/kernel".

  Raises:
    UserError: there is none.
  """
  cfg.check()
  kernels = {
    path.removesuffix("/kernel"): leaf
    for path, leaf in _paths(params).items()
    if path.endswith("/kernel") and len(leaf.shape) > 1
  }
  found = {p: k for p, k in kernels.items() if re.search(cfg.targets, p)}
  if not found:
    some = ", ".join(sorted(kernels)[:6])
    raise UserError(
      f"config.adapter.targets {cfg.targets!r} matches no kernel of the model;"
      f" they are {some} and so on."
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


def _paths(tree: PyTree) -> dict[str, Any]:
  """Leaves of nested dicts by path."""
  leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {_name(path): leaf for path, leaf in leaves}


def _name(path: tuple) -> str:
  """Keys of a tree's path, joined by "/"."""
  return jax.tree_util.keystr(path, simple=True, separator="/")
