"""The training loop, the same for every stage.

The working directory gets config.json (resolved), checkpoints/, metrics.jsonl,
tensorboard/ and goodput.json (how the time of all starts was spent); where
there is something to report, also skipped.jsonl (rows of steps that were not
finite), unreadable.jsonl (rows that were replaced) and benchmark/ (results of
`training/benchmark.py`). A resumed run repeats the losses of a run that was
never stopped, bit for bit on the same devices.
"""

import logging
import os
import pathlib
import signal
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from s02jax import sharding, stages
from s02jax.core import files
from s02jax.core.errors import STOPPED
from s02jax.stages import train_state as ts
from s02jax.training import benchmark as background
from s02jax.training import checkpoint, hosts, metrics, programs
from s02jax.training import clock as clock_lib
from s02jax.training.feed import Feed
from s02jax.training.log import Flops, Log, Profile, is_due
from s02jax.training.programs import Programs
from s02jax.training.same_run import (
  check_same_run,
  only_writer,
  plain,
  run_facts,
)

PyTree = Any


def train(
  config: ConfigDict,
  workdir: str | os.PathLike,
  devices: Sequence[jax.Device] | None = None,
  clock: clock_lib.Clock | None = None,
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
  clock = clock or clock_lib.Clock()
  config = stages.resolve(config)
  hosts.agree(run_facts(config, workdir))
  with (
    only_writer(workdir),
    checkpoint.Checkpoints(workdir, config.keep) as checkpoints,
  ):
    if checkpoints.steps():
      check_same_run(workdir, plain(config))
    if _is_finished(config, checkpoints, devices, clock):
      logging.info("%s has taken all of its %d steps", workdir, config.steps)
      return 0
    with _StopSignal() as stop:
      return _run(config, workdir, checkpoints, devices, stop, clock)


def _is_finished(
  config: ConfigDict,
  checkpoints: checkpoint.Checkpoints,
  devices: Sequence[jax.Device] | None,
  clock: clock_lib.Clock,
) -> bool:
  """Whether the state after all steps is saved, and can be read.

  Raises what `Checkpoints.restore` does; a damaged one is set aside.
  """
  if max(checkpoints.steps(), default=0) < config.steps:
    return False
  mesh = sharding.make_mesh(config.mesh, devices)
  abstract = programs.abstract_state(stages.make(config), mesh)
  with clock.during("restore"):
    restored = checkpoints.restore(abstract)
  return restored is not None and restored[0] >= config.steps


def _run(
  config: ConfigDict,
  workdir: pathlib.Path,
  checkpoints: checkpoint.Checkpoints,
  devices: Sequence[jax.Device] | None,
  stop: "_StopSignal",
  clock: clock_lib.Clock,
) -> int:
  """The loop, from top to bottom."""
  main_process = jax.process_index() == 0

  # ------------------------------------------------------------------ mesh
  mesh = sharding.make_mesh(config.mesh, devices)
  logging.info("mesh: %s on %s", dict(mesh.shape), jax.devices()[0].device_kind)

  # ------------------------------------------------------------------ data
  logging.info("data: %s", config.corpus)
  stage = stages.make(config)
  feed = Feed(config, stage, mesh, workdir)

  # ----------------------------------------------------------------- state
  abstract = programs.abstract_state(stage, mesh)
  logging.info("state: %s values", f"{_count(abstract):,}")

  # --------------------------------------------------------------- restore
  with clock.during("restore"):
    restored = checkpoints.restore(abstract)
  if restored is None:
    start = 0
    with jax.set_mesh(mesh), clock.during("compile"):
      init = programs.init_program(stage, abstract)
      state = init(jax.random.key(config.seed))
  else:
    start, state = restored
    logging.info("restored step %d of %s", start, workdir)
  goodput = clock_lib.Goodput(
    workdir, clock, start, checkpoints.goodput(start) if start else None
  )
  if main_process:
    files.write_json(workdir / "config.json", plain(config))

  # ------------------------------------------------------------------ step
  step_program = Programs(
    programs.train_program(stage, mesh, abstract), "train step", clock
  )
  eval_program = Programs(
    programs.eval_program(stage, mesh, abstract), "eval step", clock
  )
  flops = Flops(stage)

  # ------------------------------------------------------------------- log
  writer = metrics.Writer(workdir, start, config.steps, main_process)
  log = Log(config, feed, writer, goodput, clock, int(ts.skipped_steps(state)))

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
      checkpoints.save(step, state, plain(config), goodput.read(step))

  # ------------------------------------------------------------------ loop
  logging.info("training: steps %d to %d", start + 1, config.steps)
  profile = Profile(config, workdir / "profile")
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
      evaluation_due = is_due(step, config.eval_every, config.steps)
      save_due = is_due(step, config.checkpoint_every, config.steps)
      if is_due(step, config.log_every, config.steps):
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


def _count(tree: PyTree) -> int:
  return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))
