"""Structure of the package: imports run down, rooms and functions stay small.

A room is a folder of `s02jax/`, a file at its root, or a folder beside it; the
folders inside a room belong to it.
"""

import ast
import collections
import dataclasses
import functools
import graphlib
import pathlib
from collections.abc import Callable, Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# Rooms from the top floor down; a room imports from lower floors only.
FLOORS = (
  ("s02jax.__init__", "s02jax.__main__"),  # the two ways in
  ("s02jax.cli",),
  ("s02jax.bench", "launch", "data_pipelines"),
  ("s02jax.experiments",),
  ("s02jax.evaluation",),
  ("s02jax.compiler", "s02jax.serving"),
  ("s02jax.training",),
  ("s02jax.synthesis",),
  ("s02jax.stages",),
  ("s02jax.bundle",),
  ("s02jax.data", "s02jax.pretrained"),
  ("s02jax.models",),
  ("s02jax.text", "s02jax.audio", "s02jax.flops"),
  ("s02jax.sharding",),
  ("s02jax.hardware", "configs"),
  ("s02jax.core",),
)
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
MOST_ARROWS = 115  # pairs of rooms of which one imports from the other
MOST_MODULES = 14  # in a folder
MOST_LINES = 600  # in a file
MOST_FUNCTION_LINES = 60
LOOP = "s02jax.training.loop"  # has one longer function: it reads as one piece
LISTS = "configs"  # their functions are lists of values, of any length
# Modules below `cli` that parse arguments or print, and why they may.
PROGRAMS = {
  "launch": "programs of their own, `python -m launch.NAME`",
  "s02jax.core.errors": "ends every program with its one line on stderr",
  "s02jax.serving.speak": "program of its own in an export, without s02jax",
  "s02jax.training.hosts": "one of several processes ends without returning",
}


@dataclasses.dataclass(frozen=True)
class Tree:
  """Python modules below a root folder."""

  root: pathlib.Path

  @functools.cached_property
  def paths(self) -> dict[str, pathlib.Path]:
    """File of each module, by its dotted name; a package has its folder's."""
    found = {}
    for path in sorted(self.root.rglob("*.py")):
      parts = path.relative_to(self.root).with_suffix("").parts
      if parts[0] in ("s02jax", "launch", "data_pipelines", "configs"):
        name = ".".join(parts)
        found[name if parts[:-1] == ("s02jax",) else _package(name)] = path
    return found

  @functools.cached_property
  def parsed(self) -> dict[str, ast.Module]:
    """Syntax tree of each module."""
    return {name: ast.parse(p.read_text()) for name, p in self.paths.items()}

  @functools.cached_property
  def imports(self) -> dict[str, set[str]]:
    """Modules of the tree that each module imports, wherever in it."""
    return {
      name: set(self._imported(tree)) - {name}
      for name, tree in self.parsed.items()
    }

  def _imported(self, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
      if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
      elif isinstance(node, ast.ImportFrom):
        assert not node.level, "imports are absolute"
        whole = [f"{node.module}.{alias.name}" for alias in node.names]
        names = [w if w in self.paths else f"{node.module}" for w in whole]
      else:
        continue
      for name in names:
        name = "s02jax.__init__" if name == "s02jax" else name
        if name in self.paths:
          yield name

  @functools.cached_property
  def arrows(self) -> dict[tuple[str, str], str]:
    """Pairs of rooms of which the first imports the second, with an example."""
    return {
      (room_of(name), room_of(other)): f"{name} imports {other}"
      for name, others in self.imports.items()
      for other in sorted(others)
      if room_of(name) != room_of(other)
    }


def _package(name: str) -> str:
  return name.removesuffix(".__init__")


def room_of(module: str) -> str:
  """Room that a module is in; an error for one that is on no floor."""
  parts = module.split(".")
  for i in range(len(parts), 0, -1):
    if ".".join(parts[:i]) in FLOOR:
      return ".".join(parts[:i])
  raise KeyError(f"{module} is in no room of FLOORS")


# ---------------------------------------------------------------------- checks


def rooms_without_floor(tree: Tree) -> Iterator[str]:
  """Modules that FLOORS does not know."""
  for name in tree.paths:
    try:
      room_of(name)
    except KeyError as error:
      yield str(error)


def imports_upward(tree: Tree) -> Iterator[str]:
  """Imports from the same floor or a higher one."""
  for (room, other), example in tree.arrows.items():
    if FLOOR[other] <= FLOOR[room]:
      yield example


def circles(tree: Tree) -> Iterator[str]:
  """Modules that import each other, over however many others."""
  try:
    graphlib.TopologicalSorter(tree.imports).prepare()
  except graphlib.CycleError as error:
    yield " imports ".join(reversed(error.args[1]))


def crowded_folders(tree: Tree) -> Iterator[str]:
  """Folders of too many modules."""
  files = [p for p in tree.paths.values() if p.name != "__init__.py"]
  for folder, count in collections.Counter(p.parent for p in files).items():
    if count > MOST_MODULES:
      yield f"{folder} has {count} modules"


def long_files(tree: Tree) -> Iterator[str]:
  """Files of too many lines."""
  for name, path in tree.paths.items():
    lines = len(path.read_text().splitlines())
    if lines > MOST_LINES:
      yield f"{name} has {lines} lines"


def long_functions(tree: Tree) -> Iterator[str]:
  """Functions of too many lines; the loop may have one."""
  for name, parsed in tree.parsed.items():
    found = [
      f"{name}.{node.name} has {lines} lines"
      for node in ast.walk(parsed)
      if room_of(name) != LISTS
      and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
      and (lines := node.end_lineno - node.lineno + 1) > MOST_FUNCTION_LINES
    ]
    yield from found[1:] if name == LOOP else found


def programs_below_cli(tree: Tree) -> Iterator[str]:
  """Modules that parse arguments or print, though no verb."""
  for name, parsed in tree.parsed.items():
    if room_of(name) == "s02jax.cli" or {name, room_of(name)} & set(PROGRAMS):
      continue
    for node in ast.walk(parsed):
      match node:
        case ast.Import(names=names) if "argparse" in [n.name for n in names]:
          yield f"{name} imports argparse"
        case ast.ImportFrom(module="argparse"):
          yield f"{name} imports argparse"
        case ast.Call(func=ast.Name(id="print")):
          yield f"{name} prints in line {node.lineno}"


def too_many_arrows(tree: Tree) -> Iterator[str]:
  """Number of pairs of rooms of which one imports the other, if too many."""
  if len(tree.arrows) > MOST_ARROWS:
    yield f"{len(tree.arrows)} arrows"


CHECKS: tuple[Callable[[Tree], Iterator[str]], ...] = (
  rooms_without_floor,
  imports_upward,
  circles,
  crowded_folders,
  long_files,
  long_functions,
  programs_below_cli,
  too_many_arrows,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_package_is_in_order(check):
  assert list(check(_tree())) == []


@functools.cache
def _tree() -> Tree:
  return Tree(ROOT)


def test_every_exception_is_needed():
  tree = _tree()
  for name in PROGRAMS:
    assert any(name in (m, room_of(m)) for m in tree.paths), name
  assert LOOP in tree.paths


# -------------------------------------------------- every check is able to fail

DEEP = "def f():\n  from {} import x\n"
MADE_UP = {
  rooms_without_floor: {"s02jax/attic.py": ""},
  imports_upward: {
    "s02jax/audio/a.py": DEEP.format("s02jax.text.b"),
    "s02jax/text/b.py": "",
    "s02jax/training/a.py": "import launch.b\n",
    "launch/b.py": "",
    "s02jax/core/c.py": "from s02jax import bundle\n",
    "s02jax/bundle.py": "",
  },
  circles: {
    "s02jax/data/a.py": "from s02jax.data import b\n",
    "s02jax/data/b.py": DEEP.format("s02jax.data.a"),
  },
  crowded_folders: {f"s02jax/data/m{i}.py": "" for i in range(15)},
  long_files: {"s02jax/data/a.py": "x = 1\n" * 601},
  long_functions: {
    "s02jax/data/a.py": "def f():\n" + "  x = 1\n" * 60,
    "s02jax/training/loop.py": "def f():\n" + "  x = 1\n" * 60,
  },
  programs_below_cli: {
    "s02jax/bench/a.py": "import argparse\n",
    "s02jax/bench/b.py": DEEP.format("argparse"),
    "data_pipelines/c.py": "def f():\n  print(1)\n",
    "s02jax/cli/d.py": "import argparse\nprint(1)\n",
    "launch/e.py": "print(1)\n",
  },
  too_many_arrows: {
    f"{room.replace('.', '/')}/__init__.py": "".join(
      f"import {other}\n" for other in FLOOR if FLOOR[other] > FLOOR[room]
    )
    for room in FLOOR
    if "__" not in room
  },
}
COMPLAINTS = {imports_upward: 3, programs_below_cli: 3}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_check_is_able_to_fail(check, tmp_path):
  for name, text in MADE_UP[check].items():
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
  assert len(list(check(Tree(tmp_path)))) == COMPLAINTS.get(check, 1)


def test_a_small_tree_in_order_passes(tmp_path):
  (tmp_path / "s02jax" / "core").mkdir(parents=True)
  (tmp_path / "s02jax" / "core" / "a.py").write_text("import math\n")
  (tmp_path / "s02jax" / "bundle.py").write_text("import s02jax.core.a\n")
  for check in CHECKS:
    assert list(check(Tree(tmp_path))) == []
