"""Sweeps: the runs of a sweep file, their folders, and how they are launched.

A run lies in WORKDIR/NAME, a name made of its overrides alone, so the same
command finds finished runs and continues the others.
"""

import argparse
import dataclasses
import hashlib
import json
import pathlib
import re
import runpy
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import configs
from s02jax.core import errors, files
from s02jax.core.errors import UserError
from s02jax.training import arguments, checkpoint

LAUNCHERS = ("local", "slurm", "jobset", "tpu_vm")
_CARD = "sweep.json"
_LONGEST = 60  # characters of a run's name, before its digest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
  """One run of a sweep."""

  name: str
  overrides: Mapping[str, Any]  # dotted field -> value
  workdir: pathlib.Path
  argv: tuple[str, ...]  # of `s02 train`
  steps: int  # when it is finished

  def step(self) -> int:
    """Step of its newest checkpoint; 0 before the first."""
    folder = self.workdir / checkpoint.FOLDER
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    return max((int(n) for n in names if n.isdecimal()), default=0)

  def finished(self) -> bool:
    """Whether all steps are taken and saved.

    By the folders' names: a checkpoint that was damaged since takes reading
    it, and changes no result.
    """
    return self.step() >= self.steps


def name_of(overrides: Mapping[str, Any]) -> str:
  """A folder's name that these overrides, in any order, always give."""
  parts = [f"{k.split('.')[-1]}={v}" for k, v in sorted(overrides.items())]
  readable = re.sub(r"[^\w.=,+-]+", "_", ",".join(parts))[:_LONGEST]
  canonical = json.dumps(dict(overrides), sort_keys=True)
  digest = hashlib.sha256(canonical.encode()).hexdigest()[:8]
  return f"{readable}-{digest}"


# --------------------------------------------------------------------- read


def read(sweep: str, workdir: pathlib.Path, fields: Sequence[str]) -> list[Run]:
  """The runs of a sweep; each is checked as `s02 train` would.

  Args:
    sweep: FILE.py, or FILE.py:SIZE.
    workdir: of the sweep.
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
  """A run of its own folder, checked as `s02 train` would."""
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
  """Writes which sweep a folder holds.

  Raises:
    UserError: it holds another.
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


def launch_all(
  runs: Sequence[Run], launcher: Any, options: argparse.Namespace
) -> int:
  """Launches what is not finished.

  Args:
    runs: in the order of the sweep.
    launcher: a module of `launch/`.
    options: of that launcher.

  Returns:
    0, 143 where a run was stopped (the rest is not begun), else the code of
    the first that failed (the others are tried nevertheless).
  """
  first = 0
  for i, one in enumerate(runs):
    step = one.step()
    told = "finished" if one.finished() else f"from step {step} of {one.steps}"
    print(f"# [{i + 1}/{len(runs)}] {one.name}: {told}", flush=True)
    if one.finished():
      continue
    code = launcher.launch(options, one.argv)
    if code == errors.STOPPED:
      return code
    if code:
      print(f"{one.name} failed with exit code {code}", file=sys.stderr)
    first = first or code
  return first
