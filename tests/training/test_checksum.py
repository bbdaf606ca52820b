"""Checksums of checkpoints see every bit, and no mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from s02jax import sharding
from s02jax.core.trees import named
from s02jax.training.checkpoint import checksums


def reference(x: np.ndarray) -> int:
  """Checksum by equation (1), in Python's integers."""
  kind = np.dtype(f"u{x.dtype.itemsize}")
  bits = np.ascontiguousarray(x).reshape(-1).view(kind)
  total = sum(int(b) * (2 * i + 1) for i, b in enumerate(bits))
  return total % 2**32


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "bool"])
def test_is_the_equation(dtype, random):
  x = np.asarray(jnp.asarray(random.normal(size=(3, 5, 2)) * 9, dtype))
  assert checksums({"x": jnp.asarray(x)}) == {"x": reference(x)}


def test_every_single_bit_counts(random):
  x = random.normal(size=5).astype(np.float32)
  right = checksums(jnp.asarray(x))
  for place in range(5):
    for bit in range(32):
      wrong = x.copy()
      wrong.view(np.uint32)[place] ^= np.uint32(1) << np.uint32(bit)
      assert reference(wrong) != right[""]


def test_exchanged_values_count():
  assert checksums(jnp.array([1.0, 2.0])) != checksums(jnp.array([2.0, 1.0]))


def test_is_the_same_on_any_mesh(random):
  state = {"a": random.normal(size=(8, 12)).astype(np.float32), "b": [1]}
  expected = checksums(jax.tree.map(jnp.asarray, state))
  for sizes in (dict(data=8), dict(fsdp=4, tensor=2)):
    mesh = sharding.make_mesh(sizes, jax.devices())
    whole = sharding.replicated(mesh)
    split = NamedSharding(mesh, P("fsdp", "tensor"))
    placed = jax.device_put(state, {"a": split, "b": [whole]})
    assert checksums(placed) == expected


def test_names_are_those_of_nested_dicts():
  tree = {"a": {"b": 1}, "c": [2, 3]}
  assert named(tree) == {"a/b": 1, "c/0": 2, "c/1": 3}


def test_nothing_has_no_checksums():
  assert checksums({"a": {}}) == {}
