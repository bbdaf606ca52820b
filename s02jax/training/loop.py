"""Training loop, the same for every stage; `_run` reads from top to bottom.

The working directory gets config.json (resolved), checkpoints/, metrics.jsonl,
tensorboard/ and goodput.json (how the time of all starts was spent); where
there is something to report, also skipped.jsonl (rows of steps that were not
finite), unreadable.jsonl (rows that were replaced) and benchmark/ (results of
`training/benchmark.py`). A resumed run repeats the losses of a run that was
never stopped, bit for bit on the same devices. A finished run reads its last
checkpoint once more, and takes the last steps again if that is damaged.
"""

import logging
import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from s02jax import sharding, stages
from s02jax.core import files, places
from s02jax.core.config import plain
from s02jax.core.errors import STOPPED
from s02jax.core.trees import count_parameters
from s02jax.stages.train_state import skipped_steps
from s02jax.training import hosts, metrics, programs
from s02jax.training.benchmark import BackgroundBenchmark
from s02jax.training.checkpoint import Checkpoints
from s02jax.training.clock import Clock, Goodput, Profile
from s02jax.training.feed import Feed
from s02jax.training.log import Log, is_due
from s02jax.training.objects.journal import Journal
from s02jax.training.programs import CompiledByShape, StepFlops
from s02jax.training.same_run import (
  PATIENCE,
  check_same_run,
  only_writer,
  run_facts,
)

PyTree = Any


def train(
  config: ConfigDict,
  workdir: str | os.PathLike,
  devices: Sequence[jax.Device] | None = None,
  clock: Clock | None = None,
) -> int:
  """Trains a stage: takes the steps that the working directory lacks.

  Args:
    config: unresolved config, as `configs/<stage>.py` makes it.
    workdir: folder of the run, or its URL; made where it is missing.
    devices: devices to train on; all of them where absent.
    clock: clock of this start; begins now where absent.

  Returns:
    The exit code: 0, or 143 after a SIGTERM.

  Raises:
    UserError: wrong config, unreadable corpus, unwritable folder.
  """
  workdir = places.absolute(workdir)
  clock = clock or Clock()
  config = stages.resolve(config)
  hosts.agree(run_facts(config, workdir))
  with only_writer(workdir):
    # Process 0 may wait for the lock; the others' collectives would not.
    hosts.meet("only_writer", PATIENCE)
    with (
      Journal(workdir) as journal,
      Checkpoints(workdir, config.keep) as checkpoints,
      hosts.StopSignal() as stop,
    ):
      if checkpoints.steps():
        check_same_run(workdir, config)
      return _run(config, journal, checkpoints, devices, stop, clock)


def _run(
  config: ConfigDict,
  journal: Journal,
  checkpoints: Checkpoints,
  devices: Sequence[jax.Device] | None,
  stop: hosts.StopSignal,
  clock: Clock,
) -> int:
  """Training from the mesh to the last checkpoint; returns the exit code."""
  main_process = jax.process_index() == 0
  workdir, logs = checkpoints.workdir, journal.folder

  # ------------------------------------------------------------------ mesh
  mesh = sharding.make_mesh(config.mesh, devices)
  logging.info("mesh: %s on %s", dict(mesh.shape), jax.devices()[0].device_kind)

  # ----------------------------------------------------------------- state
  stage = stages.make(config)
  frozen = programs.frozen_parameters(stage, mesh)
  abstract = programs.abstract_state(stage, mesh, frozen)
  logging.info("state: %s values", f"{count_parameters(abstract):,}")
  if kept := count_parameters(frozen):
    logging.info("frozen: %s parameters", f"{kept:,}")

  # --------------------------------------------------------------- restore
  with clock.during("restore"):
    restored = checkpoints.restore(abstract)
  if restored is not None and restored[0] >= config.steps:
    logging.info("%s has taken all of its %d steps", workdir, config.steps)
    return 0

  # ------------------------------------------------------------------ data
  logging.info("data: %s", config.corpus)
  feed = Feed(config, stage, mesh, logs)

  # ----------------------------------------------------------------- begin
  if restored is None:
    start = 0
    with jax.set_mesh(mesh), clock.during("compile"):
      init = programs.init_program(stage, abstract, frozen)
      state = programs.begun(stage, init(jax.random.key(config.seed)))
  else:
    start, state = restored
    logging.info("restored step %d of %s", start, workdir)
  goodput = Goodput(
    logs, clock, start, checkpoints.goodput(start) if start else None
  )
  if main_process:
    files.write_json(logs / "config.json", plain(config))

  # ------------------------------------------------------------------ step
  train_step = CompiledByShape(
    programs.train_program(stage, mesh, abstract, frozen),
    "train step",
    clock,
    frozen,
  )
  eval_step = CompiledByShape(
    programs.eval_program(stage, mesh, abstract, frozen),
    "eval step",
    clock,
    frozen,
  )
  flops = StepFlops(stage)

  # ------------------------------------------------------------------- log
  writer = metrics.MetricsWriter(logs, start, config.steps, main_process)
  log = Log(config, feed, writer, goodput, clock, int(skipped_steps(state)))

  # ------------------------------------------------------------- benchmark
  benchmark = BackgroundBenchmark(config, stage, logs, writer.write, clock)

  # -------------------------------------------------------------- evaluate
  def evaluate(step: int, state: PyTree) -> None:
    """Writes the mean metrics over the evaluation batches of every split."""
    values = {}
    for split in feed.eval_splits:
      seen = []
      for batch, _ in feed.evaluation(split):
        seen.append(jax.device_get(eval_step(state, batch)))
      for name in seen[0]:
        values[f"{split}/{name}"] = np.mean([m[name] for m in seen])
    if values:
      writer.write(step, values)

  # ------------------------------------------------------------------ save
  def save(step: int, state: PyTree) -> None:
    """Begins to write a checkpoint; the loop goes on meanwhile."""
    with clock.during("checkpoint"):
      journal.send()
      checkpoints.save(step, state, plain(config), goodput.read(step))

  # ------------------------------------------------------------------ loop
  logging.info("training: steps %d to %d", start + 1, config.steps)
  profile = Profile(config.profile, logs / "profile")
  last_saved, step = start, start
  alarm = hosts.Alarm(60 * config.checkpoint_minutes, config.log_every)
  batches = feed.training(start)
  clock.enter("step")
  with (
    writer,
    benchmark,
    profile,
    jax.set_mesh(mesh),
    hosts.limited(clock, config.stuck_seconds),
  ):
    hosts.heed_maintenance()
    log.begin(start)
    while step < config.steps and not stop.requested(step):
      profile.before(step)
      with clock.during("data"):
        batch, host = next(batches)
      if train_step.is_new(batch):
        train_step.compile(state, batch)
      with (
        jax.transfer_guard("disallow"),
        jax.profiler.StepTraceAnnotation("train", step_num=step),
      ):
        state, values = train_step(state, batch)
      step += 1

      # The device is busy with this step while the host reads the last one.
      log.add(step, values, feed.counts(host, flops(batch, step - 1)))
      evaluation_due = is_due(step, config.eval_every, config.steps)
      save_due = is_due(step, config.checkpoint_every, config.steps)
      save_due |= alarm.due(step)
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
          alarm.reset()
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
