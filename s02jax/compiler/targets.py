"""Machines that a step is compiled for, none of which has to be here."""

import contextlib
import dataclasses
import re
from typing import Any

from s02jax.compiler import gpu, tpu
from s02jax.core.errors import UserError
from s02jax.hardware import CHIPS, GPUS, Chip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
  """Devices of one kind and their compiler."""

  name: str  # KIND:SHAPE, with the number of slices where several
  chip: Chip
  devices: list[Any]  # described devices, as a mesh takes them

  @property
  def kind(self) -> str:
    """Name of the kind of device: GPU or TPU."""
    return "GPU" if self.chip.node else "TPU"

  def tracing(self) -> contextlib.AbstractContextManager[None]:
    """Context in which a step is traced for these devices."""
    return gpu.tracing() if self.chip.node else contextlib.nullcontext()

  def compile_step(self, lowered: Any, fast: bool) -> tuple[Any, str]:
    """Compiles a lowered step: (compiled, "") or (None, why it does not fit).

    Args:
      lowered: result of `jit(…).lower(…)`.
      fast: with less optimization than a run gets.

    Raises:
      jax.errors.JaxRuntimeError: the compiler failed for another reason.
    """
    if self.chip.node:
      return gpu.compile_step(lowered), ""
    return tpu.compile_step(lowered, fast)


def target(topology: str, slices: int, fast: bool) -> Target:
  """Target of a topology.

  Args:
    topology: KIND:AxB or KIND:AxBxC of a TPU's slice, KIND:COUNT of GPUs.
    slices: number of slices.
    fast: as for `Target.compile_step`.

  Raises:
    UserError: another form, a kind that nobody knows, no compiler, or options
      that the kind does not have.
  """
  if slices < 1:
    raise UserError(f"--slices is {slices}; it must be at least 1.")
  kind, _, shape = topology.partition(":")
  if kind in GPUS and re.fullmatch(r"[1-9]\d*", shape):
    if slices > 1 or fast:
      raise UserError(
        f"--topology {topology!r} takes neither --slices nor --fast: GPUs are "
        "counted over all nodes, and their compiler has one level."
      )
    chip = GPUS[kind]
    return Target(
      name=topology,
      chip=chip,
      devices=gpu.devices(topology, chip, int(shape)),
    )
  if kind not in CHIPS or not re.fullmatch(r"\d+(x\d+){1,2}", shape):
    raise UserError(
      f"--topology {topology!r} is not KIND:AxB or KIND:AxBxC of a TPU "
      f"({', '.join(CHIPS)}), nor KIND:COUNT of GPUs ({', '.join(GPUS)})."
    )
  return Target(
    name=topology if slices == 1 else f"{slices} × {topology}",
    chip=CHIPS[kind],
    devices=tpu.devices(topology, slices),
  )


def held_bytes(compiled: Any) -> float:
  """Bytes of HBM that a compiled step holds at its fullest moment."""
  memory = compiled.memory_analysis()
  return (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
    + memory.temp_size_in_bytes
    + memory.generated_code_size_in_bytes
  )
