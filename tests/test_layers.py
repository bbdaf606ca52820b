"""The structure of the package: imports run down, rooms stay small."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
# Rooms from the top floor down; a room imports from lower floors only.
FLOORS = (
  ("launch",),
  ("s02jax.__main__",),
  ("s02jax.cli",),
  ("s02jax.bench", "data_pipelines"),
  ("s02jax.experiments",),
  ("s02jax.evaluation",),
  ("s02jax.compiler", "s02jax.serving"),
  ("s02jax.training",),
  ("s02jax.synthesis",),
  ("s02jax.stages",),
  ("s02jax.bundle",),
  ("s02jax.data", "s02jax.pretrained"),
  ("s02jax.models",),
  ("s02jax.sharding", "s02jax.text", "s02jax.audio", "s02jax.flops"),
  ("s02jax.hardware",),
  ("s02jax.core",),
)
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
  ".".join(path.relative_to(ROOT).with_suffix("").parts): path
  for top in ("s02jax", "data_pipelines", "launch")
  for path in sorted((ROOT / top).rglob("*.py"))
}


def name_of(module: str) -> str:
  return module.removesuffix(".__init__")


def room_of(module: str) -> str | None:
  """The room a module is in; None for the package itself."""
  parts = module.split(".")
  for i in range(len(parts), 0, -1):
    if ".".join(parts[:i]) in FLOOR:
      return ".".join(parts[:i])
  return None


def imports(path: pathlib.Path) -> set[str]:
  """Our own modules that a file imports, wherever in it."""
  names = {name_of(module) for module in MODULES}
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      for alias in node.names:
        whole = f"{node.module}.{alias.name}"
        found.add(whole if whole in names else node.module or "")
  return found & names
