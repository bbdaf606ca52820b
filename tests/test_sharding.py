"""Sharding table, meshes, and the rows that each host loads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from s02jax import sharding
from s02jax.core import errors

SPECS = (
  # path, shape, spec on fsdp = 2, tensor = 4
  ("params/blocks/attention/q/kernel", (3, 8, 16), P(None, "fsdp", "tensor")),
  ("params/attention/o/kernel", (16, 8), P("tensor", "fsdp")),
  ("opt_state/1/0/mu/mlp/gate/kernel", (8, 16), P("fsdp", "tensor")),
  ("ema/mlp/down/kernel", (16, 8), P("tensor", "fsdp")),
  ("params/embed/embedding", (12, 8), P("tensor", "fsdp")),
  ("params/conv/kernel", (7, 8, 16), P(None, "fsdp", "tensor")),
  ("params/conv2d/kernel", (3, 9, 8, 16), P(None, None, "fsdp", "tensor")),
  ("params/head/kernel", (8, 13), P("fsdp")),
  ("params/odd/kernel", (7, 13), P()),
  ("params/first/kernel", (1, 16), P(None, "tensor")),
  ("params/blocks/norm/scale", (3, 8), P()),
  ("params/anything", (8,), P()),
  ("step", (), P()),
)


@pytest.fixture
def mesh():
  """Mesh of eight devices, two for fsdp and four for tensor."""
  return sharding.make_mesh(dict(data=1, fsdp=2, sequence=1, tensor=4))


@pytest.mark.parametrize(("path", "shape", "spec"), SPECS)
def test_table(mesh, path, shape, spec):
  assert sharding.parameter_spec(path, shape, mesh) == spec


def test_a_parameter_without_a_rule_is_an_error(mesh):
  with pytest.raises(ValueError, match="'params/novel/thing'"):
    sharding.parameter_spec("params/novel/thing", (4, 4), mesh)


def test_shardings_can_hold_their_arrays(mesh):
  tree = {"q": {"kernel": jnp.ones((8, 16))}, "bias": jnp.ones(3)}
  placed = jax.device_put(tree, sharding.parameter_shardings(mesh, tree))
  shapes = {s.data.shape for s in placed["q"]["kernel"].addressable_shards}
  assert shapes == {(4, 4)}


def test_one_axis_takes_what_the_others_leave():
  mesh = sharding.make_mesh(dict(data=-1, fsdp=2, sequence=1, tensor=1))
  assert dict(mesh.shape) == dict(data=4, fsdp=2, sequence=1, tensor=1)
  assert dict(sharding.make_mesh({}, jax.devices()[:1]).shape) == dict(
    data=1, fsdp=1, sequence=1, tensor=1
  )


@pytest.mark.parametrize(
  ("sizes", "message"),
  [
    (dict(data=3), "does not cover the 8 devices"),
    (dict(data=-1, fsdp=-1), "does not cover"),
    (dict(data=-1, fsdp=3), "does not cover"),
    (dict(data=0, fsdp=8), "does not cover"),
    (dict(replica=8), "config.mesh.replica is not a mesh axis"),
  ],
)
def test_wrong_meshes_are_one_sentence(sizes, message):
  with pytest.raises(errors.UserError, match=message):
    sharding.make_mesh(sizes)


def test_one_process_brings_every_row():
  mesh = sharding.make_mesh(dict(data=4, tensor=2))
  np.testing.assert_array_equal(sharding.local_rows(mesh, 8), np.arange(8))
  with pytest.raises(errors.UserError, match="multiple of 4"):
    sharding.local_rows(mesh, 6)


def test_scattered_rows_are_each_brought_once():
  # As on v5e-16, where a host's four devices lie apart in the mesh.
  hosts = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 3, 6, 7), (10, 11, 14, 15)]
  found = [
    sharding.rows_in([slice(2 * i, 2 * i + 2) for i in host], 32)
    for host in hosts
  ]
  assert found[0].tolist() == [0, 1, 8, 9, 16, 17, 24, 25]
  np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(32))


@pytest.mark.parametrize("sizes", [dict(data=8), dict(data=2, tensor=4)])
def test_devices_get_their_rows_whatever_their_order(sizes):
  devices = np.random.default_rng(0).permutation(jax.devices()).tolist()
  mesh = sharding.make_mesh(sizes, devices)
  rows = sharding.local_rows(mesh, 16)
  local = np.arange(16 * 3, dtype=np.float32).reshape(16, 3)
  placed = sharding.batch_sharding(mesh)
  array = sharding.global_array(placed, local, rows, 16)
  np.testing.assert_array_equal(array, local)
  for shard in array.addressable_shards:
    np.testing.assert_array_equal(shard.data, local[shard.index])


def test_shard_does_nothing_without_a_mesh():
  x = jnp.ones((2, 3))
  assert sharding.shard(x, "batch", "embed") is x


def test_shard_places_activations(mesh):
  @jax.jit
  def activation(x):
    return sharding.shard(x, "batch", "time", "mlp") * 1.0

  with jax.set_mesh(mesh):
    y = activation(jnp.ones((4, 3, 8)))
    assert {s.data.shape for s in y.addressable_shards} == {(2, 3, 2)}
    # Sizes that do not divide stay whole.
    z = activation(jnp.ones((3, 3, 6)))
  np.testing.assert_array_equal(z, np.ones((3, 3, 6)))


def test_shard_wants_a_name_for_every_dimension(mesh):
  with jax.set_mesh(mesh), pytest.raises(ValueError, match="2 names"):
    sharding.shard(jnp.ones((2, 3, 4)), "batch", "time")


@pytest.mark.parametrize(
  ("sizes", "spec", "shape", "spread"),
  [
    ((4, 2, 1, 1), P(None, "fsdp"), (8, 6), P("data", "fsdp")),
    ((4, 2, 1, 1), P("fsdp"), (8, 3), P(("fsdp", "data"))),
    ((2, 2, 1, 2), P(), (3, 8), P(None, ("data", "fsdp", "tensor"))),
    ((4, 2, 1, 1), P(), (7,), P()),  # stays whole on every device
    ((1, 8, 1, 1), P("fsdp"), (8, 8), P("fsdp")),  # has no copies
  ],
)
def test_a_spread_array_has_no_part_twice(sizes, spec, shape, spread):
  mesh = sharding.make_mesh(dict(zip(sharding.AXES, sizes, strict=True)))
  placed = NamedSharding(mesh, spec)
  found = sharding.spread(placed, shape)
  assert found.is_equivalent_to(NamedSharding(mesh, spread), len(shape))
  if found != placed:
    parts = {str(i) for i in found.devices_indices_map(shape).values()}
    assert len(parts) == mesh.size
