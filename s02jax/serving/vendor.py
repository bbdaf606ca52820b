"""Copy of the code that an export runs on, found by following its imports."""

import ast
import importlib.util
import pathlib
import shutil

CODE = "s02_serving"  # package of the copied code


def modules(start: str) -> list[str]:
  """Names of `start` and of all modules of s02jax that it imports, sorted."""
  found: dict[str, None] = {}
  waiting = [start]
  while waiting:
    name = waiting.pop()
    if name in found:
      continue
    found[name] = None
    waiting += _imported(name)
    if "." in name:
      waiting.append(name.rpartition(".")[0])
  return sorted(found)


def _source(module: str) -> pathlib.Path:
  """Path of a module's source file."""
  spec = importlib.util.find_spec(module)
  assert spec is not None and spec.origin is not None
  return pathlib.Path(spec.origin)


def _imported(module: str) -> list[str]:
  """Modules of s02jax that a module imports at its top level."""
  names = []
  for node in ast.parse(_source(module).read_text(encoding="utf-8")).body:
    if isinstance(node, ast.Import):
      names += [x.name for x in node.names]
    elif isinstance(node, ast.ImportFrom):
      names += [f"{node.module}.{x.name}" for x in node.names]
      names.append(str(node.module))
  ours = [name for name in names if name.split(".")[0] == "s02jax"]
  return [name for name in ours if _is_module(name)]


def _is_module(name: str) -> bool:
  """Whether a dotted name is a module, not an attribute of one."""
  try:
    return importlib.util.find_spec(name) is not None
  except ModuleNotFoundError:
    return False


def copy_code(folder: pathlib.Path) -> None:
  """Copies the runtime's modules into a package of the export, and speak.py."""
  root = _source("s02jax").parent
  for module in modules("s02jax.serving.speak"):
    path = _source(module)
    target = folder / CODE / path.relative_to(root)
    if module == "s02jax.serving.speak":
      target = folder / "speak.py"
    target.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text(encoding="utf-8")
    for word in ("from s02jax", "import s02jax"):
      text = text.replace(word, word.replace("s02jax", CODE))
    target.write_text(text, encoding="utf-8")
  # Apache-2.0; the license stands in the copied files.
  ignore = shutil.ignore_patterns("__pycache__")
  shutil.copytree(
    _source("flatbuffers").parent, folder / "flatbuffers", ignore=ignore
  )
