"""TPU compiler without a TPU: topologies, compilation, what it says.

The compiler is libtpu, which describes and compiles for chips that are not
here.
"""

import importlib.util
import os
import pathlib
import re
import sys
from typing import Any

import jax
from jax.experimental import topologies

from s02jax.compiler.messages import fetching, first_line
from s02jax.core.errors import UserError


def devices(topology: str, slices: int) -> list[Any]:
  """Devices of a topology that nobody has to own.

  Args:
    topology: KIND:SHAPE of one slice.
    slices: number of slices.

  Raises:
    UserError: no libtpu, or a topology that it does not know.
  """
  # What libtpu would otherwise ask the machine it runs on.
  os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
  os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
  os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
  # Compiling takes no chip from another process.
  os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
  # What the partitioner warns of goes to a file otherwise.
  os.environ.setdefault("TPU_STDERR_LOG_LEVEL", "1")
  if "TPU_LIBRARY_PATH" not in os.environ:
    os.environ["TPU_LIBRARY_PATH"] = _libtpu()
  options = {"num_slices": slices} if slices > 1 else {}
  try:
    described = topologies.get_topology_desc(
      platform="tpu", topology_name=topology, **options
    )
  except Exception as error:  # the runtime's own, of many classes
    raise UserError(
      f"the TPU compiler has no topology {topology!r}: {first_line(error)}"
    ) from error
  return list(described.devices)


def _libtpu() -> str:
  """Path of libtpu.so, beside the environment or inside it."""
  beside = pathlib.Path(sys.prefix) / "tpu" / "libtpu" / "libtpu.so"
  if beside.exists():
    return str(beside)
  spec = importlib.util.find_spec("libtpu")
  if spec is None or spec.origin is None:
    raise UserError(
      f"compile-check needs the TPU compiler: {fetching('tpu')} fetches it, for"
      " Linux on x86-64; or point TPU_LIBRARY_PATH to a libtpu.so."
    )
  return str(pathlib.Path(spec.origin).parent / "libtpu.so")


def compile_step(lowered: Any, fast: bool) -> tuple[Any, str]:
  """Compiles a lowered step: (compiled, "") or (None, why it does not fit).

  Args:
    lowered: result of `jit(…).lower(…)`.
    fast: with less optimization than a run gets.

  Raises:
    jax.errors.JaxRuntimeError: the compiler failed for another reason.
  """
  options: dict[str, Any] = {}
  if fast:
    options["xla_optimization_level"] = "EFFORT_O1"
    # At this level libtpu 0.0.42's pass that gives all-reduces of a tpu7x to
    # its sparse cores fails its own check (`inc < core_count()`) and aborts.
    options["xla_tpu_enable_sparse_core_collective_offload_all_reduce"] = False
  try:
    return lowered.compile(compiler_options=options), ""
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    return None, first_line(error)


def wanted_bytes(problem: str) -> float | None:
  """Bytes of HBM that a refused step needs; None where the message has none."""
  match = re.search(r"\(([\d.]+)([KMGT])\) exceeds", problem)
  if match is None:
    return None
  return float(match[1]) * 1024.0 ** ("KMGT".index(match[2]) + 1)
