"""Guards of a working directory: one writer at a time, always the same run."""

import contextlib
import errno
import fcntl
import json
import logging
import os
import pathlib
import time
from collections.abc import Callable, Generator
from typing import Any

import jax
from ml_collections import ConfigDict

from s02jax.core import places, trees
from s02jax.core.config import plain
from s02jax.core.errors import PASSING, PassingError, UserError
from s02jax.training import checkpoint, hosts
from s02jax.training.objects.lease import Lease

# Parts of a config that make another run of it: checkpoints do not fit.
STRUCTURAL = (
  "stage",
  "model",
  "discriminators",
  "features",
  "adapter",
  "distillation",
)
# Parts that the rows are a function of: with other values, row numbers that a
# checkpoint has taken are those of other clips.
ROWS = ("batch_size", "seed", "data", "corpus_digest")
LOCK = ".lock"
# Seconds until a job that is in the folder must have left it. The lock of a
# node that died is let go by its file server after a minute or so.
PATIENCE = 150.0


def run_facts(config: ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Facts that must be the same on every process of a job, as JSON values."""
  folder = workdir / checkpoint.FOLDER
  steps = [int(p.name) for p in folder.glob("*") if p.name.isdigit()]
  return {
    "the code": hosts.fingerprint(),
    **trees.dotted(hosts.versions(), "the version of "),
    "the number of devices": jax.local_device_count(),
    "the newest checkpoint in --workdir": max(steps, default=None),
    **trees.dotted(plain(config), "config."),
  }


def check_same_run(workdir: pathlib.Path, config: ConfigDict) -> None:
  """Compares a resolved config with the one that began the run in `workdir`.

  Other values that may change in between are named in warnings.

  Raises:
    UserError: a STRUCTURAL value differs: the checkpoints are another model's;
      or one of ROWS that config.may_change does not name.
  """
  path = workdir / "config.json"
  if not path.exists():
    return
  before = trees.dotted(json.loads(path.read_text(encoding="utf-8")))
  now = trees.dotted(plain(config))
  allowed = [x.strip() for x in (config.get("may_change") or "").split(",")]
  # What no name can allow comes first: the advice must be one that helps.
  names = sorted(before | now)
  for name in sorted(names, key=lambda x: not _is_of(STRUCTURAL, x)):
    if before.get(name) == now.get(name) or name == "may_change":
      continue
    change = (
      f"{workdir} holds a run with config.{name} {before.get(name)!r}, now "
      f"it is {now.get(name)!r}"
    )
    if _is_of(STRUCTURAL, name):
      raise UserError(f"{change}; choose another --workdir.")
    if _moves_rows(name, before) and not _named(name, allowed):
      raise UserError(
        f"{change}: the rows that follow would not be those of that run, some "
        "read again and some never; choose another --workdir, or add "
        f"--config.may_change={name} if that is meant."
      )
    logging.warning(
      "config.%s was %r in this run, and is %r from here on",
      name,
      before.get(name),
      now.get(name),
    )


def _moves_rows(name: str, before: dict[str, Any]) -> bool:
  """Whether a value decides the rows; runs from before it had a name do not."""
  return _is_of(ROWS, name) and name in before


def _is_of(groups: tuple[str, ...], name: str) -> bool:
  """Whether a field is in one of these groups of a config."""
  return name.split(".")[0] in groups


def _named(name: str, allowed: list[str]) -> bool:
  """Whether a field, or the group that it is in, is among names."""
  return any(name == x or name.startswith(f"{x}.") for x in allowed if x)


@contextlib.contextmanager
def only_writer(workdir: pathlib.Path) -> Generator[None]:
  """Context that makes the folder, and in which no other job writes to it.

  Raises:
    PassingError: another job is in the folder and does not leave it.
    UserError: the folder cannot be made.
  """
  with contextlib.ExitStack() as stack:
    try:
      places.make_folder(workdir)
      if jax.process_index() == 0:
        stack.callback(lock(workdir))
    except OSError as error:
      stored = places.stored(workdir) is not None
      why = storage_error(str(workdir), "", error) if stored else None
      reason = str(error.strerror or error)
      raise why or disk_error(workdir, reason) from error
    yield


def lock(workdir: pathlib.Path) -> Callable[[], object]:
  """Locks a working directory for as long as this process lives.

  Waits for PATIENCE where another process has it. Where the file system has no
  locks, a warning says so; in an object store it is a lease.

  Returns:
    Function that unlocks it.

  Raises:
    PassingError: another process holds the lock.
  """
  if (store := places.stored(workdir)) is not None:
    lease = Lease(store, lambda why: _lost(workdir, why))
    _wait_for(lease.take, workdir)
    return lease.give_back
  file = os.open(workdir / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
  try:
    _wait_for(lambda: _locked(file, workdir), workdir)
  except PassingError:
    os.close(file)
    raise
  return lambda: os.close(file)


def _lost(workdir: pathlib.Path, why: str) -> None:
  """Ends this process, which may write no more."""
  hosts.give_up(PASSING, f"{workdir} is no longer this job's: {why}")


def _wait_for(take: Callable[[], bool], workdir: pathlib.Path) -> None:
  """Tries until the lock is taken; raises as `lock`."""
  last, told = time.monotonic() + PATIENCE, False
  while not take():
    if time.monotonic() > last:
      raise PassingError(
        f"another job trains in {workdir}; wait for its end, or choose "
        "another --workdir."
      )
    if not told:
      logging.info(
        "another job is in %s; waiting %.0f s for its end", workdir, PATIENCE
      )
      told = True
    time.sleep(min(1.0, PATIENCE / 10))


def _locked(file: int, workdir: pathlib.Path) -> bool:
  """Tries to lock a file; True also where there are no locks."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  except OSError as error:
    logging.warning("%s cannot be locked: %s", workdir, error)
  return True


# Numbers of an OSError that tell of the disk or its rights, not of a bug.
DISK_ERRORS = (
  errno.ENOSPC,
  errno.EDQUOT,
  errno.EACCES,
  errno.EPERM,
  errno.EROFS,
  errno.ENOTDIR,
  errno.EEXIST,
)


# Words for a full disk or store, in errors that have no number for it.
_FULL = (os.strerror(errno.ENOSPC), "QuotaExceeded", "quotaExceeded",
         "StorageFull", "InsufficientStorage")  # fmt: skip
# Libraries that ask object stores; their errors are not all OSErrors.
_CLIENTS = ("aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "google",
            "s3fs")  # fmt: skip


def storage_error(
  workdir: str, corpus: str, error: Exception
) -> UserError | None:
  """Sentence for an error of disks or stores; None where it is another kind.

  Args:
    workdir: folder of the run, or its URL.
    corpus: folder of the corpus, or its URL.
    error: what ended the training.
  """
  chain = checkpoint.causes(error)
  stores = [x for x in (workdir, corpus) if places.scheme(x)]
  if any(word in str(e) for word in _FULL for e in chain):
    full = "there is no room" if stores else os.strerror(errno.ENOSPC)
    return disk_error(workdir, full)
  if (
    isinstance(error, OSError)
    and error.errno in DISK_ERRORS
    and not places.scheme(workdir)
    and _is_under(error, workdir)
  ):
    return disk_error(workdir, os.strerror(error.errno))
  if not stores:
    return None
  stored = any(
    isinstance(e, OSError)
    or type(e).__module__.partition(".")[0] in _CLIENTS
    or "http_response_code" in str(e)
    for e in chain
  )
  if not stored:
    return None
  where, why = " and ".join(stores), " ".join(f"{chain[-1]}".split())[:300]
  lasting = (FileNotFoundError, PermissionError)
  if any(isinstance(e, lasting) or "Credentials" in type(e).__name__
         for e in chain):  # fmt: skip
    return UserError(
      f"the object store of {where} refuses: {why}; check the names of buckets "
      "and the keys that are set."
    )
  return PassingError(
    f"the object store of {where} does not do its part: {why}; the same "
    "command goes on from the newest checkpoint."
  )


def _is_under(error: OSError, workdir: str) -> bool:
  """Whether an error is of a file in the folder of a run, or of none."""
  name = error.filename
  if not isinstance(name, str | os.PathLike):
    return True
  return (
    pathlib.Path(workdir).absolute() in pathlib.Path(name).absolute().parents
  )


def disk_error(workdir: str | os.PathLike, reason: str) -> UserError:
  """Error for a working directory that cannot be written to."""
  return UserError(
    f"cannot write to --workdir {workdir}: {reason}; a checkpoint saved "
    "before is whole, and the same command goes on from it."
  )
