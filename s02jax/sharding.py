"""Sharding of parameters and activations: the only file that names mesh axes.

  A mesh has four axes. `data` holds replicas (and may span slices), `fsdp`
  splits parameters and batch, `sequence` splits time, `tensor` splits width.
  Parameters carry no annotations: the first rule of `PARAMETER_RULES` whose
  pattern is found in a parameter's path gives the axes of its LAST
  dimensions, and dimensions in front of those (layers of a scanned stack,
  taps of a convolution) are replicated. Optimizer moments and averages end
  in the parameter's path, so they follow it. Activations are named by
  meaning: `shard(x, "batch", "time", "embed")`. A dimension that an axis
  does not divide is replicated.

A size of -1 on one axis stands for all devices that the others leave.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import (
  AbstractDevice,
  AbstractMesh,
  AxisType,
  Mesh,
  NamedSharding,
)
from jax.sharding import PartitionSpec as P

from s02jax.core import errors

PyTree = Any
Axes = str | tuple[str, ...] | None

AXES = ("data", "fsdp", "sequence", "tensor")

# Logical name of an activation's dimension -> mesh axes.
ACTIVATION_RULES: dict[str, Axes] = {
  "batch": ("data", "fsdp"),
  "time": "sequence",
  "embed": None,
  "heads": "tensor",
  "head_dim": None,
  "mlp": "tensor",
  "vocab": "tensor",
  "channels": None,
}

# Pattern in a path -> axes of the last dimensions. First match wins.
PARAMETER_RULES: tuple[tuple[str, tuple[Axes, ...]], ...] = (
  # Attention: into the heads, and back.
  (r"(^|/)(q|k|v)/kernel$", ("fsdp", "tensor")),
  (r"(^|/)o/kernel$", ("tensor", "fsdp")),
  # Feed-forward: into the hidden width, and back.
  (r"(^|/)(gate|up)/kernel$", ("fsdp", "tensor")),
  (r"(^|/)down/kernel$", ("tensor", "fsdp")),
  # Tables of rows to look up.
  (r"(^|/)embedding$", ("tensor", "fsdp")),
  # Low-rank changes A B of kernels: split as their kernel is, the rank whole.
  (r"(^|/)(o|down)/lora_a$", ("tensor", None)),
  (r"(^|/)(o|down)/lora_b$", (None, "fsdp")),
  (r"(^|/)lora_a$", ("fsdp", None)),
  (r"(^|/)lora_b$", (None, "tensor")),
  # Speaker vectors that are fitted.
  (r"(^|/)vector$", ()),
  # Every other dense layer or convolution.
  (r"(^|/)kernel$", ("fsdp", "tensor")),
  # Vectors, one per layer where a stack is scanned; depthwise taps.
  (r"(^|/)(bias|scale|taps)$", ()),
  # Codebooks and their statistics are small and read whole.
  (r"(^|/)codebook/", ()),
)


def make_mesh(
  config: Mapping[str, int], devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """Lays the devices out along the four axes.

  Args:
    config: devices along each of `AXES`; at most one may be -1.
    devices: devices to use; those of all processes where absent.

  Raises:
    UserError: the sizes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  for name in config:
    if name not in AXES:
      raise errors.UserError(
        f"config.mesh.{name} is not a mesh axis; they are {', '.join(AXES)}."
      )
  sizes = [int(config[axis]) if axis in config else 1 for axis in AXES]
  known = int(np.prod([size for size in sizes if size != -1]))
  if sizes.count(-1) == 1 and known > 0 and len(devices) % known == 0:
    sizes = [len(devices) // known if s == -1 else s for s in sizes]
  if int(np.prod(sizes)) != len(devices) or min(sizes) < 1:
    shape = ", ".join(f"{a}={s}" for a, s in zip(AXES, sizes, strict=True))
    raise errors.UserError(
      f"config.mesh ({shape}) does not cover the {len(devices)} devices here; "
      "the sizes must multiply to that number (-1 fills one of them)."
    )
  grid = _device_grid(tuple(sizes), devices)
  return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def _device_grid(
  sizes: tuple[int, ...], devices: Sequence[jax.Device]
) -> np.ndarray:
  """Devices in the shape of the mesh; slices lie along the data axis."""
  if devices[0].platform != "tpu":
    return np.array(devices, dtype=object).reshape(sizes)
  # Devices of a described topology, which are not there, have no slice.
  slices = len({getattr(device, "slice_index", 0) for device in devices})
  if slices == 1:
    return mesh_utils.create_device_mesh(
      sizes, devices, allow_split_physical_axes=True
    )
  if sizes[0] % slices:
    raise errors.UserError(
      f"config.mesh.data is {sizes[0]}; it must be a multiple of the "
      f"{slices} slices, which only the data axis may span."
    )
  within = (sizes[0] // slices, *sizes[1:])
  return mesh_utils.create_hybrid_device_mesh(
    within, (slices, 1, 1, 1), devices, allow_split_physical_axes=True
  )


def parameter_spec(path: str, shape: tuple[int, ...], mesh: Mesh) -> P:
  """PartitionSpec of one parameter, by its path.

  Raises:
    ValueError: no rule matches; a new kind of parameter needs a line in
      PARAMETER_RULES.
  """
  if len(shape) < 2:
    return P()
  for pattern, axes in PARAMETER_RULES:
    if re.search(pattern, path):
      tail = axes[-len(shape) :] if axes else ()
      full = (None,) * (len(shape) - len(tail)) + tail
      return _fit(full, shape, mesh)
  raise ValueError(
    f"no sharding rule matches the parameter {path!r} of shape {shape}; "
    "add one to PARAMETER_RULES in s02jax/sharding.py"
  )


def parameter_shardings(mesh: Mesh, tree: PyTree) -> PyTree:
  """NamedShardings of a state or of parameters, leaf by leaf."""

  def place(path: tuple, leaf: Any) -> NamedSharding:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    return NamedSharding(mesh, parameter_spec(name, leaf.shape, mesh))

  return jax.tree_util.tree_map_with_path(place, tree)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Sharding of a batch: its rows over data × fsdp, other dimensions whole."""
  return NamedSharding(mesh, P(ACTIVATION_RULES["batch"]))


def local_rows(mesh: Mesh, batch_size: int) -> np.ndarray:
  """Rows of a global batch that this process must load, ascending.

  They need not be neighbours, because a TPU's links decide where its devices
  lie in the mesh. Processes that hold other parts of the same rows load the
  same ones.

  Raises:
    UserError: the rows do not split evenly over the devices.
  """
  parts = _size(ACTIVATION_RULES["batch"], mesh)
  if batch_size < 1 or batch_size % parts:
    raise errors.UserError(
      f"config.batch_size is {batch_size}; it must be a multiple of "
      f"{parts}, the devices along config.mesh.data and config.mesh.fsdp."
    )
  held = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
  return rows_in([index[0] for index in held.values() if index], batch_size)


def shared_rows(mesh: Mesh, batch_size: int) -> dict[int, tuple[int, ...]]:
  """Rows of this process that others hold as well.

  Returns:
    Row number -> numbers of all processes that hold it, ascending; rows that
    only this process holds are left out.
  """
  held = batch_sharding(mesh).devices_indices_map((batch_size,))
  parts: dict[tuple[int, int], set[int]] = {}
  for device, index in held.items():
    first, last, _ = index[0].indices(batch_size)
    parts.setdefault((first, last), set()).add(device.process_index)
  me = jax.process_index()
  return {
    row: tuple(sorted(processes))
    for (first, last), processes in parts.items()
    if me in processes and len(processes) > 1
    for row in range(first, last)
  }


def rows_in(slices: Sequence[slice], batch_size: int) -> np.ndarray:
  """Row numbers in any of the slices, ascending."""
  held = np.zeros(batch_size, bool)
  for rows in slices:
    held[rows] = True
  return np.flatnonzero(held)


def global_array(
  sharding: NamedSharding, local: np.ndarray, rows: np.ndarray, batch_size: int
) -> jax.Array:
  """Global batch of all processes, made of the rows that each has loaded.

  Args:
    sharding: result of `batch_sharding`.
    local: rows of this process, [len(rows), ...].
    rows: their numbers, the result of `local_rows`.
    batch_size: rows of all processes together.
  """

  def part(index: tuple[slice, ...] | None) -> np.ndarray:
    held = index[0] if index else slice(None)
    first, last, _ = held.indices(batch_size)
    begin = int(np.searchsorted(rows, first))
    return local[begin : begin + last - first]

  shape = (batch_size, *local.shape[1:])
  return jax.make_array_from_callback(shape, sharding, part)


def spread(placed: NamedSharding, shape: tuple[int, ...]) -> NamedSharding:
  """Sharding of an array that splits it over its replicas as well.

  A state that is read in this way is read once, however many devices hold a
  copy of each part in the end: they get it from one another.

  Args:
    placed: sharding in which devices along the axes that it does not use hold
      the same.
    shape: of the array.

  Returns:
    The same, with all unused axes in the first dimension that they divide
    evenly; `placed` itself where there is none.
  """
  mesh = placed.mesh
  spec = [*placed.spec, *[None] * (len(shape) - len(placed.spec))]
  used = [_names(axes) for axes in spec]
  free = tuple(a for a in AXES if mesh.shape[a] > 1 and a not in sum(used, ()))
  for place, (mine, size) in enumerate(zip(used, shape, strict=True)):
    if free and size % _size(mine + free, mesh) == 0:
      spec[place] = mine + free
      return NamedSharding(mesh, P(*spec))
  return placed


def _names(axes: Axes) -> tuple[str, ...]:
  """Mesh axes of one dimension, as a tuple."""
  if axes is None:
    return ()
  return (axes,) if isinstance(axes, str) else tuple(axes)


def replicated(mesh: Mesh) -> NamedSharding:
  """Sharding of an array that every device holds whole."""
  return NamedSharding(mesh, P())


def shard(x: jax.Array, *names: str | None) -> jax.Array:
  """Constrains the sharding of an activation by names of its dimensions.

  Args:
    x: activation; outside a mesh (`jax.set_mesh`) it is returned as it is.
    names: keys of ACTIVATION_RULES, one per dimension; None is replicated.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return x
  if len(names) != x.ndim:
    raise ValueError(f"{len(names)} names for an array of shape {x.shape}")
  axes = tuple(None if n is None else ACTIVATION_RULES[n] for n in names)
  return jax.lax.with_sharding_constraint(x, _fit(axes, x.shape, mesh))


def platform() -> str:
  """Platform of the devices that a function is traced for: cpu, gpu or tpu."""
  device = jax.sharding.get_abstract_mesh().abstract_device
  return jax.default_backend() if device is None else device.platform


def any_platform() -> jax.sharding.use_abstract_mesh:
  """Context in which a function is traced for one device of any platform.

  It is traced as for a CPU: without any platform's kernels it can be lowered
  for all of them.
  """
  cpu = AbstractDevice(device_kind="cpu", num_cores=None, platform="cpu")
  return jax.sharding.use_abstract_mesh(
    AbstractMesh((), (), abstract_device=cpu)
  )


def axes(name: str, size: int) -> Axes:
  """Mesh axes that split a dimension of this name and size; None if none do."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return None
  fitted = _fit((ACTIVATION_RULES[name],), (size,), mesh)
  return fitted[0] if fitted else None


def ways(axes: Axes) -> int:
  """Number of parts that mesh axes split a dimension into."""
  mesh = jax.sharding.get_abstract_mesh()
  return 1 if mesh.empty else _size(axes, mesh)


def per_device(
  function: Callable[..., Any],
  in_specs: Callable[[Any], tuple],
  out_specs: Any,
) -> Callable[..., Any]:
  """Maps `function` over the devices' parts; outside a mesh, returns it.

  Args:
    function: function of the parts of one device.
    in_specs: function from the mesh to the PartitionSpecs of the arguments.
    out_specs: PartitionSpecs of the result.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return function
  return jax.shard_map(
    function,
    mesh=mesh,
    in_specs=in_specs(mesh),
    out_specs=out_specs,
    check_vma=False,  # kernels do not say along which axes they vary
  )


def map_parts(
  function: Callable[[jax.Array], jax.Array], x: jax.Array, *names: str | None
) -> jax.Array:
  """Applies a function to the part of an array that each device holds.

  For operations that the partitioner would gather the whole array for, though
  they work on the last dimensions alone. Where nothing splits the array, as
  outside a mesh, the function gets all of it.

  Args:
    function: function that keeps the dimensions that are split.
    x: array.
    names: keys of ACTIVATION_RULES, one per dimension; None is not split.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return function(x)
  axes = tuple(None if n is None else ACTIVATION_RULES[n] for n in names)
  spec = _fit(axes, x.shape, mesh)
  if not any(spec):
    return function(x)
  return jax.shard_map(
    function, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
  )(x)


def _fit(axes: tuple[Axes, ...], shape: tuple[int, ...], mesh: Any) -> P:
  """PartitionSpec of the axes that divide their dimension and split it."""
  kept = []
  for axis, size in zip(axes, shape, strict=True):
    parts = _size(axis, mesh)
    kept.append(axis if parts > 1 and size % parts == 0 else None)
  while kept and kept[-1] is None:
    kept.pop()
  return P(*kept)


def _size(axis: Axes, mesh: Any) -> int:
  """Devices along one or more axes."""
  if axis is None:
    return 1
  names = (axis,) if isinstance(axis, str) else axis
  return int(np.prod([mesh.shape[name] for name in names]))
