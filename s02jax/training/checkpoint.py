"""Checkpoints: state and resolved config of a run, written asynchronously.

`<workdir>/checkpoints/<step>/` appears whole or not at all (Orbax renames it
into place, or marks it in an object store). The row index needs no entry of its
own: rows are a pure function of the step. Beside the state stand the goodput
until then, and a checksum of every array, because the files themselves do not
tell a flipped bit. A checkpoint that any process finds damaged moves to
`checkpoints.damaged` and the one before it is used; any other reason why it
cannot be read is an error.

  checksum = Σᵢ bits(xᵢ) · (2i + 1)  mod 2³²,  i: row-major index        (1)

The multipliers are odd, so a single wrong bit always changes the sum. It is
computed where the array lies, whatever its sharding: integers add up to the
same in any order. It costs one reading of the memory.

A checkpoint is read from storage once, whatever the number of replicas: each of
them reads a part, and they gather the rest from one another.
"""

import errno
import functools
import logging
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from orbax.checkpoint import multihost
from orbax.checkpoint import v1 as ocp

from s02jax import sharding
from s02jax.core import errors, places
from s02jax.core.trees import named
from s02jax.training.objects import orbax_s3

PyTree = Any
Config = dict[str, Any]

# Seconds before each further try to read what cannot be read now.
PAUSES = (1.0, 5.0, 15.0)
FOLDER = "checkpoints"
DAMAGED = "checkpoints.damaged"


# ------------------------------------------------------------- save, restore


class Checkpoints:
  """Writer and reader of one run's checkpoints, used by all its processes."""

  def __init__(self, workdir: str | pathlib.Path, keep: int):
    """Opens `workdir`, and clears what a killed run left half-written.

    Args:
      workdir: folder of the run.
      keep: how many of the newest checkpoints stay.
    """
    self.workdir = places.absolute(workdir)
    self._keep = keep
    self._open()

  def _open(self) -> None:
    """Makes Orbax's checkpointer, which lists the folder once."""
    training = ocp.training
    policies = training.save_decision_policies
    self._orbax = training.Checkpointer(
      str(self.workdir / FOLDER),
      context=_context(self.workdir),
      # Orbax declares its own policies too narrowly.
      # pyrefly: ignore[bad-argument-type]
      save_decision_policy=policies.FixedIntervalPolicy(1),
      # pyrefly: ignore[bad-argument-type]
      preservation_policy=training.preservation_policies.LatestN(self._keep),
      cleanup_tmp_directories=True,
    )

  def steps(self) -> list[int]:
    """Steps that have a checkpoint, newest first."""
    return sorted((c.step for c in self._orbax.checkpoints), reverse=True)

  def save(
    self, step: int, state: PyTree, config: Config, goodput: dict[str, Any]
  ) -> None:
    """Begins to write a checkpoint; returns when `state` may be donated."""
    parts = {"state": state, "checksums": checksums(state)}
    self._orbax.save_checkpointables_async(
      step, parts | {"config": config, "goodput": goodput}
    )

  def goodput(self, step: int) -> dict[str, Any] | None:
    """Goodput in a checkpoint; None where it is missing or unreadable."""
    try:
      with _without_barrier(self.workdir):
        found = self._orbax.load_checkpointables(step, {"goodput": None})
      return found["goodput"]
    except Exception as error:  # a lost statistic must not end the run
      logging.warning("no goodput in checkpoint %d: %s", step, _why(error))
      return None

  def close(self) -> None:
    """Waits until all saves are on disk; raises what went wrong in them."""
    self._orbax.close()

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
    # A save waits for all processes, and one that fails leaves the others.
    if kind is None or jax.process_count() == 1:
      self.close()

  def restore(self, abstract: PyTree) -> tuple[int, PyTree] | None:
    """Reads the newest checkpoint that is whole; sets damaged ones aside.

    Args:
      abstract: ShapeDtypeStructs with the shardings to restore onto.

    Returns:
      Step and state; None where there is no checkpoint yet.

    Raises:
      UserError: there are checkpoints, and all are damaged; or one of them is
        whole, but of another state.
      PassingError: one of them cannot be read at the moment.
    """
    steps = self.steps()
    for step in steps:
      try:
        return step, self._load_state(step, abstract)
      except _Damaged as problem:
        logging.warning(
          "checkpoint %d is damaged (%s); moved to %s, trying the one before "
          "it",
          step,
          problem,
          self.workdir / DAMAGED,
        )
      self._set_aside(step)
    if steps:
      raise errors.UserError(
        f"no checkpoint of {self.workdir} can be read (they are in "
        f"{DAMAGED}); choose another --workdir, or run again to begin anew."
      )
    return None

  def _load_state(self, step: int, abstract: PyTree) -> PyTree:
    """State at `step`, checked for structure and bits; raises as `_agreed`."""

    read_once = jax.tree.map(_spread, abstract)

    def load() -> PyTree:
      with _without_barrier(self.workdir):
        loaded = self._orbax.load_checkpointables(step, {"state": read_once})
      return jax.block_until_ready(loaded["state"])

    self._agreed(step, lambda: self._check_structure(step, abstract))
    state = _placed(self._agreed(step, load), abstract)
    self._agreed(step, lambda: self._check_bits(step, state))
    return state

  def _agreed(self, step: int, read: Callable[[], Any]) -> Any:
    """Result of `read`, once it has succeeded on every process.

    What may pass by itself is tried again by all, behind each of PAUSES.

    Raises:
      _Damaged: on every process, where any of them found damage.
      UserError: on every process, where any of them could not read for another
        reason.
    """
    for pause in PAUSES:
      try:
        return self._agreed_once(step, read)
      except errors.PassingError as error:
        logging.warning("%s Trying again in %.0f s.", error, pause)
        time.sleep(pause)
    return self._agreed_once(step, read)

  def _agreed_once(self, step: int, read: Callable[[], Any]) -> Any:
    """Result of one try of `read` on every process; raises as `_agreed`."""
    found, damage, unfit, passing = None, None, None, None
    try:
      found = read()
    except errors.UserError as error:
      unfit = error
    except Exception as error:  # Orbax wraps the errors of all its readers
      if _is_damage(error):
        damage = _why(error)
      else:
        passing = errors.PassingError(
          f"checkpoint {step} of {self.workdir} cannot be read now, and it may "
          f"not be its fault ({_why(error)}); it was left where it is."
        )
    # Damage comes first: it stays, whatever else went wrong elsewhere. Passing
    # errors come last, so that all processes try again, or none.
    if who := _processes_with(damage):
      raise _Damaged(damage or f"process {who[0]} says so")
    if who := _processes_with(unfit):
      raise unfit or errors.UserError(_elsewhere(who[0], step, self.workdir))
    if who := _processes_with(passing):
      told = _elsewhere(who[0], step, self.workdir)
      raise passing or errors.PassingError(told)
    return found

  def _check_bits(self, step: int, state: PyTree) -> None:
    """Raises ValueError where an array has not the checksum of `step`."""
    _check_bits(self._orbax, self.workdir, step, state)

  def _check_structure(self, step: int, abstract: PyTree) -> None:
    """Raises UserError where a readable checkpoint is of another state."""
    stored = self._orbax.checkpointables_metadata(step).metadata.get("state")
    if stored is None:  # unreadable: loading it will say why
      return
    there, here = _shapes(stored), _shapes(abstract)
    for name in sorted(there.keys() | here.keys()):
      if there.get(name) != here.get(name):
        raise errors.UserError(
          f"checkpoint {step} of {self.workdir} has {name} of shape "
          f"{there.get(name, 'none')}, this config makes "
          f"{here.get(name, 'none')}; choose another --workdir, or the config "
          "and code of that run."
        )

  def _set_aside(self, step: int) -> None:
    """Moves a damaged checkpoint out of the folder, and opens that anew."""
    self._orbax.close()
    if jax.process_index() == 0:
      target = self.workdir / DAMAGED / str(step)
      places.make_folder(target.parent)
      n = 0
      while target.exists():
        n += 1
        target = target.with_name(f"{step}.{n}")
      places.move_folder(self.workdir / FOLDER / str(step), target)
    _processes_with(None)  # a barrier: none may look before it has moved
    self._open()


def _spread(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
  """Shape and sharding that splits an array over its replicas too."""
  if not isinstance(x.sharding, NamedSharding):
    return x
  placed = sharding.spread(x.sharding, x.shape)
  return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placed)


def _placed(state: PyTree, abstract: PyTree) -> PyTree:
  """State on the shardings of `abstract`: replicas get it from one another."""
  wanted = jax.tree.map(lambda x: x.sharding, abstract)
  if jax.tree.map(lambda x: x.sharding, state) == wanted:
    return state
  return jax.jit(lambda x: x, out_shardings=wanted)(state)


class _Damaged(Exception):
  """Wrong or missing bytes or files in a checkpoint."""


# -------------------------------------------------------------- for inference


def load(
  workdir: str | pathlib.Path, abstract: PyTree | None = None
) -> tuple[Config, PyTree]:
  """Reads the newest checkpoint of a run, for inference.

  Args:
    workdir: of `s02 train`.
    abstract: the state's structure (`jax.eval_shape(stage.init_state, key)`)
      to get the stage's own dataclasses; nested dicts and lists without it.

  Returns:
    The resolved config and the state, leaves as NumPy arrays.

  Raises:
    UserError: there is no checkpoint, or none of them can be read.
  """
  folder = places.absolute(workdir) / FOLDER
  if not folder.is_dir():
    raise errors.UserError(
      f"{workdir} holds no checkpoint; train a stage there with "
      "`s02 train --workdir`."
    )
  context = _context(folder)
  with ocp.training.Checkpointer(str(folder), context=context) as reader:
    steps = sorted((c.step for c in reader.checkpoints), reverse=True)
    for step in steps:
      try:
        return _read(reader, folder, step, abstract)
      except Exception as error:
        if places.stored(folder) is not None and not _is_damage(error):
          raise errors.PassingError(
            f"checkpoint {step} of {workdir} cannot be read now "
            f"({_why(error)}); try again."
          ) from error
        logging.warning(
          "checkpoint %d of %s cannot be read (%s); trying the one before it",
          step,
          workdir,
          _why(error),
        )
  raise errors.UserError(
    f"{workdir} holds no readable checkpoint; run `s02 train` there again."
  )


def _read(
  reader: ocp.training.Checkpointer,
  folder: pathlib.Path,
  step: int,
  abstract: PyTree | None,
) -> tuple[Config, PyTree]:
  """Config and state at `step`, arrays as NumPy."""
  if abstract is None:
    abstract = reader.checkpointables_metadata(step).metadata["state"]
  here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), abstract
  )
  with _without_barrier(folder):
    loaded = reader.load_checkpointables(
      step, {"state": abstract, "config": None}
    )
  _check_bits(reader, folder, step, loaded["state"])
  return loaded["config"], jax.tree.map(np.asarray, loaded["state"])


# ------------------------------------------------------------------ checksums


def checksums(state: PyTree) -> dict[str, int]:
  """Checksum (1) of every array, by its path.

  Args:
    state: jax Arrays of at most four bytes an element, all on one mesh or all
      on one device.
  """
  leaves = named(state)
  if not leaves:
    return {}
  placed = next(iter(leaves.values())).sharding
  mesh = placed.mesh if isinstance(placed, NamedSharding) else None
  sums = jax.device_get(_jitted_sums(mesh)(leaves))
  return {name: int(value) for name, value in sums.items()}


@functools.cache
def _jitted_sums(mesh: Any) -> Any:
  """Jitted checksums (1); every process of the mesh gets all of them."""
  placed = None if mesh is None else sharding.replicated(mesh)
  return jax.jit(
    lambda leaves: jax.tree.map(_sum, leaves), out_shardings=placed
  )


_UNSIGNED = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}


def _sum(x: jax.Array) -> jax.Array:
  """Checksum (1) of one array, uint32."""
  if x.dtype == jnp.bool_:
    x = x.astype(jnp.uint8)
  kind = _UNSIGNED[x.dtype.itemsize]
  bits = jax.lax.bitcast_convert_type(x, kind).astype(jnp.uint32)
  place, stride = jnp.zeros(x.shape, jnp.uint32), 1
  for axis in reversed(range(x.ndim)):
    along = jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    place = place + along * jnp.uint32(stride % 2**32)
    stride *= x.shape[axis]
  odd = place * jnp.uint32(2) + jnp.uint32(1)
  return jnp.sum(bits * odd, dtype=jnp.uint32)


def _check_bits(
  reader: ocp.training.Checkpointer,
  where: pathlib.Path,
  step: int,
  state: PyTree,
) -> None:
  """Raises ValueError where an array has not the checksum it was saved with."""
  found = checksums(state)  # before anything fails: all processes take part
  if "checksums" not in reader.checkpointables_metadata(step).metadata:
    return  # a checkpoint from before there were checksums
  with _without_barrier(where):
    loaded = reader.load_checkpointables(step, {"checksums": None})
  for name, value in found.items():
    if loaded["checksums"].get(name) != value:
      raise ValueError(f"{name} does not have its checksum")


# --------------------------------------------------------------------- orbax


def _context(where: pathlib.Path) -> ocp.Context:
  """Orbax context that reads and writes all but the state as JSON.

  Args:
    where: place of the checkpoints, which decides how one is marked as whole.
  """
  registry = ocp.handlers.local_registry()
  for name in ("config", "goodput", "checksums"):
    registry.add(ocp.handlers.JsonHandler, checkpointable_name=name)
  context = ocp.Context()
  context.checkpointables.registry = registry
  if places.stored(where) is not None:  # a store renames nothing
    context.atomicity.mode = ocp.options.AtomicityMode.COMMIT_FILE
  if places.scheme(where) == "s3":
    orbax_s3.enable()
  return context


def _without_barrier(where: pathlib.Path) -> ocp.Context:
  """Orbax context for reading without a barrier: a peer may have failed."""
  context = _context(where)
  me = multihost.process_index()
  context.multiprocessing_options.primary_host = me
  context.multiprocessing_options.active_processes = {me}
  return context


def _shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
  """Shapes of the leaves by path."""
  return {name: tuple(leaf.shape) for name, leaf in named(tree).items()}


# ------------------------------------------------------------ kinds of errors

# Words of tensorstore and gRPC for errors that another try may not meet. An
# object that is missing is no answer of its service that tensorstore cites.
_PASSING = (
  "ABORTED",
  "http_response_code",
  "RESOURCE_EXHAUSTED",
  "PERMISSION_DENIED",
  "UNAUTHENTICATED",
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  os.strerror(errno.EACCES),
  os.strerror(errno.EIO),
  os.strerror(errno.EMFILE),
  os.strerror(errno.ENOMEM),
)


def causes(error: BaseException) -> list[BaseException]:
  """Exceptions from a library's outermost wrapper down to the first."""
  around = None if error.__suppress_context__ else error.__context__
  inner = error.__cause__ or around
  return [error, *(causes(inner) if inner else ())]


def _is_damage(error: Exception) -> bool:
  """Whether an error tells of wrong or missing bytes or files."""
  *_, cause = chain = causes(error)
  if any(word in str(e) for word in _PASSING for e in chain):
    return False
  # JSONDecodeError and tensorstore's errors are ValueErrors.
  return isinstance(cause, (ValueError, FileNotFoundError, KeyError, EOFError))


def _processes_with(what: object | None) -> list[int]:
  """Numbers of the processes whose `what` is not None; also a barrier."""
  me = multihost.process_index()
  said = np.array(-1 if what is None else me)
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    said = multihost_utils.process_allgather(said)
  return sorted(int(process) for process in said.flat if process >= 0)


def _elsewhere(process: int, step: int, workdir: pathlib.Path) -> str:
  """Sentence of a process about what another one could not do."""
  return (
    f"process {process} cannot read checkpoint {step} of {workdir}; its log "
    "says why."
  )


def _why(error: Exception) -> str:
  """First line of an error's innermost cause."""
  cause = causes(error)[-1]
  text = str(cause).strip().splitlines()
  return (text[0] if text else type(cause).__name__)[:200]
