"""Accelerators: published figures of TPUs and GPUs, peak FLOP/s of any."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Mapping

import jax
import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
  """Published figures of one device of a kind of TPU or GPU."""

  names: tuple[str, ...]  # spellings of JAX's `device_kind`
  hbm: float  # memory of a device, GiB
  flops: float  # dense bfloat16 FLOP/s of a device
  bandwidth: float  # bytes/s between a device and its HBM
  # Bytes/s in one direction: of a TPU's port of the interconnect, of all of a
  # GPU's NVLinks.
  link: float
  network: float  # bytes/s of a chip to other slices, or other nodes
  unit: int  # rows and columns of the matrix unit
  cores: int = 1  # devices of a chip, which share its ports
  node: int = 0  # GPUs of a node, all joined by one switch; 0 of a TPU
  taken: float = 1.0  # share of the memory that JAX takes where nothing is said

  @property
  def usable(self) -> float:
    """Memory of a device that a program can hold, GiB."""
    return self.hbm * self.taken


# cloud.google.com/tpu/docs, pages v4, v5e, v5p, v6e and tpu7x: capacity,
# bandwidth, peak; interconnect per chip, both ways, over 4 or 6 ports.
CHIPS = {
  "v4": Chip(
    names=("TPU v4",),
    hbm=32,
    flops=275e12,
    bandwidth=1228e9,
    link=50e9,
    network=6.25e9,
    unit=128,
  ),
  "v5e": Chip(
    names=("TPU v5 lite", "TPU v5e"),
    hbm=16,
    flops=197e12,
    bandwidth=819e9,
    link=50e9,
    network=3.1e9,
    unit=128,
  ),
  "v5p": Chip(
    names=("TPU v5", "TPU v5p"),
    hbm=95,
    flops=459e12,
    bandwidth=2765e9,
    link=100e9,
    network=6.25e9,
    unit=128,
  ),
  "v6e": Chip(
    names=("TPU v6 lite", "TPU v6e"),
    hbm=32,
    flops=918e12,
    bandwidth=1638e9,
    link=100e9,
    network=12.5e9,
    unit=256,
  ),
  # A chip is two devices.
  "tpu7x": Chip(
    names=("TPU7x",),
    hbm=96,
    flops=2307e12 / 2,
    bandwidth=7380e9 / 2,
    link=100e9,
    network=12.5e9,
    unit=256,
    cores=2,
  ),
}

# nvidia.com, data sheets of H100 and H200 SXM: peak, bandwidth, NVLink
# (900 GB/s both ways). Memory as the driver reports it; one 400 Gb/s network
# card a GPU, as in DGX systems; tensor cores take tiles of 16 values at least.
_HOPPER = Chip(
  names=("NVIDIA H200",),
  hbm=141.0,
  flops=989e12,
  bandwidth=4.8e12,
  link=450e9,
  network=50e9,
  unit=16,
  node=8,
  taken=0.75,
)
GPUS = {
  "h100": dataclasses.replace(
    _HOPPER, names=("NVIDIA H100 80GB HBM3",), hbm=79.1, bandwidth=3.35e12
  ),
  "h200": _HOPPER,
}


def within_node(mesh: Mapping[str, int], gpus: int) -> int:
  """Size of the fsdp axis that stays among the GPUs of one node.

  Args:
    mesh: config.mesh, whose last axes are the nearest devices.
    gpus: GPUs of a node; where they hold no two parts, the size is kept.
  """
  most = gpus // (mesh["sequence"] * mesh["tensor"])
  return mesh["fsdp"] if most < 2 else min(mesh["fsdp"], most)


# Dense bfloat16 FLOP/s of a device, by `device_kind`.
PEAK_FLOPS = {
  "NVIDIA A100-SXM4-40GB": 312e12,
  "NVIDIA A100-SXM4-80GB": 312e12,
} | {
  name: chip.flops
  for chip in (*CHIPS.values(), *GPUS.values())
  for name in chip.names
}


# Environment of training by platform: variable -> words, as launchers set them.
# What the person who launches has set comes after, and so prevails.
ENVIRONMENT: dict[str, dict[str, tuple[str, ...]]] = {
  "gpu": {
    # Collectives are moved to overlap with compute. docs.jax.dev,
    # gpu_performance_tips; docs.nvidia.com/jax-toolbox/environment-variables.
    "XLA_FLAGS": ("--xla_gpu_enable_latency_hiding_scheduler=true",),
    # JAX takes 0.75 where nothing is said; the rest is for NCCL and cuDNN.
    # docs.nvidia.com/jax-toolbox/performance-profiling/gpu-performance.
    "XLA_PYTHON_CLIENT_MEM_FRACTION": ("0.9",),
  },
  # libtpu's own defaults: its flags have no public list that says what they do.
  "tpu": {},
}
# Variables that reach training where the one who launches has set them.
PASSED = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")
PASSED_PREFIXES = ("NCCL_", "XLA_PYTHON_CLIENT_", "JAX_COMPILATION_")


def environment(platform: str, given: Mapping[str, str]) -> dict[str, str]:
  """Variables that training gets on other machines.

  Args:
    platform: key of ENVIRONMENT.
    given: environment of the one who launches. Its flags come behind those of
      the table, and the last of one name counts; its other values replace the
      table's.
  """
  found = {k: " ".join(words) for k, words in ENVIRONMENT[platform].items()}
  for name, value in sorted(given.items()):
    if name == "XLA_FLAGS":
      found[name] = f"{found.get(name, '')} {value}".strip()
    elif name in PASSED or name.startswith(PASSED_PREFIXES):
      found[name] = value
  return found


def peak_flops() -> float | None:
  """Peak FLOP/s of all devices together; None where it is not known.

  On a CPU it is measured with a matrix product, which takes about 0.3 s, more
  where other programs run.
  """
  if jax.default_backend() == "cpu":
    return measured_flops()
  each = PEAK_FLOPS.get(jax.devices()[0].device_kind)
  return None if each is None else each * jax.device_count()


def measured_flops() -> float:
  """Measured FLOP/s of a matrix product, on all devices together.

  The best of at least 0.2 s of repetitions: float32 on the cores that this
  process may use, bfloat16 on accelerators. On a CPU the time is that of the
  process, shared out over its cores: what other programs take meanwhile is
  none of the hardware's speed.
  """
  cpu = jax.default_backend() == "cpu"
  # No power of two on a CPU: rows that far apart share few sets of its caches.
  n, dtype = (1040, np.float32) if cpu else (8192, jax.numpy.bfloat16)
  x = jax.device_put(np.ones((n, n), dtype), jax.local_devices()[0])
  product = jax.jit(lambda a: a @ a).lower(x).compile()
  product(x).block_until_ready()
  clock, parallel = (
    (time.process_time, cores()) if cpu else (time.perf_counter, 1)
  )
  times, began = [], time.perf_counter()
  while len(times) < 3 or time.perf_counter() - began < 0.2:
    start = clock()
    product(x).block_until_ready()
    times.append((clock() - start) / parallel)
  best = min(times)
  # Fake devices share the cores of their process.
  parts = jax.process_count() if cpu else jax.device_count()
  return parts * 2 * n**3 / best


def cores() -> float:
  """Number of cores that this process may keep busy."""
  if hasattr(os, "sched_getaffinity"):
    count = len(os.sched_getaffinity(0))
  else:
    count = os.cpu_count() or 1
  try:
    quota, period = pathlib.Path("/sys/fs/cgroup/cpu.max").read_text().split()
    return min(count, int(quota) / int(period))
  except (OSError, ValueError):  # no control group, or one without a quota
    return count
