"""Guards of a working directory: one writer, and the same run as before."""

import contextlib
import errno
import json
import logging
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
from ml_collections import ConfigDict

from s02jax.core import errors, trees
from s02jax.training import checkpoint, hosts

# A checkpoint of other values here is another run's.
STRUCTURAL = ("stage", "model", "discriminators", "features")


def plain(config: ConfigDict) -> dict[str, Any]:
  return json.loads(config.to_json_best_effort())


def run_facts(config: ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """What must be the same on every process of a job."""
  folder = workdir / checkpoint.FOLDER
  steps = [int(p.name) for p in folder.glob("*") if p.name.isdigit()]
  return {
    "the code": hosts.fingerprint(),
    "the number of devices": jax.local_device_count(),
    "the newest checkpoint in --workdir": max(steps, default=None),
    **trees.dotted(plain(config), "config."),
  }


@contextlib.contextmanager
def only_writer(workdir: pathlib.Path) -> Iterator[None]:
  """Makes the folder; process 0 keeps other jobs out of it.

  Raises UserError where another job is in it, or it cannot be made.
  """
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    lock = checkpoint.lock(workdir) if jax.process_index() == 0 else None
  except OSError as error:
    raise disk_error(workdir, str(error.strerror)) from error
  try:
    yield
  finally:
    if lock is not None:
      os.close(lock)


def check_same_run(workdir: pathlib.Path, config: dict[str, Any]) -> None:
  """Raises UserError where the checkpoints are of another model."""
  path = workdir / "config.json"
  if not path.exists():
    return
  before = trees.dotted(json.loads(path.read_text(encoding="utf-8")))
  now = trees.dotted(config)
  for name in sorted(before | now):
    if before.get(name) == now.get(name):
      continue
    if name.split(".")[0] in STRUCTURAL:
      raise errors.UserError(
        f"{workdir} holds a run with config.{name} {before.get(name)!r}, now "
        f"it is {now.get(name)!r}; choose another --workdir."
      )
    logging.warning(
      "config.%s was %r in this run, and is %r from here on",
      name,
      before.get(name),
      now.get(name),
    )


DISK_ERRORS = (
  errno.ENOSPC,
  errno.EDQUOT,
  errno.EACCES,
  errno.EPERM,
  errno.EROFS,
  errno.ENOTDIR,
  errno.EEXIST,
)


def disk_error(workdir: str | os.PathLike, reason: str) -> errors.UserError:
  return errors.UserError(
    f"cannot write to --workdir {workdir}: {reason}; a checkpoint saved "
    "before is whole, and the same command goes on from it."
  )
