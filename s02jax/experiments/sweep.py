"""Sweeps: reads the runs of a sweep file and launches the unfinished ones.

A run lies in WORKDIR/NAME, a name made of its overrides alone, so the same
command finds finished runs and continues the others.
"""

import dataclasses
import hashlib
import json
import logging
import pathlib
import re
import runpy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import configs
from s02jax.core import errors, files
from s02jax.core.errors import UserError
from s02jax.training import arguments, checkpoint

_CARD = "sweep.json"
_LONGEST = 60  # characters of a run's name, before its digest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
  """One run of a sweep."""

  name: str  # name of its folder
  overrides: Mapping[str, Any]  # dotted field -> value
  workdir: pathlib.Path
  argv: tuple[str, ...]  # arguments of `s02 train`
  steps: int  # steps of the whole run

  def step(self) -> int:
    """Step of the newest checkpoint; 0 before the first."""
    folder = self.workdir / checkpoint.FOLDER
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    return max((int(n) for n in names if n.isdecimal()), default=0)

  def finished(self) -> bool:
    """True where all steps are taken and saved.

    The folders' names tell. A checkpoint that was damaged since would have to
    be read, and changes no result.
    """
    return self.step() >= self.steps


def name_of(overrides: Mapping[str, Any]) -> str:
  """Name of a run's folder: the same for these overrides in any order."""
  parts = [f"{k.split('.')[-1]}={v}" for k, v in sorted(overrides.items())]
  readable = re.sub(r"[^\w.=,+-]+", "_", ",".join(parts))[:_LONGEST]
  canonical = json.dumps(dict(overrides), sort_keys=True)
  digest = hashlib.sha256(canonical.encode()).hexdigest()[:8]
  return f"{readable}-{digest}"


# --------------------------------------------------------------------- read


def read(sweep: str, workdir: pathlib.Path, fields: Sequence[str]) -> list[Run]:
  """Runs of a sweep file, each checked as `s02 train` would.

  Args:
    sweep: FILE.py, or FILE.py:SIZE.
    workdir: folder of the sweep.
    fields: `--config.field=value`, the same for all runs.

  Raises:
    UserError: no such file, something else in it, or a run that cannot be.
  """
  found = _load(sweep)
  runs = [
    plan(found["config"], o, workdir / name_of(o), fields)
    for o in found["runs"]
  ]
  names = [r.name for r in runs]
  for one in runs:
    if names.count(one.name) > 1:
      raise UserError(f"{sweep}: two runs are both {dict(one.overrides)}.")
  return runs


def _load(sweep: str) -> dict[str, Any]:
  path, _, size = sweep.partition(":")
  file = pathlib.Path(path)
  if not file.exists() and file.parts[:1] == ("configs",):
    file = pathlib.Path(configs.__file__).parent.joinpath(*file.parts[1:])
  if not file.is_file():
    raise UserError(f"--sweep {path}: no such file; see configs/sweeps/.")
  get = runpy.run_path(str(file)).get("get_sweep")
  found = get(*([size] if size else [])) if callable(get) else None
  runs = found.get("runs") if isinstance(found, dict) else None
  if (
    not isinstance(found, dict)
    or not isinstance(found.get("config"), str)
    or not isinstance(runs, list)
    or not runs
    or not all(isinstance(o, dict) and o for o in runs)
  ):
    raise UserError(
      f"--sweep {path}: its get_sweep must return "
      '{"config": "configs/STAGE.py:SIZE", "runs": [{"field": value}, …]}.'
    )
  return found


def plan(
  config: str,
  overrides: Mapping[str, Any],
  workdir: pathlib.Path,
  fields: Sequence[str],
) -> Run:
  """Run of one config in a folder of its own, checked as `s02 train` would.

  Args:
    config: configs/STAGE.py:SIZE.
    overrides: dotted field -> value, what sets the run apart.
    workdir: folder of the run.
    fields: `--config.field=value`, more fields.

  Raises:
    UserError: `s02 train` would not take it.
  """
  argv = [f"--config={config}", f"--workdir={workdir}", *fields]
  argv += [f"--config.{field}={value}" for field, value in overrides.items()]
  return Run(
    name=workdir.name,
    overrides=overrides,
    workdir=workdir,
    argv=tuple(argv),
    steps=arguments.parse(argv).config.steps,
  )


def claim(workdir: pathlib.Path, sweep: str) -> None:
  """Writes into a folder which sweep it holds.

  Raises:
    UserError: it holds another sweep.
  """
  path = workdir / _CARD
  mine = {"sweep": pathlib.PurePath(sweep).name}
  if path.exists():
    before = json.loads(path.read_text(encoding="utf-8"))
    if before != mine:
      raise UserError(
        f"{workdir} holds the sweep {before['sweep']}, not {mine['sweep']}; "
        "choose another folder."
      )
    return
  files.write_json(path, mine)


# ------------------------------------------------------------------- launch


# Trains by the arguments of `s02 train`; returns an exit code.
Launch = Callable[[Sequence[str]], int]


def launch_all(
  runs: Sequence[Run], launch: Launch, tell: Callable[[str], None]
) -> int:
  """Launches the runs that are not finished, one after another.

  Args:
    runs: in the order of the sweep.
    launch: trains one run.
    tell: gets a line for people before each run.

  Returns:
    0, 143 where a run was stopped (the rest is not begun), else the code of
    the first that failed (the others are tried nevertheless).
  """
  first = 0
  for i, one in enumerate(runs):
    step = one.step()
    told = "finished" if one.finished() else f"from step {step} of {one.steps}"
    tell(f"# [{i + 1}/{len(runs)}] {one.name}: {told}")
    if one.finished():
      continue
    code = launch(one.argv)
    if code == errors.STOPPED:
      return code
    if code:
      logging.error("%s failed with exit code %d", one.name, code)
    first = first or code
  return first
