"""XLA's GPU compiler without a GPU: nodes of Hoppers, compilation of a step.

The compiler is that of JAX's CUDA plugin. It knows a card by XLA's description
of it. It does not know the workspace of cuDNN, the buffers of NCCL, or which
kernels tuning would choose, and it refuses nothing for want of memory.
"""

import contextlib
import importlib
import os
import pathlib
import sys
from collections.abc import Generator
from typing import Any
from unittest import mock

import jax
from jax._src import xla_bridge
from jax.experimental import topologies

from s02jax.compiler.messages import captured_stderr, fetching
from s02jax.core.errors import UserError
from s02jax.hardware import Chip

# XLA's GpuTargetConfig of a Hopper, as a driver reports it; sizes in bytes.
_TARGET = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth}
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: {memory}
  shared_memory_per_block_optin: 232448
  cuda_compute_capability {{ major: 9 }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
runtime_version {{ major: 12 minor: 8 patch: 0 }}
device_description_str: "{name}"
"""
PLUGINS = ("xla_cuda12", "xla_cuda13")  # modules of jax_plugins
_CUDNN = 91_000  # the version above, as cuDNN writes it
# Without a GPU nothing can be tried: no tuning, and no kernels that need it.
_OPTIONS = {"xla_gpu_enable_triton_gemm": False, "xla_gpu_autotune_level": 0}


def devices(topology: str, chip: Chip, count: int) -> list[Any]:
  """GPUs that nobody has to own, in nodes of `chip.node`.

  Args:
    topology: KIND:COUNT, for errors.
    chip: one of `hardware.GPUS`.
    count: number of GPUs; a whole number of nodes where more than one.

  Raises:
    UserError: no CUDA plugin, or a part of a node too many.
  """
  nodes, rest = divmod(count, chip.node)
  if nodes and rest:
    raise UserError(
      f"--topology {topology!r}: {count} GPUs are no whole number of nodes of "
      f"{chip.node}."
    )
  shape = f"1x{nodes}x{chip.node}" if nodes else f"1x1x{count}"
  _register()
  described = topologies.get_topology_desc(
    platform="cuda",
    topology_name="",
    topology=shape,
    target_config=_TARGET.format(
      name=chip.names[0],
      bandwidth=int(chip.bandwidth),
      memory=int(chip.hbm * 2**30),
    ),
  )
  return list(described.devices)


def _register() -> None:
  """Makes the CUDA plugin known to JAX, which need not find a driver."""
  beside = pathlib.Path(sys.prefix) / "cuda"
  if beside.is_dir() and str(beside) not in sys.path:
    sys.path.append(str(beside))
  # There is no driver whose version the plugin could check.
  os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")
  with captured_stderr():  # it says that there is none
    jax.devices("cpu")  # the first call looks for plugins
    if "cuda" in xla_bridge._backend_factories:
      return
    for name in PLUGINS:
      with contextlib.suppress(ImportError):
        importlib.import_module(f"jax_plugins.{name}").initialize()
        return
  raise UserError(
    "compile-check needs JAX's CUDA plugin for this topology: "
    f"{fetching('cuda')} fetches it, for Linux on x86-64."
  )


@contextlib.contextmanager
def tracing() -> Generator[None]:
  """Context in which functions are traced as with a cuDNN at hand."""
  checked = "jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version"
  with mock.patch(checked, lambda: _CUDNN):
    yield


def compile_step(lowered: Any) -> Any:
  """Compiled form of a lowered step: result of `jit(…).lower(…)`.

  Raises:
    jax.errors.JaxRuntimeError: the compiler failed.
  """
  return lowered.compile(compiler_options=_OPTIONS)
