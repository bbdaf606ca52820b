"""`s02 train`: the one loop. It runs any stage and knows none.

  s02 train --config configs/ar.py:demo --config.corpus DIR --workdir DIR \\
    [--config.field=value ...]

The working directory gets config.json (resolved), checkpoints/, metrics.jsonl
and tensorboard/. The same command goes on where a stopped run was: its losses
are those of a run that never stopped, bit for bit on the same devices. Exit
codes: 0 all steps taken, 2 wrong input, 143 stopped by SIGTERM after saving.

Several hosts: the cluster's own variables (SLURM, Cloud TPU, JAX_*) are
honoured, or give --coordinator HOST:PORT --num_processes N --process_id I.
"""

import dataclasses
import errno
import json
import logging
import os
import pathlib
import runpy
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

import configs
from s02jax import (
  checkpoint,
  cli,
  errors,
  metrics,
  program,
  sharding,
  stages,
)
from s02jax import train_state as ts
from s02jax.config import build
from s02jax.data import loader

PyTree = Any

STOPPED = 143
# A checkpoint of other values here is another run's.
STRUCTURAL = ("stage", "model", "discriminators", "features")


def train(
  config: ConfigDict,
  workdir: str | os.PathLike,
  devices: Sequence[jax.Device] | None = None,
) -> int:
  """Takes the steps that are missing.

  Args:
    config: as `configs/<stage>.py` gives it; resolved here.
    workdir: made where it is missing.
    devices: to train on; all of them where absent.

  Returns:
    The exit code: 0, or 143 after a SIGTERM.

  Raises:
    UserError: wrong config, unreadable corpus, unwritable folder.
  """
  workdir = pathlib.Path(workdir).absolute()
  try:
    workdir.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise _disk_error(workdir, str(error.strerror)) from error
  with checkpoint.Checkpoints(workdir, config.keep) as checkpoints:
    config = stages.resolve(config)
    if checkpoints.steps():
      _check_same_run(workdir, _plain(config))
    if max(checkpoints.steps(), default=0) >= config.steps:
      logging.info("%s has taken all of its %d steps", workdir, config.steps)
      return 0
    with _StopSignal() as stop:
      return _run(config, workdir, checkpoints, devices, stop)


def _run(
  config: ConfigDict,
  workdir: pathlib.Path,
  checkpoints: checkpoint.Checkpoints,
  devices: Sequence[jax.Device] | None,
  stop: "_StopSignal",
) -> int:
  """The loop, from top to bottom."""
  main_process = jax.process_index() == 0
  if main_process:
    _write_config(workdir, _plain(config))

  # ------------------------------------------------------------------ mesh
  mesh = sharding.make_mesh(config.mesh, devices)
  logging.info("mesh: %s on %s", dict(mesh.shape), jax.devices()[0].device_kind)
  mine = sharding.local_rows(mesh, config.batch_size)
  if config.accumulate < 1 or config.batch_size % config.accumulate:
    raise errors.UserError(
      f"config.accumulate is {config.accumulate}; it must divide "
      f"config.batch_size, {config.batch_size}."
    )
  batch_sharding = sharding.batch_sharding(mesh)

  # ------------------------------------------------------------------ data
  logging.info("data: %s", config.corpus)
  stage = stages.make(config)
  rows = stage.rows(config.corpus, "train", config.batch_size, config.seed)
  eval_rows = {
    split: stage.rows(config.corpus, split, config.batch_size, config.seed)
    for split in config.eval_splits
    if config.eval_batches > 0
  }
  for reason, count in rows.excluded.items():
    if count:
      logging.info("data: %d records left out: %s", count, reason)

  def batches(rows: stages.Rows, first: int, last: int) -> Iterator[dict]:
    return loader.make_loader(rows, first, last, mine, config.threads)

  def to_device(batch: dict[str, np.ndarray]) -> stages.Batch:
    return {
      name: sharding.global_array(
        batch_sharding, value, mine, config.batch_size
      )
      for name, value in batch.items()
    }

  # ----------------------------------------------------------------- state
  abstract = program.abstract_state(stage, mesh)
  logging.info("state: %s values", f"{_count(abstract):,}")

  # --------------------------------------------------------------- restore
  restored = checkpoints.restore(abstract)
  if restored is None:
    start = 0
    with jax.set_mesh(mesh):
      init = program.init_program(stage, abstract)
      state = init(jax.random.key(config.seed))
  else:
    start, state = restored
    logging.info("restored step %d of %s", start, workdir)

  # ------------------------------------------------------------------ step
  step_program = _Programs(
    program.train_program(stage, mesh, abstract), "train step"
  )
  eval_program = _Programs(
    program.eval_program(stage, mesh, abstract), "eval step"
  )
  optimizer = build(ts.OptimizerConfig, config.optimizer, "config.optimizer")
  rate = ts.schedule(optimizer, config.steps)
  meter = metrics.Meter(metrics.peak_flops())
  writer = metrics.Writer(workdir, start, config.steps, main_process)

  def log(step: int, values: stages.Metrics, counts: metrics.Counts) -> None:
    """Waits for a step to end; writes its metrics where a line is due."""
    read = {k: float(v) for k, v in jax.device_get(values).items()}
    meter.add(counts)
    writer.advance(step)
    if _due(step, config.log_every, config.steps):
      read["learning_rate"] = float(np.asarray(rate(step - 1)))
      writer.write(step, read | meter.read())

  # -------------------------------------------------------------- evaluate
  def evaluate(step: int, state: PyTree) -> None:
    """Writes the mean over the evaluation batches of every split."""
    values = {}
    for split, split_rows in eval_rows.items():
      seen = []
      for batch in batches(split_rows, 0, config.eval_batches):
        batch, _ = _host_only(batch)
        seen.append(jax.device_get(eval_program(state, to_device(batch))))
      for name in seen[0]:
        values[f"{split}/{name}"] = np.mean([m[name] for m in seen])
    if values:
      writer.write(step, values)

  # ------------------------------------------------------------------ save
  def save(step: int, state: PyTree) -> None:
    """Begins to write a checkpoint."""
    checkpoints.save(step, state, _plain(config))

  # ------------------------------------------------------------------ loop
  logging.info("training: steps %d to %d", start + 1, config.steps)
  flops = _Flops(stage)
  last_saved, pending, step = start, None, start
  train_batches = batches(rows, start, config.steps)
  with writer, jax.set_mesh(mesh):
    while step < config.steps and not stop.requested(step):
      began = time.perf_counter()
      batch, host = _host_only(next(train_batches))
      wait = time.perf_counter() - began
      batch = to_device(batch)
      if step_program.is_new(batch):
        with meter.pause():
          step_program.compile(state, batch)
      with (
        jax.transfer_guard("disallow"),
        jax.profiler.StepTraceAnnotation("train", step_num=step),
      ):
        state, values = step_program(state, batch)
      counts = metrics.Counts(
        rows=config.batch_size,
        audio_seconds=float(host["audio_seconds"].sum())
        * (config.batch_size / len(mine)),
        padding=float(host["padding"].mean()),
        flops=flops(batch),
        wait=wait,
      )
      step += 1

      # The device is busy with this step while the host reads the last one.
      if pending is not None:
        log(*pending)
      pending = (step, values, counts)
      evaluation_due = _due(step, config.eval_every, config.steps)
      save_due = _due(step, config.checkpoint_every, config.steps)
      if evaluation_due or save_due:
        log(*pending)
        pending = None
        with meter.pause():
          if evaluation_due:
            evaluate(step, state)
          if save_due:
            save(step, state)
            last_saved = step

    # ----------------------------------------------------------------- end
    if pending is not None:
      log(*pending)
    if step > last_saved:
      save(step, state)
  checkpoints.close()  # waits, so that what is said next is true
  if step < config.steps:
    logging.info("stopped by SIGTERM after saving step %d", step)
    return STOPPED
  logging.info("done: %d steps in %s", config.steps, workdir)
  return 0


# ------------------------------------------------------------------- pieces


class _StopSignal:
  """Remembers a SIGTERM, so that the loop ends at a step boundary."""

  def __init__(self):
    self._received = False

  def __enter__(self) -> "_StopSignal":
    # JAX's own service listens where there are several processes.
    if jax.process_count() == 1:
      self._before = signal.signal(signal.SIGTERM, self._receive)
    return self

  def __exit__(self, *_: Any) -> None:
    if jax.process_count() == 1:
      signal.signal(signal.SIGTERM, self._before)

  def _receive(self, *_: Any) -> None:
    self._received = True

  def requested(self, step: int) -> bool:
    """True, on every process at the same step, after a SIGTERM to one."""
    if jax.process_count() == 1:
      return self._received
    from jax.experimental import multihost_utils

    return multihost_utils.reached_preemption_sync_point(step)


class _Programs:
  """A jitted function, compiled once per batch shape, saying so."""

  def __init__(self, jitted: Any, name: str):
    self._jitted = jitted
    self._name = name
    self._compiled = {}

  def is_new(self, batch: stages.Batch) -> bool:
    """Whether this shape has yet to be compiled."""
    return _shapes(batch) not in self._compiled

  def compile(self, state: PyTree, batch: stages.Batch) -> None:
    """Compiles for the shape of `batch`, or reads it from the cache."""
    began = time.perf_counter()
    hits = _CacheCounter.hits
    program = self._jitted.lower(state, batch).compile()
    self._compiled[_shapes(batch)] = program
    origin = "cached" if _CacheCounter.hits > hits else "compiled"
    seconds = time.perf_counter() - began
    shapes = {name: x.shape for name, x in batch.items()}
    logging.info("%s: %s in %.1f s %s", self._name, origin, seconds, shapes)

  def __call__(self, state: PyTree, batch: stages.Batch) -> Any:
    if self.is_new(batch):
      self.compile(state, batch)
    return self._compiled[_shapes(batch)](state, batch)


class _CacheCounter:
  """Programs that this process read from the persistent cache."""

  hits = 0

  @classmethod
  def listen(cls, event: str, **_: Any) -> None:
    """For `jax.monitoring`."""
    if event == "/jax/compilation_cache/cache_hits":
      cls.hits += 1


class _Flops:
  """FLOPs of a train step, asked of the stage once per shape."""

  def __init__(self, stage: stages.Stage):
    self._stage = stage
    self._known = {}

  def __call__(self, batch: stages.Batch) -> float:
    shapes = _shapes(batch)
    if shapes not in self._known:
      abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch
      )
      self._known[shapes] = float(self._stage.flops(abstract))
    return self._known[shapes]


def _shapes(batch: stages.Batch) -> tuple:
  return tuple((name, x.shape) for name, x in sorted(batch.items()))


def _host_only(batch: dict[str, np.ndarray]) -> tuple[dict, dict]:
  """Splits off what the log counts and the device never sees."""
  host = {name: batch[name] for name in ("audio_seconds", "padding")}
  return {n: x for n, x in batch.items() if n not in host}, host


def _due(step: int, every: int, last: int) -> bool:
  return step == last or (every > 0 and step % every == 0)


def _count(tree: PyTree) -> int:
  return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))


def _plain(config: ConfigDict) -> dict[str, Any]:
  return json.loads(config.to_json_best_effort())


def _write_config(workdir: pathlib.Path, config: dict[str, Any]) -> None:
  temporary = workdir / "config.json.tmp"
  temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
  os.replace(temporary, workdir / "config.json")


def _check_same_run(workdir: pathlib.Path, config: dict[str, Any]) -> None:
  """Raises UserError where the checkpoints are of another model."""
  path = workdir / "config.json"
  if not path.exists():
    return
  before = _flat(json.loads(path.read_text(encoding="utf-8")))
  now = _flat(config)
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


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
  """Nested dicts to one, keys joined by dots."""
  out = {}
  for name, value in tree.items():
    if isinstance(value, dict):
      out |= _flat(value, f"{prefix}{name}.")
    else:
      out[prefix + name] = value
  return out


# --------------------------------------------------------------------- door


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
  """What the command line says."""

  config: ConfigDict
  workdir: str
  # host:port of process 0, where the cluster does not tell by itself
  coordinator: str | None
  num_processes: int | None
  process_id: int | None


def parse(argv: list[str]) -> Arguments:
  """Reads the command line.

  Raises:
    UserError: an unknown flag or field, a missing file, an ill-typed value.
  """
  values = flags.FlagValues()
  argv = ["s02 train", *map(_find_config, _joined(argv))]
  _check_fields(argv)
  config_flags.DEFINE_config_file(
    "config",
    None,
    "configs/STAGE.py:SIZE",
    flag_values=values,
    lock_config=True,
    sys_argv=argv,
  )
  string = dict(default=None, flag_values=values)
  flags.DEFINE_string("workdir", help="folder of the run", **string)
  flags.DEFINE_string("coordinator", help="host:port of process 0", **string)
  flags.DEFINE_integer("num_processes", help="how many", **string)
  flags.DEFINE_integer("process_id", help="which of them", **string)
  rest = _translated(values, argv)
  if rest[1:]:
    raise errors.UserError(f"{rest[1]!r} is not an argument of `s02 train`.")
  config, workdir = values["config"].value, values["workdir"].value
  if config is None:
    raise errors.UserError("`s02 train` needs --config=configs/STAGE.py:SIZE.")
  if workdir is None:
    raise errors.UserError("`s02 train` needs --workdir=DIR.")
  if not config.corpus:
    raise errors.UserError(
      "config.corpus has no value; give --config.corpus=DIR, a folder that "
      "`s02 corpus` wrote."
    )
  return Arguments(
    config=config,
    workdir=workdir,
    coordinator=values["coordinator"].value,
    num_processes=values["num_processes"].value,
    process_id=values["process_id"].value,
  )


def _joined(argv: list[str]) -> list[str]:
  """`--flag value` as `--flag=value`."""
  out = []
  for word in argv:
    if out and out[-1].startswith("--") and "=" not in out[-1]:
      out[-1] += f"={word}"
    else:
      out.append(word)
  return out


def _find_config(word: str) -> str:
  """Turns --config=configs/x.py into a path that exists."""
  flag, _, value = word.partition("=")
  if flag not in ("--config", "-config"):
    return word
  path, _, size = value.partition(":")
  found = pathlib.Path(path)
  if not found.exists() and found.parts[:1] == ("configs",):
    installed = pathlib.Path(configs.__file__).parent
    found = installed.joinpath(*found.parts[1:])
  if not found.is_file():
    raise errors.UserError(
      f"there is no config file {path}; give one of configs/*.py."
    )
  return f"--config={found}" + (f":{size}" if size else "")


def _translated(values: flags.FlagValues, argv: list[str]) -> list[str]:
  """Parses the flags; the parser's complaints become one sentence."""
  try:
    with warnings.catch_warnings():
      # ml_collections loads files by a deprecated call.
      warnings.simplefilter("ignore", DeprecationWarning)
      return values(argv)
  except flags.UnrecognizedFlagError as error:
    raise errors.UserError(
      f"--{error.flagname} is not a flag of `s02 train`."
    ) from error
  except (flags.Error, TypeError, ValueError) as error:
    raise errors.UserError(f"{' '.join(str(error).split())}.") from error


def _check_fields(argv: list[str]) -> None:
  """Raises UserError where --config.a.b names a field that is not there."""
  files = [word for word in argv if word.startswith("--config=")]
  names = [
    word.partition("=")[0].removeprefix("--config.")
    for word in argv
    if word.startswith("--config.")
  ]
  if not files or not names:
    return
  path, _, size = files[-1].removeprefix("--config=").partition(":")
  config = runpy.run_path(path)["get_config"](*([size] if size else []))
  for name in names:
    at, done = config, "config"
    for part in name.split("."):
      if not isinstance(at, ConfigDict) or part not in at:
        fields = sorted(at) if isinstance(at, ConfigDict) else []
        raise errors.UserError(
          f"config.{name} is not a field; {done} has "
          f"{', '.join(fields) or 'none'}."
        )
      at, done = at[part], f"{done}.{part}"


def _in_cluster() -> bool:
  """Whether the environment says that this is one of several processes."""
  env = os.environ
  return (
    "JAX_COORDINATOR_ADDRESS" in env
    or int(env.get("SLURM_NTASKS", "1")) > 1
    or "," in env.get("TPU_WORKER_HOSTNAMES", "")
    or "MEGASCALE_COORDINATOR_ADDRESS" in env
  )


def set_up(arguments: Arguments) -> None:
  """Logging, processes and the compilation cache; before any array."""
  logging.basicConfig(
    level=logging.INFO, format="%(asctime)s %(message)s", force=True
  )
  for noisy in ("jax", "orbax", "grain", "tensorboardX"):
    logging.getLogger(noisy).setLevel(logging.WARNING)
  # Orbax logs an error, traces and all, in each of its threads, then raises it.
  logging.getLogger("absl").setLevel(logging.CRITICAL)
  if arguments.coordinator is not None:
    jax.distributed.initialize(
      arguments.coordinator, arguments.num_processes, arguments.process_id
    )
  elif _in_cluster():
    jax.distributed.initialize()
  use_compilation_cache()


def use_compilation_cache() -> None:
  """Keeps compiled programs in $S02_CACHE, or ~/.cache/s02jax/xla."""
  default = pathlib.Path.home() / ".cache" / "s02jax" / "xla"
  folder = os.environ.get("S02_CACHE", str(default))
  jax.config.update("jax_compilation_cache_dir", folder)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
  jax.monitoring.register_event_listener(_CacheCounter.listen)
  logging.info("compilation cache: %s", folder)


def main(argv: list[str]) -> int:
  """`s02 train`."""
  if set(argv) & {"-h", "--help"}:
    print(__doc__)
    return 0
  arguments = parse(argv)
  set_up(arguments)
  try:
    return train(arguments.config, arguments.workdir)
  except OSError as error:
    if error.errno in _DISK_ERRORS:
      raise _disk_error(arguments.workdir, os.strerror(error.errno)) from error
    raise
  except Exception as error:  # tensorstore has no class for a full disk
    if os.strerror(errno.ENOSPC) in str(error):
      raise _disk_error(arguments.workdir, "the disk is full") from error
    raise


_DISK_ERRORS = (
  errno.ENOSPC,
  errno.EDQUOT,
  errno.EACCES,
  errno.EPERM,
  errno.EROFS,
  errno.ENOTDIR,
  errno.EEXIST,
)


def _disk_error(workdir: str | os.PathLike, reason: str) -> errors.UserError:
  return errors.UserError(
    f"cannot write to --workdir {workdir}: {reason}; a checkpoint saved "
    "before is whole, and the same command goes on from it."
  )


if __name__ == "__main__":
  sys.exit(cli.run(main))
