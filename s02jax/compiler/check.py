"""Compiles a train step for TPUs or GPUs that are not here, and reports on it.

The step itself is compiled, with the shapes of the longest rows. The report
says what a device holds, computes, moves through HBM and sends, by
`s02jax.compiler.roofline`. Values that only a corpus knows (vocabularies,
latent channels) are taken from the stage's `assume`.
"""

import dataclasses
import re
import time
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from s02jax import sharding, stages
from s02jax.compiler import hlo, roofline, targets, tpu
from s02jax.compiler.messages import captured_stderr, first_line
from s02jax.core import trees
from s02jax.core.errors import UserError
from s02jax.flops import Product, traced_products
from s02jax.hardware import Chip
from s02jax.stages import train_state
from s02jax.training import programs

GIB = 2.0**30
# Matrix products that fill less of the unit than this are named, where they are
# more than that share of all FLOPs.
_FILLED, _SHARE = 0.8, 0.01
# Exit code where the compiler fails and so says nothing of a config.
FAILED = 3


class CompilerError(Exception):
  """Failure of the compiler, not for want of memory. One sentence."""


# --------------------------------------------------------------------- report


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
  """Train step that was compiled: config, devices and shapes."""

  config: str  # name of the config
  topology: str  # KIND:SHAPE, with the number of slices where several
  devices: int
  mesh: dict[str, int]  # axis -> devices along it
  batch: dict[str, list[int]]  # shapes with the rows of all devices
  rows_per_device: int
  parameters: int  # of all models that the step trains


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceMemory:
  """HBM of one device."""

  hbm: float  # bytes that a program can hold
  held: float | None  # bytes that the step needs, where known
  problem: str  # the compiler's sentence where the step does not fit

  @property
  def fits(self) -> bool:
    """True where the step compiled and holds no more than there is."""
    return not self.problem and self.held is not None and self.held <= self.hbm


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepCost:
  """Work of one device in one step."""

  model_flops: float  # FLOPs that the model needs
  executed_flops: float  # FLOPs with what is computed again
  hbm_bytes: float  # bytes read from and written to HBM
  traffic: list[roofline.Traffic]  # collectives by kind and mesh axes
  roofline: roofline.Roofline | None  # least seconds; None where not compiled


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
  """Result of one compilation."""

  step: Step
  memory: DeviceMemory
  cost: StepCost
  warnings: list[str]
  seconds: float  # of compilation
  fast: bool  # compiled with less optimization than a run

  def to_json(self) -> dict[str, Any]:
    """Flat record, as --json and docs/scale.jsonl have it."""
    return {
      **dataclasses.asdict(self.step),
      "hbm": self.memory.hbm,
      "held": self.memory.held,
      "fits": self.memory.fits,
      "problem": self.memory.problem,
      **dataclasses.asdict(self.cost),
      "warnings": self.warnings,
      "seconds": self.seconds,
      "fast": self.fast,
    }


# ---------------------------------------------------------------- compilation


def check(
  config: ConfigDict,
  name: str,
  topology: str,
  rows: int | None = None,
  slices: int = 1,
  fast: bool = False,
) -> Report:
  """Compiles the train step of a config for a topology.

  Args:
    config: as `configs/<stage>.py` gives it.
    name: name of the config, for the report.
    topology: KIND:SHAPE of one slice of a TPU, KIND:COUNT of GPUs.
    rows: rows of the batch on each device; as `config.batch_size` says where
      absent.
    slices: number of slices, connected by the data-centre network along the
      data axis.
    fast: compiles sooner, with less optimization than a run gets.

  Raises:
    UserError: an unknown topology, a mesh that does not cover it, rows that do
      not split over it, no compiler.
    CompilerError: the compiler failed.
  """
  target = targets.target(topology, slices, fast)
  chip = target.chip
  with target.tracing():
    traced = _trace(config, target.devices, rows)
  began = time.perf_counter()
  try:
    with captured_stderr() as said:
      compiled, problem = target.compile_step(traced.lowered, fast)
  except jax.errors.JaxRuntimeError as error:
    raise CompilerError(
      f"the {target.kind} compiler failed on {name} for {target.name}: "
      f"{first_line(error)}"
    ) from error
  seconds = time.perf_counter() - began
  held = (
    tpu.wanted_bytes(problem)
    if compiled is None
    else targets.held_bytes(compiled)
  )
  module = None if compiled is None else hlo.HloModule(compiled.as_text())
  return Report(
    step=_step(traced, name, target.name),
    memory=DeviceMemory(hbm=chip.usable * GIB, held=held, problem=problem),
    cost=_cost(traced, module, chip),
    warnings=[
      *([] if module is None else _from_module(module, traced.mesh)),
      *involuntary(said),
      *unfilled(traced.products, chip.unit),
    ],
    seconds=seconds,
    fast=fast,
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Traced:
  """Train step that is lowered and not compiled yet."""

  mesh: Mesh
  rows: int  # rows of the batch on each device
  batch: stages.Spec  # arrays of all devices
  parameters: int  # of all models that the step trains
  model_flops: float  # of all devices
  products: list[Product]  # matrix products of all devices
  lowered: Any  # result of `jit(…).lower(…)`


def _trace(config: ConfigDict, devices: list[Any], rows: int | None) -> _Traced:
  config = stages.assume(config)
  mesh = sharding.make_mesh(config.mesh, devices)
  rows = rows_per_device(config, mesh, rows)
  stage = stages.make(config)
  frozen = programs.abstract_frozen(stage, mesh)
  state = programs.abstract_state(stage, mesh, frozen)
  batch = _batch(stage, mesh, rows * _shards(mesh))
  step = programs.train_program(stage, mesh, state, frozen)
  arguments = (state, batch, frozen) if frozen else (state, batch)
  with jax.set_mesh(mesh):
    products = traced_products(jax.make_jaxpr(step)(*arguments))
    lowered = step.lower(*arguments)
  return _Traced(
    mesh=mesh,
    rows=rows,
    batch=batch,
    parameters=_parameters(state),
    model_flops=float(stage.flops(batch)),
    products=products,
    lowered=lowered,
  )


def _shards(mesh: Mesh) -> int:
  """Shards of a batch: data × fsdp devices."""
  return mesh.shape["data"] * mesh.shape["fsdp"]


def rows_per_device(config: ConfigDict, mesh: Mesh, told: int | None) -> int:
  """Rows of the batch on each device.

  Args:
    config: of the stage.
    mesh: its devices.
    told: what the command line says; `config.batch_size` decides where absent.

  Raises:
    UserError: rows that `s02 train` would not take.
  """
  if told is None:
    sharding.local_rows(mesh, config.batch_size)  # complains where uneven
    rows = config.batch_size // _shards(mesh)
  elif told < 1:
    raise UserError(f"--rows_per_device is {told}; it must be at least 1.")
  else:
    rows = told
  train_state.check_microbatches(config.accumulate, rows * _shards(mesh))
  return rows


def _batch(stage: stages.Stage, mesh: Mesh, rows: int) -> stages.Spec:
  """Shapes of the longest batch, with the rows of all devices."""
  placed = sharding.batch_sharding(mesh)
  return {
    key: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placed)
    for key, x in stage.batch_specs(rows)[-1].items()
  }


def _parameters(state: Any) -> int:
  """Number of parameters of all models that a train state holds."""
  return sum(
    int(np.prod(x.shape))
    for name, x in trees.named(state).items()
    if "params" in name.split("/")
  )


# -------------------------------------------------------- parts of the report


def _step(traced: _Traced, name: str, place: str) -> Step:
  return Step(
    config=name,
    topology=place,
    devices=traced.mesh.size,
    mesh=dict(traced.mesh.shape),
    batch={key: list(x.shape) for key, x in traced.batch.items()},
    rows_per_device=traced.rows,
    parameters=traced.parameters,
  )


def _cost(
  traced: _Traced, module: hlo.HloModule | None, chip: Chip
) -> StepCost:
  model = traced.model_flops / traced.mesh.size
  executed = sum(p.flops for p in traced.products) / traced.mesh.size
  if module is None:
    return StepCost(
      model_flops=model,
      executed_flops=executed,
      hbm_bytes=0.0,
      traffic=[],
      roofline=None,
    )
  moved = module.hbm_bytes()
  traffic = roofline.traffic(module.collectives(), traced.mesh, chip)
  return StepCost(
    model_flops=model,
    executed_flops=executed,
    hbm_bytes=moved,
    traffic=traffic,
    roofline=roofline.Roofline(
      compute=busy_seconds(traced.products, chip) / traced.mesh.size,
      hbm=moved / chip.bandwidth,
      ici=sum(t.seconds for t in traffic),
      model=model / chip.flops,
    ),
  )


def busy_seconds(products: list[Product], chip: Chip) -> float:
  """Least seconds of matrix products on one device.

  Args:
    products: all that are to be run.
    chip: whose matrix unit a product fills in part only.
  """
  return sum(p.flops / p.filled(chip.unit) for p in products) / chip.flops


# ------------------------------------------------------------------ warnings


def _from_module(module: hlo.HloModule, mesh: Mesh) -> list[str]:
  """Loops of unknown length, and all-gathers of too much."""
  return [
    *(f"counted as one turn: the loop {name}" for name in module.uncounted),
    *_gathered(module.collectives(), mesh),
  ]


def _gathered(collectives: list[hlo.Collective], mesh: Mesh) -> list[str]:
  """All-gathers that bring together more than FSDP needs to.

  They are along other axes, or outside the loop over the layers.
  """
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


def involuntary(said: list[str]) -> list[str]:
  """Arrays that the partitioner makes whole for want of a better way.

  Args:
    said: lines of the compiler's log.

  Returns:
    One warning for each array.
  """
  found = [
    re.search(r"HLO operation (%\S+ = \S+)", line)
    for line in said
    if "nvoluntary full rematerialization" in line
  ]
  return [
    f"resharded involuntarily: {name}"
    for name in dict.fromkeys(match[1] for match in found if match)
  ]


def unfilled(products: list[Product], unit: int) -> list[str]:
  """Matrix products whose sizes leave much of the matrix unit idle.

  Args:
    products: all products of a step.
    unit: side of the matrix unit.

  Returns:
    One warning for each pair of contracted and output size.
  """
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


# ----------------------------------------------------------------- for people


def gib(size: float | None) -> str:
  """Bytes in GiB; a question mark where they are not known."""
  return "?" if size is None else f"{size / GIB:.1f}"


def describe(report: Report) -> str:
  """Report for people, several lines."""
  step, memory, cost = report.step, report.memory, report.cost
  lines = [
    f"{step.config} on {step.topology}: {step.devices} devices, mesh "
    + " ".join(f"{a}={n}" for a, n in step.mesh.items()),
    f"parameters        {step.parameters / 1e6:,.1f} M",
    f"batch             {step.rows_per_device} rows a device: "
    + ", ".join(f"{k} {v}" for k, v in step.batch.items()),
    f"HBM a device      {gib(memory.held)} of {gib(memory.hbm)} GiB: "
    + ("fits" if memory.fits else "DOES NOT FIT"),
    f"model FLOPs       {cost.model_flops / 1e12:.2f} T a device and step, "
    f"{cost.executed_flops / 1e12:.2f} T executed",
  ]
  for t in cost.traffic:
    lines.append(
      f"  {t.kind:<18} {'+'.join(t.axes):<12} {t.sent / 1e6:>10,.1f} MB sent "
      f"{t.seconds * 1e3:>9.2f} ms"
    )
  if cost.roofline is not None:
    f = cost.roofline
    lines.append(
      f"at least          compute {f.compute * 1e3:.1f} ms, HBM "
      f"{f.hbm * 1e3:.1f} ms ({cost.hbm_bytes / 1e9:.1f} GB), interconnect "
      f"{f.ici * 1e3:.1f} ms"
    )
    lines.append(
      f"utilisation       at most {f.bound:.0%} where all three overlap, "
      f"{f.apart:.0%} where none do"
    )
  lines += [f"warning: {w}" for w in report.warnings]
  if memory.problem:
    lines.append(memory.problem)
  how = ", --fast" if report.fast else ""
  lines.append(f"compiled in {report.seconds:.0f} s{how}")
  return "\n".join(lines)
