"""TPU slices: their names in Kubernetes and their numbers of hosts."""

import dataclasses
import math

from s02jax.core.errors import UserError


@dataclasses.dataclass(frozen=True)
class Generation:
  """One generation of TPU in GKE."""

  accelerator: str  # value of the node label gke-tpu-accelerator
  dimensions: int  # dimensions of a topology
  most_chips: int  # chips of the largest slice


GENERATIONS = {
  "v4": Generation("tpu-v4-podslice", 3, 4096),
  "v5e": Generation("tpu-v5-lite-podslice", 2, 256),
  "v5p": Generation("tpu-v5p-slice", 3, 6144),
  "v6e": Generation("tpu-v6e-slice", 2, 256),
  "tpu7x": Generation("tpu7x", 3, 9216),
}
_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_SMALL_CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")
# The v5e and v6e slices that one host of eight chips also holds.
_ONE_HOST = "2x4"


@dataclasses.dataclass(frozen=True)
class Slice:
  """Slice: chips that are wired to each other, and their hosts."""

  accelerator: str
  topology: str
  hosts: int
  chips_per_host: int


def parse(name: str, chips_per_host: int | None = None) -> Slice:
  """Slice that `GENERATION:TOPOLOGY` names, as v5p:4x4x8.

  Args:
    name: a topology of one of `GENERATIONS`.
    chips_per_host: 8 for the machines that hold a whole 2x4 of v5e or v6e;
      where absent, 4 (1 for 1x1), which every other machine has.

  Raises:
    UserError: there is no such slice.
  """
  generation, _, topology = name.partition(":")
  if generation not in GENERATIONS:
    raise UserError(
      f"--tpu {name}: the generation must be one of {', '.join(GENERATIONS)}, "
      "as in v5p:4x4x8."
    )
  known = GENERATIONS[generation]
  if not _exists(topology, known):
    form = ", ".join(_FLAT)
    if known.dimensions == 3:
      form = f"{', '.join(_SMALL_CUBES)}, or AxBxC in multiples of 4, A ≤ B ≤ C"
    raise UserError(
      f"--tpu {name}: a topology of {generation} is one of {form}, of at most "
      f"{known.most_chips} chips."
    )
  chips = math.prod(map(int, topology.split("x")))
  each = min(4, chips) if chips_per_host is None else chips_per_host
  if each != min(4, chips) and (topology, each) != (_ONE_HOST, 8):
    raise UserError(
      f"--chips-per-host {each}: hosts of {name} have {min(4, chips)} chips; "
      "leave it out."
    )
  return Slice(known.accelerator, topology, chips // each, each)


def _exists(topology: str, generation: Generation) -> bool:
  if generation.dimensions == 2:
    return topology in _FLAT
  if topology in _SMALL_CUBES:
    return True
  sizes = topology.split("x")
  if len(sizes) != 3 or not all(size.isdecimal() for size in sizes):
    return False
  a, b, c = map(int, sizes)
  return (
    4 <= a <= b <= c
    and not (a % 4 or b % 4 or c % 4)
    and a * b * c <= generation.most_chips
  )
