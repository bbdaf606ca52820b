"""Least time of a step on a chip: compute, HBM and interconnect.

  t_compute = Σ over the products, recomputed ones too, FLOPs / (peak · fill)
  t_hbm     = bytes read and written / HBM bandwidth
  t_ici     = Σ over the collectives, t of (3): bytes sent / bandwidth
  bound     = (model FLOPs / peak) / max(t_compute, t_hbm, t_ici)          (1)
  apart     = (model FLOPs / peak) / (t_compute + t_hbm + t_ici)          (1b)

(1) is an upper bound on model-FLOP utilisation: it assumes that the three
overlap wholly, that a matrix product runs at the peak of the part of the matrix
unit that it fills, and that a group whose devices differ in d coordinates uses
both directions of the links of all d dimensions of the torus. Collectives
follow one another. (1b) is what the same assumptions give where nothing
overlaps: a run should lie between the two, nearer to which the compiler's
schedule decides.

A group of n devices may lie in k slices, m = n / k devices in each. Of what a
device sends, for an array of S bytes (the group's; of all-to-all and permute,
a device's), the least goes over the data-centre network when a slice does what
it can do alone first, or last:

                     across slices         within a slice
  all-reduce         2 S/m (k - 1)/k       2 S (m - 1)/m
  all-gather           S/m (k - 1)/k         S (m - 1)/m
  reduce-scatter       S/m (k - 1)/k         S (m - 1)/m
  all-to-all           S (n - m)/n           S (m - 1)/n                    (2)
  permute              S, or                 S where no pair's slices differ

  t = max(bytes across / network of a device, bytes within / its links)     (3)

The two parts of a row add up to what a ring of all n sends. They depend on one
another, but an array sent in pieces has one piece in each at a time, so that
only the longer part, (3), is sure to be waited for.

The TPU compiler makes two of a collective across slices: one within each, and
one of the m-th parts of the array, in groups of one device a slice.

GPUs are counted in the same way: a node is a slice, its switch gives every GPU
its whole bandwidth to any other, and NCCL sends between nodes as (2) has it.
"""

import collections
import dataclasses

import jax
import numpy as np
from jax.sharding import Mesh

from s02jax.compiler import hlo
from s02jax.hardware import Chip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traffic:
  """Sum of all collectives of one kind along the same mesh axes."""

  kind: str  # one of hlo.KINDS
  axes: tuple[str, ...]  # mesh axes along which the groups lie
  sent: float  # bytes that a device sends in a step
  seconds: float  # least time, by (3)


def traffic(
  collectives: list[hlo.Collective], mesh: Mesh, chip: Chip
) -> list[Traffic]:
  """Collectives by kind and mesh axes, the slowest first."""
  sums: dict[tuple, list[float]] = collections.defaultdict(lambda: [0.0, 0.0])
  for c in collectives:
    axes = axes_of(c.groups, mesh)
    if not axes:
      continue
    total = sums[c.kind, axes]
    total[0] += c.sent
    total[1] += _seconds(c, mesh, chip)
  found = [
    Traffic(kind=kind, axes=axes, sent=sent, seconds=seconds)
    for (kind, axes), (sent, seconds) in sums.items()
  ]
  return sorted(found, key=lambda t: -t.seconds)


def axes_of(groups: np.ndarray, mesh: Mesh) -> tuple[str, ...]:
  """Mesh axes along which the devices of a group differ."""
  places = np.stack(np.unravel_index(groups, mesh.devices.shape))
  differ = (places != places[:, :, :1]).any((1, 2))
  return tuple(a for a, d in zip(mesh.axis_names, differ, strict=True) if d)


def _seconds(c: hlo.Collective, mesh: Mesh, chip: Chip) -> float:
  """Least seconds by equation (3), of the group over most slices or nodes."""
  slices = np.array([_island(d, chip) for d in mesh.devices.flat])
  spans = (np.diff(np.sort(slices[c.groups])) > 0).sum(-1) + 1
  group = c.groups[spans.argmax()]
  local = group[slices[group] == slices[group[0]]]
  across = c.sent * _across(c.kind, len(group), int(spans.max()))
  network = chip.network / chip.cores
  within = (c.sent - across) / _bandwidth(local, mesh, chip)
  return max(across / network, within)


def _island(device: jax.Device, chip: Chip) -> int:
  """Number of a device's slice of TPUs, or node of GPUs."""
  if chip.node:
    return device.process_index
  return getattr(device, "slice_index", 0)


def _across(kind: str, n: int, k: int) -> float:
  """Share of what a device sends that leaves its slice, by (2)."""
  if n == 1:
    return 0.0
  if kind in ("all-to-all", "collective-permute"):
    return (n - n / k) / (n - 1)
  return (k - 1) / (n - 1)


def _bandwidth(group: np.ndarray, mesh: Mesh, chip: Chip) -> float:
  """Bytes/s at which a device sends around a group within its slice or node."""
  if chip.node:  # one switch joins all of them
    return chip.link
  places = np.array([d.coords for d in mesh.devices.reshape(-1)[group]])
  dimensions = int((places != places[:1]).any(0).sum())
  sharing = chip.cores if len(np.unique(places, axis=0)) == len(group) else 1
  return 2 * chip.link * max(dimensions, 1) / sharing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roofline:
  """Least seconds of a device for a compiled step."""

  compute: float  # all matrix products, by the part of the unit they fill
  hbm: float  # bytes read and written at the memory's bandwidth
  ici: float  # all collectives
  model: float  # model FLOPs at peak

  @property
  def bound(self) -> float:
    """Upper bound on model-FLOP utilisation, equation (1)."""
    return self.model / max(self.compute, self.hbm, self.ici)

  @property
  def apart(self) -> float:
    """Model-FLOP utilisation where nothing overlaps, equation (1b)."""
    return self.model / (self.compute + self.hbm + self.ici)
