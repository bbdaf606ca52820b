"""Collectives and memory traffic of a compiled HLO module, from its text.

The text is a list of computations; loops, branches and fusions call others. An
instruction runs as often as its computation is called, the body of a loop as
often as its condition counts, and of the branches of a condition only the one
that moves most.

A module for several slices of a TPU is that of one slice: a device sends to
another slice by handing the array to its host with `send`.
"""

import collections
import dataclasses
import functools
import graphlib
import math
import re
from collections.abc import Iterator

import numpy as np

_BYTES = {
  "pred": 1,
  "s4": 0.5,
  "u4": 0.5,
  "s8": 1,
  "u8": 1,
  "bf16": 2,
  "f16": 2,
  "s16": 2,
  "u16": 2,
  "f32": 4,
  "s32": 4,
  "u32": 4,
  "f64": 8,
  "s64": 8,
  "u64": 8,
  "c64": 8,
  "c128": 16,
}
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\](\{[^{}]*\})?")
_LINE = re.compile(r"\s+(ROOT )?%[\w.\-]+ = ")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(
  r"(?:calls|to_apply|body|condition|true_computation|false_computation)"
  r"=%([\w.\-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
KINDS = (
  "all-gather",
  "all-reduce",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)
# Opcodes that read and write no memory.
_FREE = {
  "parameter",
  "constant",
  "bitcast",
  "tuple",
  "get-tuple-element",
  "while",
  "conditional",
  "call",
  "after-all",
  "partition-id",
  "iota",
}

# Opcodes whose computations use memory. Any other's are fused into it.
_CALLERS = {"while", "conditional", "call", "async-start"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instruction:
  """Line of the text: name = shape opcode(operands), attributes."""

  name: str
  shape: str
  opcode: str
  operands: tuple[str, ...]
  attributes: str
  root: bool

  @property
  def called(self) -> list[str]:
    """Names of the computations that it calls."""
    found = _CALLED.findall(self.attributes)
    for branches in _BRANCHES.findall(self.attributes):
      found += _NAME.findall(branches)
    return found

  @property
  def op_name(self) -> str:
    """Place in the traced function that it comes from."""
    match = re.search(r'op_name="([^"]*)"', self.attributes)
    return match[1] if match else self.name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collective:
  """Communication of every device with its group, `times` a step."""

  kind: str  # one of KINDS
  size: float  # bytes of the whole array that a group holds or reduces
  groups: np.ndarray  # int [groups, devices of a group], or pairs [n, 2]
  times: int  # how often it runs in a step
  op_name: str  # place in the traced function

  @property
  def sent(self) -> float:
    """Bytes that a device sends in one step, around a ring."""
    n = self.groups.shape[1]
    if self.kind == "collective-permute":
      return self.size * self.times
    passes = 2 if self.kind == "all-reduce" else 1
    return passes * self.size * (n - 1) / n * self.times


Computations = dict[str, list[Instruction]]


def arrays(shape: str) -> list[tuple[str, tuple[int, ...], str]]:
  """Arrays in a shape, each as (dtype, dimensions, layout)."""
  return [
    (dtype, tuple(map(int, dims.split(","))) if dims else (), layout)
    for dtype, dims, layout in _ARRAY.findall(shape)
    if dtype in _BYTES
  ]


def size_of(shape: str, hbm_only: bool = False) -> float:
  """Bytes of a shape; `hbm_only` leaves out arrays in on-chip memory."""
  return sum(
    _bytes(array) for array in arrays(shape) if not hbm_only or _in_hbm(array)
  )


class HloModule:
  """Compiled module, read from `compiled.as_text()`.

  Attributes:
    computations: computation -> its instructions.
    entry: name of the computation that runs first.
    devices: number of devices of the slice that it is for.
    times: computation -> how often it runs in a step.
    uncounted: loops that count as one turn, because their end is not known.
  """

  def __init__(self, text: str):
    """Parses the text of one module and counts how often each part runs."""
    self.computations, self.entry = _parse(text)
    match = re.search(r"num_partitions=(\d+)", text)
    self.devices = int(match[1]) if match else 1
    self.uncounted: list[str] = []
    self.times = self._count()

  def _count(self) -> dict[str, int]:
    """Number of runs of each computation in a step."""
    times: dict[str, int] = collections.Counter({self.entry: 1})
    for name in self._callers_first():
      for instruction in self.computations[name]:
        loops = self._trips(instruction)
        for callee in self._taken(instruction):
          times[callee] += times[name] * loops
    return times

  def _taken(self, instruction: Instruction) -> list[str]:
    """Called computations; of a conditional's, the one that moves most."""
    if instruction.opcode != "conditional":
      return instruction.called
    return [max(instruction.called, key=self._moved)]

  def _callers_first(self) -> list[str]:
    """Names of all computations, each after all that call it."""
    graph = {
      name: {c for i in body for c in i.called}
      for name, body in self.computations.items()
    }
    return list(reversed([*graphlib.TopologicalSorter(graph).static_order()]))

  def _trips(self, instruction: Instruction) -> int:
    """Turns of a loop that counts from 0 to a constant; 1 of all others."""
    if instruction.opcode != "while":
      return 1
    match = re.search(
      r'known_trip_count[^}]*?"n":"(\d+)"', instruction.attributes
    )
    if match:
      return int(match[1])
    match = re.search(r"condition=%([\w.\-]+)", instruction.attributes)
    condition = self.computations[match[1]] if match else []
    limits = [
      int(i.attributes)
      for i in condition
      if i.opcode == "constant" and i.attributes.isdigit()
    ]
    if len(limits) != 1:
      if instruction.op_name not in self.uncounted:
        self.uncounted.append(instruction.op_name)
      return 1
    return limits[0]

  def instructions(self) -> Iterator[tuple[str, Instruction]]:
    """Yields (computation, instruction) of everything that runs."""
    for name, body in self.computations.items():
      if self.times[name]:
        for instruction in body:
          yield name, instruction

  def collectives(self) -> list[Collective]:
    """Communication of a step: every collective that runs."""
    found = []
    for name, i in self.instructions():
      kind = i.opcode.removesuffix("-start")
      if kind == "send" and "_xla_megascale_transfer_type" in i.attributes:
        found.append(self._crossing(i, self.times[name]))
      if kind not in KINDS:
        continue
      size = size_of(i.shape)
      if i.opcode.endswith("-start"):
        size = sum(_bytes(x) for x in _brought(i))
      groups = _groups(i)
      if kind == "reduce-scatter":
        size *= groups.shape[1]
      if kind == "all-reduce" and "all-reduce-scatter" in name:
        kind = "reduce-scatter"
      found.append(
        Collective(
          kind=kind,
          size=size,
          groups=groups,
          times=self.times[name],
          op_name=i.op_name,
        )
      )
    return found

  def _crossing(self, i: Instruction, times: int) -> Collective:
    """Collective between slices, of the devices with one place in each."""
    kind = re.search(r'megascale_transfer_type="(\w+)"', i.attributes)
    target = re.search(r'megascale_target="\{([\d,:]+)\}', i.attributes)
    if kind is None or target is None:
      raise ValueError(f"{i.name}: not a send between slices as known so far")
    kind = kind[1].lower().replace("_", "-")
    slices = _listed(target[1])
    size = _bytes(arrays(i.shape)[0])
    return Collective(
      kind=kind if kind in KINDS else "collective-permute",
      size=size * slices if kind == "all-gather" else size,
      # Slices follow one another, as `sharding.make_mesh` lays them.
      groups=np.arange(slices * self.devices).reshape(slices, -1).T,
      times=times,
      op_name=i.op_name,
    )

  def hbm_bytes(self) -> float:
    """Bytes read from and written to HBM in a step."""
    return self._moved(self.entry)

  def _moved(self, name: str) -> float:
    """HBM bytes of one run of a computation and of those it calls."""
    body = self.computations[name]
    shapes = {i.name: i.shape for i in body}
    total = 0.0
    for i in body:
      total += self._traffic(i, shapes)
      if i.opcode in _CALLERS:
        inner = sum(self._moved(callee) for callee in self._taken(i))
        total += inner * self._trips(i)
    return total

  def _traffic(self, i: Instruction, shapes: dict[str, str]) -> float:
    if i.opcode in _FREE or i.opcode.endswith("-done"):
      return 0.0
    if i.opcode == "fusion":
      return self._fusion_traffic(i, shapes)
    size = functools.partial(size_of, hbm_only=True)
    if i.opcode in ("dynamic-slice", "slice", "gather"):
      return 2 * size(i.shape)
    if i.opcode in ("dynamic-update-slice", "scatter"):
      return 2 * size(shapes[i.operands[-1 if i.opcode == "scatter" else 1]])
    if i.opcode == "slice-start":
      return _slice_traffic(i.shape)
    if i.opcode.endswith("-start") and not _results_alone(i):
      return size(i.shape)  # holds what is read and what is written
    return size(i.shape) + sum(size(shapes[o]) for o in i.operands)

  def _fusion_traffic(self, i: Instruction, shapes: dict[str, str]) -> float:
    """HBM bytes of a fusion: of an operand only the slices that it reads."""
    total = self._fusion_written(i)
    for number, operand in enumerate(i.operands):
      read = size_of(shapes[operand], hbm_only=True)
      total += min(read, self._part_read(i.called[0], number))
    return total

  def _fusion_written(self, i: Instruction) -> float:
    """HBM bytes a fusion writes: of a result updated in place, the update."""
    inside = {x.name: x for x in self.computations[i.called[0]]}
    written = 0.0
    arrays_of = arrays(i.shape)
    results = _results(list(inside.values()))
    for array, result in zip(arrays_of, results, strict=True):
      size = _bytes(array) * _in_hbm(array)
      if result.opcode == "dynamic-update-slice":
        size = min(size, size_of(inside[result.operands[1]].shape))
      written += size
    return written

  def _part_read(self, computation: str, number: int) -> float:
    """Most bytes that a fused computation reads of argument `number`."""
    body = self.computations[computation]
    name = next(
      i.name
      for i in body
      if i.opcode == "parameter" and int(i.attributes) == number
    )
    total = 0.0
    for user in body:
      for place, operand in enumerate(user.operands):
        if operand != name:
          continue
        if user.opcode == "dynamic-slice" and place == 0:
          total += size_of(user.shape)
        elif user.opcode == "fusion":
          total += self._part_read(user.called[0], place)
        elif user.opcode != "dynamic-update-slice" or place > 0:
          return math.inf
    return total


def _results(body: list[Instruction]) -> list[Instruction]:
  """Instructions that compute a computation's results, below bitcasts."""
  inside = {i.name: i for i in body}

  def behind(i: Instruction) -> list[Instruction]:
    if i.opcode == "bitcast":
      return behind(inside[i.operands[0]])
    if i.opcode == "tuple":
      return [x for name in i.operands for x in behind(inside[name])]
    return [i] * len(arrays(i.shape))

  return behind(next(i for i in body if i.root))


def _listed(numbers: str) -> int:
  """Count of the numbers in a list of numbers and ranges, as `1,4:6`."""
  ends = ([int(x) for x in part.split(":")] for part in numbers.split(","))
  return sum(end[-1] - end[0] + 1 for end in ends)


def _results_alone(i: Instruction) -> bool:
  """True for the `all-reduce-start` of XLA before jax 0.12.

  Its shape is that of its results. All others, and the same one since, have
  ((operands), results, …).
  """
  return i.opcode == "all-reduce-start" and len(arrays(i.shape)) == len(
    i.operands
  )


def _brought(i: Instruction) -> list[tuple[str, tuple[int, ...], str]]:
  """Result arrays of a collective that ends in a `-done` of its own."""
  shapes, n = arrays(i.shape), len(i.operands)
  return shapes if _results_alone(i) else shapes[n : 2 * n]


def _slice_traffic(shape: str) -> float:
  """HBM bytes of an async slice: only the part is read and written."""
  whole, part = arrays(shape)[:2]
  return _bytes(part) * (_in_hbm(whole) + _in_hbm(part))


def _in_hbm(array: tuple[str, tuple[int, ...], str]) -> bool:
  return re.search(r"S\([1-9]\)", array[2]) is None


def _bytes(array: tuple[str, tuple[int, ...], str]) -> float:
  return _BYTES[array[0]] * math.prod(array[1])


# ------------------------------------------------------------------ parsing


def _parse(text: str) -> tuple[Computations, str]:
  computations: Computations = {}
  entry, body = "", None
  for line in text.splitlines():
    if line.endswith("{") and "->" in line and not line.startswith(" "):
      name = _NAME.search(line)
      assert name is not None, line
      body = computations.setdefault(name[1], [])
      if line.startswith("ENTRY"):
        entry = name[1]
    elif line == "}":
      body = None
    elif body is not None and _LINE.match(line):  # a kernel's text is longer
      body.append(_instruction(line))
  return computations, entry


def _instruction(line: str) -> Instruction:
  left, _, right = line.partition(" = ")
  end = _closing(right) if right.startswith("(") else right.index(" ") - 1
  shape, rest = right[: end + 1], right[end + 2 :]
  opcode, _, _ = rest.partition("(")
  rest = rest[len(opcode) :]
  end = _closing(rest)
  inner, attributes = rest[1:end], rest[end + 1 :].removeprefix(", ")
  operands = tuple(_NAME.findall(inner))
  if opcode in ("parameter", "constant"):
    attributes = inner  # the number, the value
  return Instruction(
    name=left.strip().removeprefix("ROOT ").removeprefix("%"),
    shape=shape,
    opcode=opcode,
    operands=operands,
    attributes=attributes,
    root=left.strip().startswith("ROOT "),
  )


def _closing(text: str) -> int:
  """Index at which the parenthesis that `text` begins with closes."""
  depth = 0
  for place, letter in enumerate(text):
    depth += (letter == "(") - (letter == ")")
    if depth == 0:
      return place
  raise ValueError(f"no closing parenthesis: {text[:80]}")


_IOTA = re.compile(r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_MESH = re.compile(r"mesh\[([^\]]*)\]([^{]*)\{([^}]*)\}")


def _numbers(text: str) -> list[int]:
  return [int(n) for n in re.findall(r"\d+", text)]


def _groups(i: Instruction) -> np.ndarray:
  """Device numbers of every group, from any of XLA's notations."""
  pairs = re.search(r"source_target_pairs=\{(.*?)\}\}", i.attributes)
  if pairs:
    return np.array(_numbers(pairs[1])).reshape(-1, 2)
  _, _, text = i.attributes.partition("replica_groups=")
  if text.startswith("{"):
    explicit = re.match(r"\{(.*?)\}\}", text)
    groups = re.findall(r"\{([\d,]+)", explicit[0]) if explicit else []
    return np.array([_numbers(group) for group in groups])
  iota = _IOTA.match(text)
  if iota:
    shape, source = _numbers(iota[1]), _numbers(iota[2])
    order = _numbers(iota[3]) if iota[3] else list(range(len(source)))
    ids = np.arange(math.prod(source)).reshape(source).transpose(order)
    return ids.reshape(shape)
  mesh = _MESH.match(text)
  if mesh:
    return _mesh_groups(*mesh.groups())
  raise ValueError(
    f"replica groups of {i.name} in an unknown form: {text[:80]}"
  )


def _mesh_groups(axes: str, order: str, used: str) -> np.ndarray:
  """Groups of the notation mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'b'}.

  They lie along the axes in the last braces, here b; 'a':(1)2 is a part of a.
  """
  names = re.findall(r"'(\w+)'=(\d+)", axes)
  parts = re.findall(r"'(\w+)'(?::\((\d+)\)(\d+))?", used)
  shape, chosen = [], []
  for name, size in names:
    mine = [(int(b), int(n)) for a, b, n in parts if a == name and n]
    whole = any(a == name and not n for a, _, n in parts)
    if not mine:
      chosen += [len(shape)] if whole else []
      shape.append(int(size))
      continue
    before, n = mine[0]
    chosen.append(len(shape) + 1)
    shape += [before, n, int(size) // (before * n)]
  ids = np.arange(math.prod(shape))
  device_ids = re.search(r"\[([\d,]+)\](?:T\(([\d,]+)\))?", order)
  if device_ids and device_ids[2]:
    source = ids.reshape(_numbers(device_ids[1]))
    ids = source.transpose(_numbers(device_ids[2]))
  ids = np.moveaxis(
    ids.reshape(shape), chosen, range(len(shape) - len(chosen), len(shape))
  )
  return ids.reshape(-1, math.prod(shape[c] for c in chosen))
