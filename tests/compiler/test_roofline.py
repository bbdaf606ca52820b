"""Seconds of collectives, worked out by hand."""

import types
from typing import Any

import numpy as np
import pytest

from s02jax.compiler import check, hlo, roofline
from s02jax.flops import Product
from s02jax.hardware import Chip

# 1 GB/s between slices, 10 GB/s in each direction of a dimension of the torus.
CHIP = Chip(
  names=(), hbm=1, flops=1, bandwidth=1, link=10e9, network=1e9, unit=1
)
SIZE = 8e9  # bytes


def mesh(slices: int, cores: int = 1) -> Any:
  """Mesh [slices, 4] of four devices in a row, `cores` of them on a chip."""
  devices = [
    types.SimpleNamespace(slice_index=i, coords=[j // cores, 0, 0])
    for i in range(slices)
    for j in range(4)
  ]
  shaped = np.array(devices).reshape(slices, 4)
  return types.SimpleNamespace(devices=shaped, axis_names=("data", "fsdp"))


def found(kind: str, groups: list[list[int]]) -> hlo.Collective:
  return hlo.Collective(
    kind=kind, size=SIZE, groups=np.array(groups), times=1, op_name=""
  )


def seconds(kind: str, groups: list[list[int]], over: Any, chip=CHIP) -> float:
  (traffic,) = roofline.traffic([found(kind, groups)], over, chip)
  return traffic.seconds


@pytest.mark.parametrize(
  "kind, expected",
  [
    # Across: n = 8, k = 2, m = 4, at 1 GB/s. Within would take, at 20 GB/s,
    # 2 × 8 × 3/4 / 20 = 0.6 s.
    ("all-reduce", 2 * (8 / 4) * 1 / 2),
    ("all-gather", (8 / 4) * 1 / 2),
    ("reduce-scatter", (8 / 4) * 1 / 2),
    ("all-to-all", 8 * 4 / 8),
  ],
)
def test_a_group_over_two_slices_sends_little_between_them(kind, expected):
  assert seconds(kind, [[*range(8)]], mesh(2)) == pytest.approx(expected)


def test_the_longer_of_both_parts_counts():
  """12 GB within a slice, at 20 GB/s, outlast 2 GB across in 0.02 s."""
  fast = Chip(**{**vars(CHIP), "network": 100e9})
  assert seconds("all-reduce", [[*range(8)]], mesh(2), fast) == pytest.approx(
    12 / 20
  )


def test_the_parts_add_up_to_what_is_sent():
  """A group sends 2 (8/4) 1/2 + 2 × 8 × 3/4 = 2 × 8 × 7/8 GB, as on a ring."""
  (traffic,) = roofline.traffic(
    [found("all-reduce", [[*range(8)]])], mesh(2), CHIP
  )
  assert traffic.axes == ("data", "fsdp")
  assert traffic.sent == pytest.approx(2e9 + 12e9)


def test_one_device_of_each_slice_sends_all_of_it_between_them():
  groups = [[i, i + 4] for i in range(4)]
  assert seconds("all-reduce", groups, mesh(2)) == pytest.approx(2 * 8 / 2)
  assert seconds("all-gather", groups, mesh(2)) == pytest.approx(8 / 2)


def test_groups_within_slices_send_nothing_between_them():
  groups = [[0, 1, 2, 3], [4, 5, 6, 7]]
  expected = pytest.approx(2 * 8 * 3 / 4 / 20)
  assert seconds("all-reduce", groups, mesh(2)) == expected
  assert seconds("all-reduce", groups[:1], mesh(1)) == expected


def test_three_slices():
  """Three slices send 2 × 8/4 × 2/3 GB across: n = 12, k = 3, m = 4."""
  assert seconds("all-reduce", [[*range(12)]], mesh(3)) == pytest.approx(8 / 3)


def test_a_permutation_waits_for_its_pair_between_slices():
  ring = [[i, (i + 1) % 8] for i in range(8)]
  assert seconds("collective-permute", ring, mesh(2)) == pytest.approx(8)
  assert seconds("collective-permute", ring[:3], mesh(2)) == pytest.approx(
    8 / 20
  )


def test_the_devices_of_a_chip_share_its_network():
  two = Chip(**{**vars(CHIP), "cores": 2})
  assert seconds("all-reduce", [[*range(8)]], mesh(2, 2), two) == (
    pytest.approx(2 * 2)
  )


def test_the_two_bounds_are_those_of_all_overlap_and_of_none():
  limits = roofline.Roofline(compute=4.0, hbm=2.0, ici=2.0, model=2.0)
  assert limits.bound == 2 / 4 and limits.apart == 2 / 8


def test_products_that_do_not_fill_the_unit_take_longer():
  """A product [k, n] of 64 × 192 fills 1/2 × 3/4 of a 128 × 128 unit."""
  chip = Chip(**{**vars(CHIP), "flops": 100.0, "unit": 128})
  product = Product(m=10, k=64, n=192, times=3)
  assert check.busy_seconds([product], chip) == pytest.approx(
    product.flops / 100 / (1 / 2 * 3 / 4)
  )
