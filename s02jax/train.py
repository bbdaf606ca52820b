"""`s02 train`: the one loop. It runs any stage and knows none.

  s02 train --config configs/ar.py:demo --config.corpus DIR --workdir DIR \\
    [--config.field=value ...]

The working directory gets config.json (resolved), checkpoints/, metrics.jsonl,
tensorboard/ and goodput.json (what the time went into, over all starts); and,
where there is something to say, skipped.jsonl (rows of steps that were not
finite), unreadable.jsonl (rows that were replaced) and benchmark/ (of
s02jax/background.py). The same command goes on where a stopped run was: its
losses are those of a run that never stopped, bit for bit on the same devices.
Where all steps are taken, it reads the last checkpoint once more, and takes
the last steps again if that is damaged.
Exit codes: 0 all steps taken, 2 wrong input, 69 another process of the job is
gone, 70 a step did not end, 143 stopped by SIGTERM after saving.

Several hosts: the cluster's own variables (SLURM, Cloud TPU, JAX_*) are
honoured, or give --coordinator HOST:PORT --num_processes N --process_id I.
"""

import contextlib
import errno
import json
import logging
import os
import pathlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from s02jax import (
  background,
  checkpoint,
  cli,
  errors,
  hosts,
  metrics,
  program,
  sharding,
  stages,
)
from s02jax import train_state as ts
from s02jax.arguments import Arguments, parse
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
  clock: metrics.Clock | None = None,
) -> int:
  """Takes the steps that are missing.

  Args:
    config: as `configs/<stage>.py` gives it; resolved here.
    workdir: made where it is missing.
    devices: to train on; all of them where absent.
    clock: of this start; begins now where absent.

  Returns:
    The exit code: 0, or 143 after a SIGTERM.

  Raises:
    UserError: wrong config, unreadable corpus, unwritable folder.
  """
  workdir = pathlib.Path(workdir).absolute()
  clock = clock or metrics.Clock()
  config = stages.resolve(config)
  hosts.agree(_facts(config, workdir))
  with (
    _only_writer(workdir),
    checkpoint.Checkpoints(workdir, config.keep) as checkpoints,
  ):
    if checkpoints.steps():
      _check_same_run(workdir, _plain(config))
    if _is_finished(config, checkpoints, devices, clock):
      logging.info("%s has taken all of its %d steps", workdir, config.steps)
      return 0
    with _StopSignal() as stop:
      return _run(config, workdir, checkpoints, devices, stop, clock)


def _is_finished(
  config: ConfigDict,
  checkpoints: checkpoint.Checkpoints,
  devices: Sequence[jax.Device] | None,
  clock: metrics.Clock,
) -> bool:
  """Whether the state after all steps is saved, and can be read.

  Raises what `Checkpoints.restore` does; a damaged one is set aside.
  """
  if max(checkpoints.steps(), default=0) < config.steps:
    return False
  mesh = sharding.make_mesh(config.mesh, devices)
  abstract = program.abstract_state(stages.make(config), mesh)
  with clock.during("restore"):
    restored = checkpoints.restore(abstract)
  return restored is not None and restored[0] >= config.steps


def _run(
  config: ConfigDict,
  workdir: pathlib.Path,
  checkpoints: checkpoint.Checkpoints,
  devices: Sequence[jax.Device] | None,
  stop: "_StopSignal",
  clock: metrics.Clock,
) -> int:
  """The loop, from top to bottom."""
  main_process = jax.process_index() == 0

  # ------------------------------------------------------------------ mesh
  mesh = sharding.make_mesh(config.mesh, devices)
  logging.info("mesh: %s on %s", dict(mesh.shape), jax.devices()[0].device_kind)

  # ------------------------------------------------------------------ data
  logging.info("data: %s", config.corpus)
  stage = stages.make(config)
  feed = _Feed(config, stage, mesh, workdir)

  # ----------------------------------------------------------------- state
  abstract = program.abstract_state(stage, mesh)
  logging.info("state: %s values", f"{_count(abstract):,}")

  # --------------------------------------------------------------- restore
  with clock.during("restore"):
    restored = checkpoints.restore(abstract)
  if restored is None:
    start = 0
    with jax.set_mesh(mesh), clock.during("compile"):
      init = program.init_program(stage, abstract)
      state = init(jax.random.key(config.seed))
  else:
    start, state = restored
    logging.info("restored step %d of %s", start, workdir)
  goodput = metrics.Goodput(
    workdir, clock, start, checkpoints.goodput(start) if start else None
  )
  if main_process:
    metrics.write_json(workdir / "config.json", _plain(config))

  # ------------------------------------------------------------------ step
  step_program = _Programs(
    program.train_program(stage, mesh, abstract), "train step", clock
  )
  eval_program = _Programs(
    program.eval_program(stage, mesh, abstract), "eval step", clock
  )
  flops = _Flops(stage)

  # ------------------------------------------------------------------- log
  writer = metrics.Writer(workdir, start, config.steps, main_process)
  log = _Log(config, feed, writer, goodput, clock, int(ts.skipped_steps(state)))

  # ------------------------------------------------------------- benchmark
  benchmark = background.Benchmark(config, stage, workdir, writer.write, clock)

  # -------------------------------------------------------------- evaluate
  def evaluate(step: int, state: PyTree) -> None:
    """Writes the mean over the evaluation batches of every split."""
    values = {}
    for split in feed.eval_splits:
      seen = []
      for batch, _ in feed.evaluation(split):
        seen.append(jax.device_get(eval_program(state, batch)))
      for name in seen[0]:
        values[f"{split}/{name}"] = np.mean([m[name] for m in seen])
    if values:
      writer.write(step, values)

  # ------------------------------------------------------------------ save
  def save(step: int, state: PyTree) -> None:
    """Begins to write a checkpoint."""
    with clock.during("checkpoint"):
      checkpoints.save(step, state, _plain(config), goodput.read(step))

  # ------------------------------------------------------------------ loop
  logging.info("training: steps %d to %d", start + 1, config.steps)
  profile = _Profile(config, workdir / "profile")
  last_saved, step = start, start
  batches = feed.training(start)
  clock.enter("step")
  with (
    writer,
    benchmark,
    profile,
    jax.set_mesh(mesh),
    hosts.limited(clock, config.stuck_seconds),
  ):
    log.begin(start)
    while step < config.steps and not stop.requested(step):
      profile.before(step)
      with clock.during("data"):
        batch, host = next(batches)
      if step_program.is_new(batch):
        step_program.compile(state, batch)
      with (
        jax.transfer_guard("disallow"),
        jax.profiler.StepTraceAnnotation("train", step_num=step),
      ):
        state, values = step_program(state, batch)
      step += 1

      # The device is busy with this step while the host reads the last one.
      log.add(step, values, feed.counts(host, flops(batch, step - 1)))
      evaluation_due = _due(step, config.eval_every, config.steps)
      save_due = _due(step, config.checkpoint_every, config.steps)
      if _due(step, config.log_every, config.steps):
        benchmark.poll()
      if evaluation_due or save_due or benchmark.due(step):
        log.catch_up()
        if evaluation_due:
          with clock.during("evaluate"):
            evaluate(step, state)
        if save_due:
          save(step, state)
          last_saved = step
        if benchmark.due(step):
          benchmark.start(step, state)

    # ----------------------------------------------------------------- end
    log.catch_up()
    if step > last_saved:
      save(step, state)
    with clock.during("checkpoint"):
      checkpoints.close()  # waits, so that what is said next is true
    if step == config.steps:
      benchmark.finish(step, state, lambda n: stop.requested(step + n))
  log.end(step)
  if step < config.steps:
    logging.info("stopped by SIGTERM after saving step %d", step)
    return STOPPED
  logging.info("done: %d steps in %s", config.steps, workdir)
  return 0


# ------------------------------------------------------------------- pieces


class _Feed:
  """The rows of this process, as batches on the mesh.

  A batch comes with what the log counts and the device never sees.
  """

  def __init__(
    self,
    config: ConfigDict,
    stage: stages.Stage,
    mesh: jax.sharding.Mesh,
    workdir: pathlib.Path,
  ):
    """Raises UserError where rows and devices do not fit, or there are none."""
    self._config = config
    self._mine = sharding.local_rows(mesh, config.batch_size)
    ts.check_microbatches(config.accumulate, config.batch_size)
    self._sharding = sharding.batch_sharding(mesh)
    self.rows = self._rows(stage, "train")
    self._eval_rows = {
      split: self._rows(stage, split)
      for split in config.eval_splits
      if config.eval_batches > 0
    }
    self.eval_splits = tuple(self._eval_rows)
    self.unreadable = hosts.Total("unreadable")
    self._ledger = loader.Unreadable(
      workdir / "unreadable.jsonl", config.unreadable_share, self.unreadable.add
    )
    for reason, count in self.rows.excluded.items():
      if count:
        logging.info("data: %d records left out: %s", count, reason)

  def _rows(self, stage: stages.Stage, split: str) -> stages.Rows:
    config = self._config
    return stage.rows(config.corpus, split, config.batch_size, config.seed)

  def training(self, first: int) -> Iterator[tuple[stages.Batch, dict]]:
    """Batches of the steps from `first` on."""
    return self._batches(self.rows, "train", first, self._config.steps)

  def evaluation(self, split: str) -> Iterator[tuple[stages.Batch, dict]]:
    """The evaluation batches of a split."""
    rows = self._eval_rows[split]
    return self._batches(rows, split, 0, self._config.eval_batches)

  def _batches(
    self, rows: stages.Rows, split: str, first: int, last: int
  ) -> Iterator[tuple[stages.Batch, dict]]:
    threads = self._config.threads
    for batch in loader.make_loader(
      rows, first, last, self._mine, threads, split, self._ledger
    ):
      host = {name: batch.pop(name) for name in ("audio_seconds", "padding")}
      yield {name: self._place(x) for name, x in batch.items()}, host

  def _place(self, value: np.ndarray) -> jax.Array:
    return sharding.global_array(
      self._sharding, value, self._mine, self._config.batch_size
    )

  def counts(self, host: dict[str, np.ndarray], flops: float) -> metrics.Counts:
    """What a batch holds, on all processes if they are like this one."""
    rows = self._config.batch_size
    seconds = float(host["audio_seconds"].sum()) * rows / len(self._mine)
    return metrics.Counts(
      rows=rows,
      audio_seconds=seconds,
      padding=float(host["padding"].mean()),
      flops=flops,
    )


class _Log:
  """Reads the metrics of a step while the device takes the next."""

  def __init__(
    self,
    config: ConfigDict,
    feed: _Feed,
    writer: metrics.Writer,
    goodput: metrics.Goodput,
    clock: metrics.Clock,
    skipped: int,
  ):
    """`skipped`: steps so far that were not finite."""
    optimizer = build(ts.OptimizerConfig, config.optimizer, "config.optimizer")
    self._rate = ts.schedule(optimizer, config.steps)
    self._config = config
    self._rows = feed.rows
    self._unreadable = feed.unreadable
    self._writer = writer
    self._goodput = goodput
    self._meter = metrics.Meter(metrics.peak_flops(), clock)
    self._skipped = skipped
    self._pending: tuple[int, stages.Metrics, metrics.Counts] | None = None

  def begin(self, step: int) -> None:
    """Notes the start, so that it counts even if nothing follows."""
    self._writer.put("goodput.json", self._goodput.read(step))

  def add(
    self, step: int, values: stages.Metrics, counts: metrics.Counts
  ) -> None:
    """Takes the metrics of a step under way; reads those of the one before."""
    self.catch_up()
    self._pending = step, values, counts

  def catch_up(self) -> None:
    """Waits for the last step to end, and writes what it has to say."""
    if self._pending is None:
      return
    (step, values, counts), self._pending = self._pending, None
    read = {k: float(v) for k, v in jax.device_get(values).items()}
    self._meter.add(counts)
    self._writer.advance(step)
    if read["skipped"] > self._skipped:
      self._skipped = int(read["skipped"])
      self._writer.append("skipped.jsonl", step, self._whereabouts(step))
    if _due(step, self._config.log_every, self._config.steps):
      read["learning_rate"] = float(np.asarray(self._rate(step - 1)))
      read["unreadable"] = float(self._unreadable.add(0))
      self._writer.write(step, read | self._meter.read())
      self._writer.put("goodput.json", self._goodput.read(step))

  def _whereabouts(self, step: int) -> dict[str, Any]:
    """Rows and records of a step."""
    size = self._config.batch_size
    rows = range((step - 1) * size, step * size)
    records = [loader.records_of(self._rows, row) for row in rows]
    return {"rows": list(rows), "records": records}

  def end(self, step: int) -> None:
    """Says what the time of the run went into."""
    values = self._goodput.read(step)
    self._writer.put("goodput.json", values)
    shares = ", ".join(
      f"{phase} {share:.1%}"
      for phase, share in values["shares"].items()
      if share >= 0.0005
    )
    logging.info(
      "goodput: %.1f s in %d starts: %s",
      values["wall_seconds"],
      values["starts"],
      shares,
    )


class _Profile:
  """Traces the steps that config.profile names."""

  def __init__(self, config: ConfigDict, folder: pathlib.Path):
    self._first = config.profile.start
    self._last = config.profile.start + config.profile.steps
    self._folder = folder
    self._tracing = False

  def before(self, step: int) -> None:
    """Starts or ends the trace where `step` steps have been taken."""
    inside = self._first <= step < self._last
    if inside and not self._tracing:
      jax.profiler.start_trace(str(self._folder))
      self._tracing = True
    elif self._tracing and not inside:
      self._stop()

  def _stop(self) -> None:
    jax.profiler.stop_trace()
    self._tracing = False
    logging.info("profile: %s", self._folder)

  def __enter__(self) -> "_Profile":
    return self

  def __exit__(self, *_: Any) -> None:
    if self._tracing:
      self._stop()


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

  def __init__(self, jitted: Any, name: str, clock: metrics.Clock):
    self._jitted = jitted
    self._name = name
    self._clock = clock
    self._compiled = {}

  def is_new(self, batch: stages.Batch) -> bool:
    """Whether this shape has yet to be compiled."""
    return _shapes(batch) not in self._compiled

  def compile(self, state: PyTree, batch: stages.Batch) -> None:
    """Compiles for the shape of `batch`, or reads it from the cache."""
    began = time.perf_counter()
    hits = _CacheCounter.hits
    with self._clock.during("compile"):
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
  """FLOPs of a train step, asked of the stage once per shape and phase."""

  def __init__(self, stage: stages.Stage):
    self._stage = stage
    self._known = {}

  def __call__(self, batch: stages.Batch, step: int) -> float:
    shapes = _shapes(batch)
    key = shapes, sum(step >= start for start in self._stage.starts)
    if key not in self._known:
      abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch
      )
      self._known[key] = float(self._stage.flops(abstract, step))
    return self._known[key]


def _shapes(batch: stages.Batch) -> tuple:
  return tuple((name, x.shape) for name, x in sorted(batch.items()))


def _due(step: int, every: int, last: int) -> bool:
  return step == last or (every > 0 and step % every == 0)


def _count(tree: PyTree) -> int:
  return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))


def _plain(config: ConfigDict) -> dict[str, Any]:
  return json.loads(config.to_json_best_effort())


def _facts(config: ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """What must be the same on every process of a job."""
  folder = workdir / checkpoint.FOLDER
  steps = [int(p.name) for p in folder.glob("*") if p.name.isdigit()]
  return {
    "the code": hosts.fingerprint(),
    "the number of devices": jax.local_device_count(),
    "the newest checkpoint in --workdir": max(steps, default=None),
  } | {f"config.{name}": value for name, value in _flat(_plain(config)).items()}


@contextlib.contextmanager
def _only_writer(workdir: pathlib.Path) -> Iterator[None]:
  """Makes the folder; process 0 keeps other jobs out of it.

  Raises UserError where another job is in it, or it cannot be made.
  """
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    lock = checkpoint.lock(workdir) if jax.process_index() == 0 else None
  except OSError as error:
    raise _disk_error(workdir, str(error.strerror)) from error
  try:
    yield
  finally:
    if lock is not None:
      os.close(lock)


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
    hosts.connect(
      arguments.coordinator, arguments.num_processes, arguments.process_id
    )
  elif _in_cluster():
    hosts.connect(None, None, None)
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
  clock = metrics.Clock()
  arguments = parse(argv)
  set_up(arguments)
  with hosts.together():
    return _train(arguments, clock)


def _train(arguments: Arguments, clock: metrics.Clock) -> int:
  """`train`, with the complaints of a full or closed disk as one sentence."""
  try:
    return train(arguments.config, arguments.workdir, clock=clock)
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
