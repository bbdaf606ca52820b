"""Trees of arrays and nested mappings by path: flatten, unflatten, count."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

PyTree = Any


def flatten(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Flattens nested dicts of arrays to one dict with keys joined by "/".

  Leaves become contiguous numpy arrays.
  """
  leaves = jax.tree_util.tree_flatten_with_path(params)[0]
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): (
      np.ascontiguousarray(leaf)
    )
    for path, leaf in leaves
  }


def unflatten(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Nested dicts of a flat one; inverse of `flatten`."""
  tree: dict[str, Any] = {}
  for path, leaf in flat.items():
    *folders, name = path.split("/")
    node = tree
    for folder in folders:
      node = node.setdefault(folder, {})
    node[name] = leaf
  return tree


def count_parameters(params: PyTree) -> int:
  """Count of all numbers in a tree of arrays, or of their shapes."""
  return sum(np.size(leaf) for leaf in jax.tree.leaves(params))


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Flattens nested mappings to one dict with dotted names, "model.width"."""
  found: dict[str, Any] = {}
  for name, value in values.items():
    if isinstance(value, Mapping):
      found |= dotted(value, f"{prefix}{name}.")
    else:
      found[prefix + name] = value
  return found


def named(tree: PyTree) -> dict[str, Any]:
  """Leaves of a tree by path, alike for dataclasses and nested dicts."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in leaves
  }
