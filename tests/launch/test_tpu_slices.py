"""Topologies of TPU slices: their hosts and chips."""

import pytest

from launch import tpu_slices
from s02jax.core.errors import UserError


@pytest.mark.parametrize(
  "name, hosts, chips",
  [
    ("v5e:1x1", 1, 1),
    ("v5e:2x2", 1, 4),
    ("v5e:4x4", 4, 4),
    ("v5e:16x16", 64, 4),
    ("v5p:2x2x1", 1, 4),
    ("v5p:4x4x8", 32, 4),
    ("v5p:8x8x16", 256, 4),
    ("v6e:4x8", 8, 4),
    ("tpu7x:2x2x2", 2, 4),
    ("tpu7x:4x4x4", 16, 4),
  ],
)
def test_hosts_of_a_slice(name, hosts, chips):
  found = tpu_slices.parse(name)
  assert (found.hosts, found.chips_per_host) == (hosts, chips)


def test_a_host_of_eight_chips():
  found = tpu_slices.parse("v6e:2x4", chips_per_host=8)
  assert (found.hosts, found.chips_per_host) == (1, 8)
  with pytest.raises(UserError, match="--chips-per-host 8: .* have 4 chips"):
    tpu_slices.parse("v6e:4x4", chips_per_host=8)


@pytest.mark.parametrize(
  "name",
  ["v5p:4x4", "v6e:3x3", "v5p:8x4x4", "v5p:4x4x6", "v5p:x4x4", "v5p"]
  + ["v6e:16x32", "v5p:24x24x24", "v5e:", "v6e:4x4x4"],
)
def test_no_such_topology(name):
  with pytest.raises(UserError, match=f"--tpu {name}: a topology of v"):
    tpu_slices.parse(name)


def test_no_such_generation():
  with pytest.raises(UserError, match="one of v4, v5e, v5p, v6e, tpu7x"):
    tpu_slices.parse("v7:4x4")
