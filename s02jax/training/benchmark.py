"""Background benchmark: `s02 evaluate` of a run while it trains on.

  s02 train … --config.benchmark.every=5000 --config.benchmark.bundle=DIR \\
    --config.benchmark.arguments="--benchmark minimax24 --data SET"

Every so many steps the averaged parameters replace those of their stage in a
bundle that lends the other models, and a process of its own, with low priority
and on the CPU, scores it. Its figures come later, as `benchmark/…` of the step
that they belong to. Training neither waits for a benchmark nor stops when one
fails, which is a warning; only the last one is waited for. One that takes
longer than `benchmark.timeout` is stopped.

WORKDIR/benchmark/STEP gets the output of `s02 evaluate`, and its log.
"""

import contextlib
import dataclasses
import itertools
import json
import logging
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from s02jax import stages
from s02jax.bundle import Bundle
from s02jax.core import places
from s02jax.core.config import plain
from s02jax.core.errors import UserError
from s02jax.core.trees import count_parameters
from s02jax.training.clock import Clock

PyTree = Any
Write = Callable[[int, Mapping[str, float]], None]  # step, metrics

FOLDER = "benchmark"
# Stages that can be benchmarked: no other model was trained on their output.
STAGES = ("ar", "flow_matching")
COMMAND = (sys.executable, "-m", "s02jax", "evaluate")
_NICENESS = 10
PAUSE = 0.5  # seconds between two looks at a process that is waited for
_TAIL = 2000  # characters of a failed process's log that are repeated


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Running:
  """Evaluation process under way, of the parameters after `step`."""

  step: int
  folder: pathlib.Path
  process: subprocess.Popen
  began: float = dataclasses.field(default_factory=time.monotonic)


# ---------------------------------------------------------------- processes


class BackgroundBenchmark:
  """Starts evaluations of the run, at most one at a time, and logs figures.

  All processes of a job make the same calls; process 0 writes and starts.
  """

  def __init__(
    self,
    config: ConfigDict,
    stage: stages.Stage,
    workdir: pathlib.Path,
    write: Write,
    clock: Clock,
  ):
    """Checks the bundle that lends its models, where there will be benchmarks.

    Args:
      config: resolved config; its plain values go into the bundle.
      stage: stage that is trained.
      workdir: folder of the run.
      write: writer of figures and the step they belong to.
      clock: clock of the loop.

    Raises:
      UserError: no such bundle, or the stage does not fit into it.
    """
    self._config = config
    self._stage = stage
    self._folder = workdir / FOLDER
    self._write = write
    self._clock = clock
    self._running: _Running | None = None
    self._main = jax.process_index() == 0
    if config.benchmark.every and self._main:
      check_config(config)

  def due(self, step: int) -> bool:
    """Whether a benchmark begins after this step; `finish` begins the last."""
    every = self._config.benchmark.every
    return every > 0 and step % every == 0 and step < self._config.steps

  def start(self, step: int, state: PyTree) -> None:
    """Begins a benchmark; a warning instead where the last one still runs."""
    if not self._busy():
      self.poll()
      self._begin(step, state)
    elif self._running:
      logging.warning(
        "benchmark: that of step %d still runs, so step %d has none",
        self._running.step,
        step,
      )

  def _begin(self, step: int, state: PyTree) -> None:
    """Collects the parameters on process 0, and starts the evaluation there."""
    with self._clock.during("evaluate"):
      params = _on_main(self._stage.inference_params(state))
      if self._main:
        self._start(step, params)

  def _start(self, step: int, params: PyTree) -> None:
    """Writes the bundle and starts its evaluation; warns where it cannot."""
    folder = self._folder / str(step)
    try:
      shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
      folder.mkdir(parents=True)
      lent_bundle(self._config, step, params).write(folder / "bundle")
      process = self._open(folder)
    except (OSError, UserError) as error:
      logging.warning("benchmark of step %d: did not begin: %s", step, error)
      shutil.rmtree(folder / "bundle", ignore_errors=True)
      return
    self._running = _Running(step=step, folder=folder, process=process)
    logging.info("benchmark of step %d: begun, see %s/log", step, folder)

  def _open(self, folder: pathlib.Path) -> subprocess.Popen:
    """Process that evaluates the bundle in `folder`, with low priority."""
    arguments = shlex.split(self._config.benchmark.arguments)
    with (folder / "log").open("wb") as log:
      process = subprocess.Popen(
        [
          *COMMAND,
          f"--bundle={folder / 'bundle'}",
          f"--out={folder}",
          *arguments,
        ],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
      )
    with contextlib.suppress(OSError):  # the process may have ended
      os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
    return process

  def poll(self) -> None:
    """Writes the figures of an evaluation that has ended; never waits."""
    if self._running is None or self._running.process.poll() is None:
      return
    run, self._running = self._running, None
    _close(run)
    code = run.process.returncode
    if code:
      logging.warning(
        "benchmark of step %d: ended with exit code %d:\n%s",
        run.step,
        code,
        _tail(run.folder / "log"),
      )
      return
    try:
      values = read_scores(run.folder / "scores.json")
    except UserError as error:
      logging.warning("benchmark of step %d: %s", run.step, error)
      return
    self._write(run.step, values)

  def finish(
    self, step: int, state: PyTree, stopped: Callable[[int], bool]
  ) -> None:
    """Waits for the running evaluation, then for one of the last step.

    Args:
      step: last step of the run.
      state: state after that step.
      stopped: whether to wait no longer; called with 1, 2, 3, …
    """
    if not self._config.benchmark.every:
      return
    tries = itertools.count(1)
    if self._wait(stopped, tries):
      self._begin(step, state)
      self._wait(stopped, tries)

  def _wait(self, stopped: Callable[[int], bool], tries: Iterator[int]) -> bool:
    """Waits for the running evaluation; False where `stopped` ended that."""
    if self._running:
      logging.info("benchmark of step %d: waiting", self._running.step)
    while self._busy():
      if stopped(next(tries)):
        return False
      # A new phase each time, so that no step seems to be stuck.
      with self._clock.during("evaluate"):
        time.sleep(PAUSE)
    self.poll()
    return True

  def _busy(self) -> bool:
    """Whether an evaluation runs, on all processes alike; ends a stuck one."""
    run, limit = self._running, self._config.benchmark.timeout
    mine = run is not None and run.process.poll() is None
    if run is not None and mine and time.monotonic() - run.began > limit:
      logging.warning("benchmark of step %d: over %g s", run.step, limit)
      self._end()
      mine = False
    if not self._config.benchmark.every or jax.process_count() == 1:
      return mine
    return bool(multihost_utils.broadcast_one_to_all(np.array(mine)))

  def _end(self) -> None:
    """Stops the running evaluation, if any."""
    if self._running is None:
      return
    run, self._running = self._running, None
    run.process.terminate()
    try:
      run.process.wait(10)
    except subprocess.TimeoutExpired:
      run.process.kill()
      run.process.wait()
    _close(run)
    logging.warning("benchmark of step %d: stopped unfinished", run.step)

  def __enter__(self) -> "BackgroundBenchmark":
    return self

  def __exit__(self, kind: Any, *_: Any) -> None:
    """Stops what still runs; after an exception without a last look."""
    if kind is None:
      self.poll()
    self._end()


def _close(run: _Running) -> None:
  """Removes the bundle of an evaluation that has ended; its output stays."""
  shutil.rmtree(run.folder / "bundle", ignore_errors=True)


def _tail(path: pathlib.Path) -> str:
  """Last characters of a log."""
  try:
    return path.read_text("utf-8", "replace")[-_TAIL:].strip()
  except OSError as error:
    return str(error)


def _on_main(params: PyTree) -> PyTree:
  """Global arrays as numpy on process 0, leaf by leaf; empty on the others."""

  def whole(leaf: jax.Array) -> np.ndarray:
    if leaf.is_fully_addressable:
      return np.asarray(leaf)
    found = multihost_utils.process_allgather(leaf, tiled=True)
    return found if jax.process_index() == 0 else np.empty(0)

  return jax.tree.map(whole, params)


# -------------------------------------------------------------------- bundle


def check_config(config: ConfigDict) -> None:
  """Raises UserError unless the stage fits into config.benchmark's bundle."""
  if config.stage not in STAGES:
    raise UserError(
      f"config.benchmark: a run of {config.stage} has no benchmark, for the"
      " other models would have to be trained on it first; only"
      f" {' and '.join(STAGES)} have."
    )
  if not config.benchmark.bundle:
    raise UserError(
      "config.benchmark.bundle has no value; give the folder of `s02 bundle`"
      " that lends the other models."
    )
  try:
    arguments = shlex.split(config.benchmark.arguments)
  except ValueError as error:
    raise UserError(f"config.benchmark.arguments: {error}.") from error
  if not arguments:
    raise UserError(
      "config.benchmark.arguments has no value; give those of `s02 evaluate`,"
      ' such as "--benchmark minimax24 --data DIR".'
    )
  lender = Bundle.load(config.benchmark.bundle)
  for source, fingerprint in config.features.items():
    model = lender.card.get("models", {}).get(source, {})
    if model.get("fingerprint") != fingerprint:
      raise UserError(
        f"config.benchmark.bundle {config.benchmark.bundle} has another"
        f" {source} than the one whose features this run is trained on; give a"
        " bundle with that one."
      )
  text = places.at(config.corpus) / "text.model"
  if config.stage == "ar" and text.read_bytes() != lender.text_model:
    raise UserError(
      f"config.benchmark.bundle {config.benchmark.bundle} has another text"
      f" model than {text}; give a bundle of this corpus."
    )


def lent_bundle(config: ConfigDict, step: int, params: PyTree) -> Bundle:
  """Bundle of config.benchmark with this run's parameters in their place.

  Args:
    config: resolved config of the run.
    step: steps taken.
    params: inference variables of the stage, as numpy.
  """
  lender = Bundle.load(config.benchmark.bundle)
  models = dict(lender.card.get("models", {}))
  models[config.stage] = {
    "steps": step,
    "parameters": count_parameters(params),
  }
  return dataclasses.replace(
    lender,
    configs={**lender.configs, config.stage: plain(config)},
    params={**lender.params, config.stage: params},
    card={**lender.card, "models": models},
  )


# ------------------------------------------------------------------- figures


def read_scores(path: pathlib.Path) -> dict[str, float]:
  """Means in a scores.json, as `benchmark/official/utterance_mean` and so on.

  Raises:
    UserError: no such file, or something else in it.
  """
  try:
    scores = json.loads(path.read_text("utf-8"))
    found = dict(_numbers(scores["mean"], FOLDER))
    found[f"{FOLDER}/missing"] = float(
      sum(len(row["missing"]) for row in scores["rows"])
    )
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(
      f"{path}: not the scores of `s02 evaluate` ({error!r})."
    ) from error
  return found


def _numbers(tree: Mapping[str, Any], name: str) -> Iterator[tuple[str, float]]:
  """Numbers of nested mappings, by path below `name`."""
  for key, value in tree.items():
    if isinstance(value, Mapping):
      yield from _numbers(value, f"{name}/{key}")
    elif value is not None:
      yield f"{name}/{key}", float(value)
