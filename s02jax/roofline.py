"""What a step costs a chip at least: compute, HBM and interconnect.

  t_compute = FLOPs of all matrix products, recomputed ones too / peak
  t_hbm     = bytes read and written / HBM bandwidth
  t_ici     = Σ bytes a device sends in a collective / bandwidth of its links
  bound     = (model FLOPs / peak) / max(t_compute, t_hbm, t_ici)          (1)

(1) is an upper bound on model-FLOP utilisation: it assumes that the three
overlap wholly, that every matrix product runs at its peak, and that a group
whose devices differ in d coordinates uses both directions of the links of all
d dimensions of the torus.
"""

import collections
import dataclasses

import numpy as np
from jax.sharding import Mesh

from s02jax import hlo
from s02jax.chips import Chip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traffic:
  """All collectives of one kind along the same mesh axes."""

  kind: str
  axes: tuple[str, ...]
  sent: float  # bytes a device sends in a step
  seconds: float


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
    total[1] += c.sent / _bandwidth(c.groups[0], mesh, chip)
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


def _bandwidth(group: np.ndarray, mesh: Mesh, chip: Chip) -> float:
  """Bytes/s at which a device sends around a group."""
  devices = mesh.devices.reshape(-1)[group]
  if len({getattr(d, "slice_index", 0) for d in devices}) > 1:
    return chip.network / chip.cores
  places = np.array([d.coords for d in devices])
  dimensions = int((places != places[:1]).any(0).sum())
  sharing = chip.cores if len(np.unique(places, axis=0)) == len(group) else 1
  return 2 * chip.link * max(dimensions, 1) / sharing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roofline:
  """Least seconds of a device for what a compiled step does."""

  compute: float
  hbm: float
  ici: float
  model: float  # model FLOPs at peak

  @property
  def bound(self) -> float:
    """Equation (1)."""
    return self.model / max(self.compute, self.hbm, self.ici)
