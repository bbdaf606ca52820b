"""Fields of a config with their values and comments: `s02 train --help FILE`.

The comments are read from where they stand: in the dataclass that a group of
fields is built into, else in the file of the config, else in
`configs/common.py`.
"""

import dataclasses
import inspect
import pathlib
import re
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

import configs
from s02jax import stages

_WIDTH = 80
_INDENT = 4  # spaces before a comment on a line of its own
# `name: type`, `name=`, `"name":` or `config.group.name =` at a line's start.
_NAMED = re.compile(r'\s*(?:config(?:\.\w+)*\.)?"?(\w+)"?\s*[:=](?!=)')
_REMARK = re.compile(r"(?:^\s*|\s{2,})# (.*)$")


def describe(name: str, config: ConfigDict) -> str:
  """Lists every field of a config as `--config.field=value`, with its comment.

  Args:
    name: of its file and size, such as configs/ar.py:demo.
    config: unresolved.
  """
  folder = pathlib.Path(configs.__file__).parent
  path = pathlib.Path(name.partition(":")[0])
  own = path if path.exists() else folder / path.name
  files = [comments(file.read_text()) for file in (own, folder / "common.py")]
  classes = list(_dataclasses(stages.module_of(config)))
  lines = [f"Fields of {name}; - is filled from the corpus or has no value."]
  lines += _lines(config, "--config", classes, files)
  return "\n".join(lines)


def comments(source: str) -> dict[str, str]:
  """Finds the comments of the names that lines of Python begin with.

  A comment stands behind its line, or on lines of its own right above it; where
  a name begins several lines, the first that has a comment counts.
  """
  found: dict[str, str] = {}
  above: list[str] = []
  for line in source.splitlines():
    remark = _REMARK.search(line)
    if remark and line.lstrip().startswith("#"):
      above.append(remark[1])
      continue
    named = _NAMED.match(line)
    told = [remark[1]] if remark else above
    if named and told:
      found.setdefault(named[1], " ".join(told))
    above = []
  return found


def _lines(
  config: ConfigDict,
  prefix: str,
  classes: Sequence[type],
  files: Sequence[Mapping[str, str]],
) -> Iterator[str]:
  """Yields the lines of a group of fields, and of the groups in it."""
  build = _class_of(config, classes)
  told = [*([] if build is None else [_comments_of(build)]), *files]
  groups = {k for k in config if isinstance(config[k], ConfigDict)}
  for name in sorted(config, key=lambda k: (k in groups, k)):
    value = config[name]
    comment = next((c[name] for c in told if name in c), "")
    if name in groups:
      yield ""
      if comment:
        yield from textwrap.wrap(comment, _WIDTH)
      yield from _lines(value, f"{prefix}.{name}", classes, files)
    else:
      yield from _line(f"{prefix}.{name}={_shown(value)}", comment)


def _shown(value: Any) -> str:
  """Value as it is typed on a command line; - where there is none."""
  if value is None:
    return "-"
  if isinstance(value, tuple | list):
    return repr(tuple(value)) if value else "()"
  return str(value)


def _line(field: str, comment: str) -> Iterator[str]:
  """Yields a field and its comment, on one line where both fit."""
  one = f"{field}  # {comment}" if comment else field
  if len(one) <= _WIDTH:
    yield one
    return
  yield field
  space = " " * _INDENT
  yield from textwrap.wrap(
    comment,
    _WIDTH,
    initial_indent=f"{space}# ",
    subsequent_indent=f"{space}# ",
  )


def _comments_of(cls: type) -> dict[str, str]:
  """Comments of the fields of a dataclass."""
  return comments(inspect.getsource(cls))


def _class_of(config: ConfigDict, classes: Sequence[type]) -> type | None:
  """Dataclass that has all fields of a group, and the fewest others."""
  names = set(config)
  sizes = {
    cls: len(fields)
    for cls in classes
    if names and names <= (fields := {f.name for f in dataclasses.fields(cls)})
  }
  return min(sizes, key=lambda cls: sizes[cls]) if sizes else None


def _dataclasses(module: types.ModuleType) -> Iterator[type]:
  """Yields the dataclasses that a stage's module names, and those in them."""
  seen: set[type] = set()
  waiting: list[Any] = list(vars(module).values())
  for value in list(waiting):
    if isinstance(value, types.ModuleType) and _is_ours(value.__name__):
      waiting += vars(value).values()
  while waiting:
    value = waiting.pop()
    if not isinstance(value, type) or value in seen:
      continue
    seen.add(value)
    if dataclasses.is_dataclass(value) and _is_ours(value.__module__):
      yield value
      waiting += [field.type for field in dataclasses.fields(value)]


def _is_ours(module: str) -> bool:
  """Whether a module is of this package."""
  return module.split(".")[0] == "s02jax"
