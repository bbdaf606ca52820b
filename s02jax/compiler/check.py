"""Compiles a train step for TPUs that are not here, and reports on it.

The step itself is compiled by the TPU compiler (libtpu), with the shapes of the
longest rows. The report says what a device holds, computes, moves through HBM
and sends, by `s02jax.compiler.roofline`. Values that only a corpus knows
(vocabularies, latent channels) are taken from the stage's `assume`.
"""

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh
from ml_collections import ConfigDict

from s02jax import sharding, stages
from s02jax.compiler import hlo, roofline
from s02jax.core.errors import UserError
from s02jax.flops import Product, counted
from s02jax.hardware import CHIPS, Chip
from s02jax.stages import train_state
from s02jax.training import programs

GIB = 2.0**30
# Under this share a matrix unit is called wasted, above that share of FLOPs.
_FILLED, _SHARE = 0.8, 0.01
# The exit code where the compiler says nothing of a config.
FAILED = 3


class CompilerError(Exception):
  """The compiler failed, not for want of memory. One sentence."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
  """What one compilation told."""

  config: str
  topology: str
  devices: int
  mesh: dict[str, int]
  batch: dict[str, list[int]]  # shapes, rows of all devices
  rows_per_device: int
  parameters: int
  hbm: float  # bytes of a device's memory
  held: float | None  # bytes that a step needs of it, where known
  fits: bool
  problem: str  # the compiler's sentence, where it does not fit
  model_flops: float  # of one device
  executed_flops: float  # with what is computed again
  hbm_bytes: float
  traffic: list[roofline.Traffic]
  roofline: roofline.Roofline | None
  warnings: list[str]
  seconds: float  # of compilation
  fast: bool  # compiled with less optimization than a run


def check(
  config: ConfigDict,
  name: str,
  topology: str,
  rows_per_device: int | None = None,
  slices: int = 1,
  fast: bool = False,
) -> Report:
  """Compiles the train step of a config for a topology.

  Args:
    config: as `configs/<stage>.py` gives it.
    name: of the config, for the report.
    topology: KIND:SHAPE of one slice.
    rows_per_device: of the batch; as `config.batch_size` says where absent.
    slices: connected by the data-centre network along the data axis.
    fast: compiles sooner, with less optimization than a run gets.

  Raises:
    UserError: an unknown topology, a mesh that does not cover it, rows that do
      not split over it, no libtpu.
    CompilerError: it failed.
  """
  if slices < 1:
    raise UserError(f"--slices is {slices}; it must be at least 1.")
  place = topology if slices == 1 else f"{slices} × {topology}"
  chip = _chip(topology)
  config = stages.assume(config)
  mesh = sharding.make_mesh(config.mesh, _devices(topology, slices))
  rows = _rows(config, mesh, rows_per_device)
  stage = stages.make(config)
  state = programs.abstract_state(stage, mesh)
  batch = _batch(stage, mesh, rows * _parts(mesh))
  step = programs.train_program(stage, mesh, state)
  with jax.set_mesh(mesh):
    products = counted(jax.make_jaxpr(step)(state, batch))
    lowered = step.lower(state, batch)
  began = time.perf_counter()
  try:
    with _stderr() as said:
      compiled, problem = _compile(lowered, fast)
  except jax.errors.JaxRuntimeError as error:
    raise CompilerError(
      f"the TPU compiler failed on {name} for {place}: {_first(error)}"
    ) from error
  seconds = time.perf_counter() - began
  moved = _Moved() if compiled is None else _read(compiled, mesh, chip)
  held = _wanted(problem) if compiled is None else _held(compiled)
  model = float(stage.flops(batch)) / mesh.size
  executed = sum(p.flops for p in products) / mesh.size
  times = roofline.Roofline(
    compute=executed / chip.flops,
    hbm=moved.hbm_bytes / chip.bandwidth,
    ici=sum(t.seconds for t in moved.traffic),
    model=model / chip.flops,
  )
  return Report(
    config=name,
    topology=place,
    devices=mesh.size,
    mesh=dict(mesh.shape),
    batch={key: list(x.shape) for key, x in batch.items()},
    rows_per_device=rows,
    parameters=_parameters(state),
    hbm=chip.hbm * GIB,
    held=held,
    fits=compiled is not None and held is not None and held <= chip.hbm * GIB,
    problem=problem,
    model_flops=model,
    executed_flops=executed,
    hbm_bytes=moved.hbm_bytes,
    traffic=moved.traffic,
    roofline=None if compiled is None else times,
    warnings=[
      *moved.warnings,
      *_involuntary(said),
      *_unfilled(products, chip.unit),
    ],
    seconds=seconds,
    fast=fast,
  )


def _parts(mesh: Mesh) -> int:
  """That a batch is split into."""
  return mesh.shape["data"] * mesh.shape["fsdp"]


def _rows(config: ConfigDict, mesh: Mesh, told: int | None) -> int:
  """Of a device; raises UserError where `s02 train` would not take them."""
  if told is None:
    sharding.local_rows(mesh, config.batch_size)  # complains where uneven
    rows = config.batch_size // _parts(mesh)
  elif told < 1:
    raise UserError(f"--rows_per_device is {told}; it must be at least 1.")
  else:
    rows = told
  train_state.check_microbatches(config.accumulate, rows * _parts(mesh))
  return rows


def _batch(stage: stages.Stage, mesh: Mesh, rows: int) -> stages.Spec:
  """The longest batch, of all devices."""
  placed = sharding.batch_sharding(mesh)
  return {
    key: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placed)
    for key, x in stage.batch_specs(rows)[-1].items()
  }


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Moved:
  """What the text of a compiled step says."""

  hbm_bytes: float = 0.0
  traffic: list[roofline.Traffic] = dataclasses.field(default_factory=list)
  warnings: list[str] = dataclasses.field(default_factory=list)


def _read(compiled: Any, mesh: Mesh, chip: Chip) -> _Moved:
  found = hlo.Program(compiled.as_text())
  collectives = found.collectives()
  loops = [f"counted as one turn: the loop {name}" for name in found.uncounted]
  return _Moved(
    hbm_bytes=found.hbm_bytes(),
    traffic=roofline.traffic(collectives, mesh, chip),
    warnings=[*loops, *_gathered(collectives, mesh)],
  )


# -------------------------------------------------------------- the compiler


def _chip(topology: str) -> Chip:
  kind, _, shape = topology.partition(":")
  if kind not in CHIPS or not re.fullmatch(r"\d+(x\d+){1,2}", shape):
    raise UserError(
      f"--topology {topology!r} is not KIND:AxB or KIND:AxBxC; the kinds are "
      f"{', '.join(CHIPS)}."
    )
  return CHIPS[kind]


def _devices(topology: str, slices: int) -> list[Any]:
  """The devices of a topology that nobody has to own."""
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
      f"the TPU compiler has no topology {topology!r}: {_first(error)}"
    ) from error
  return list(described.devices)


def _libtpu() -> str:
  """Path of the compiler's library."""
  beside = pathlib.Path(sys.prefix) / "tpu" / "libtpu" / "libtpu.so"
  if beside.exists():
    return str(beside)
  spec = importlib.util.find_spec("libtpu")
  if spec is None or spec.origin is None:
    raise UserError(
      "compile-check needs the TPU compiler: pip install 's02jax[tpu]', or "
      "point TPU_LIBRARY_PATH to a libtpu.so."
    )
  return str(pathlib.Path(spec.origin).parent / "libtpu.so")


def _compile(lowered: Any, fast: bool) -> tuple[Any, str]:
  """The compiled step, or None and why it does not fit."""
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
    return None, _first(error)


def _first(error: Exception) -> str:
  return str(error).strip().splitlines()[0][:300]


@contextlib.contextmanager
def _stderr() -> Iterator[list[str]]:
  """Lines that this process, libraries in C++ included, writes to stderr.

  They come there after all where it does not end well: by an exception, or by
  the death of this process, as libtpu aborts.
  """
  said: list[str] = []
  sys.stderr.flush()
  before = os.dup(2)
  with tempfile.TemporaryFile() as file, _heir(file.fileno()) as heir:
    os.dup2(file.fileno(), 2)
    well = b""
    try:
      yield said
      well = b"well\n"
    finally:
      sys.stderr.flush()
      os.dup2(before, 2)
      os.close(before)
      heir.communicate(well)
      file.seek(0)
      said += file.read().decode(errors="replace").splitlines()


def _heir(file: int) -> subprocess.Popen:
  """A process that copies an open file to this one's stderr of now, unless it
  is told, before its stdin ends, that all is well."""
  copy = f"read well || cat /dev/fd/{file} >&2"
  return subprocess.Popen(
    ["sh", "-c", copy], stdin=subprocess.PIPE, pass_fds=(file,)
  )


def _held(compiled: Any) -> float:
  """Bytes of HBM at a step's fullest moment."""
  memory = compiled.memory_analysis()
  return (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
    + memory.temp_size_in_bytes
    + memory.generated_code_size_in_bytes
  )


def _wanted(problem: str) -> float | None:
  """Bytes that the compiler says it would need, where it says so."""
  match = re.search(r"\(([\d.]+)([KMGT])\) exceeds", problem)
  if match is None:
    return None
  return float(match[1]) * 1024.0 ** ("KMGT".index(match[2]) + 1)


def _parameters(state: Any) -> int:
  """Of all models that the state trains."""
  leaves = jax.tree_util.tree_leaves_with_path(state)
  names = [
    jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in leaves
  ]
  return sum(
    int(np.prod(x.shape))
    for name, (_, x) in zip(names, leaves, strict=True)
    if "params" in name.split("/")
  )


# ------------------------------------------------------------------ warnings


def _gathered(collectives: list[hlo.Collective], mesh: Mesh) -> list[str]:
  """All-gathers that bring together more than FSDP needs to: along other axes,
  or out of the loop over the layers."""
  found = []
  for c in collectives:
    axes = roofline.axes_of(c.groups, mesh)
    if c.kind != "all-gather" or c.size < 2**20:
      continue
    where = f"{c.size / 2**20:.0f} MiB over {'+'.join(axes)} at {c.op_name}"
    if set(axes) - {"fsdp"}:
      found.append(f"gathered whole: {where}")
    elif c.times == 1 and "/while/body" in c.op_name:
      found.append(f"gathered for all layers at once: {where}")
  return found


def _involuntary(said: list[str]) -> list[str]:
  """What the partitioner makes whole for want of a better way, once each."""
  found = [
    re.search(r"HLO operation (%\S+ = \S+)", line)
    for line in said
    if "nvoluntary full rematerialization" in line
  ]
  return [
    f"resharded involuntarily: {name}"
    for name in dict.fromkeys(match[1] for match in found if match)
  ]


def _unfilled(products: list[Product], unit: int) -> list[str]:
  """Products whose contracted and output sizes leave the unit idle."""
  total = sum(p.flops for p in products)
  shares: dict[tuple[int, int], float] = {}
  for p in products:
    if p.filled(unit) < _FILLED:
      shares[p.k, p.n] = shares.get((p.k, p.n), 0.0) + p.flops / total
  return [
    f"[{k}, {n}] products, {share:.0%} of all FLOPs, do not fill a "
    f"{unit} × {unit} matrix unit"
    for (k, n), share in shares.items()
    if share >= _SHARE
  ]


# -------------------------------------------------------------------- output


def gib(size: float | None) -> str:
  """Bytes in GiB; a question mark where they are not known."""
  return "?" if size is None else f"{size / GIB:.1f}"


def describe(report: Report) -> str:
  """A report for people."""
  r = report
  lines = [
    f"{r.config} on {r.topology}: {r.devices} devices, mesh "
    + " ".join(f"{a}={n}" for a, n in r.mesh.items()),
    f"parameters        {r.parameters / 1e6:,.1f} M",
    f"batch             {r.rows_per_device} rows a device: "
    + ", ".join(f"{k} {v}" for k, v in r.batch.items()),
    f"HBM a device      {gib(r.held)} of {gib(r.hbm)} GiB: "
    + ("fits" if r.fits else "DOES NOT FIT"),
    f"model FLOPs       {r.model_flops / 1e12:.2f} T a device and step, "
    f"{r.executed_flops / 1e12:.2f} T executed",
  ]
  for t in r.traffic:
    lines.append(
      f"  {t.kind:<18} {'+'.join(t.axes):<12} {t.sent / 1e6:>10,.1f} MB sent "
      f"{t.seconds * 1e3:>9.2f} ms"
    )
  if r.roofline is not None:
    f = r.roofline
    lines.append(
      f"at least          compute {f.compute * 1e3:.1f} ms, HBM "
      f"{f.hbm * 1e3:.1f} ms ({r.hbm_bytes / 1e9:.1f} GB), interconnect "
      f"{f.ici * 1e3:.1f} ms"
    )
    lines.append(f"utilisation       at most {f.bound:.0%}")
  lines += [f"warning: {w}" for w in r.warnings]
  if r.problem:
    lines.append(r.problem)
  how = ", --fast" if r.fast else ""
  lines.append(f"compiled in {r.seconds:.0f} s{how}")
  return "\n".join(lines)
