"""Rows of flow matching that a bundle's model solves, for its student.

Once for a corpus, before the training: the same command again does nothing.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import tqdm
from ml_collections import ConfigDict

from s02jax import sharding, stages
from s02jax.core.errors import UserError
from s02jax.data.rows import solved_utterances as solved
from s02jax.training import programs


def solve(
  config: ConfigDict, devices: Sequence[jax.Device] | None = None
) -> None:
  """Writes the solved rows of a run, unless these very ones are there.

  Args:
    config: unresolved config of the stage `distillation`.
    devices: devices to solve on; all of them where absent.

  Raises:
    UserError: a kind or stage that trains on no solved rows, a wrong bundle or
      corpus, a folder that cannot be written.
  """
  if config.stage != "distillation" or config.model.velocity != "line":
    raise UserError(
      "rows are solved for configs/distillation.py with"
      " config.model.velocity=line alone; train at once."
    )
  config = stages.resolve(config)
  stage: Any = stages.make(config)
  facts = stage.facts()
  card = solved.read_card(config.corpus)
  if card is not None and card["facts"] == facts:
    logging.info("%s already has these solved rows", config.corpus)
    return
  rows = stage.inner.rows(
    config.corpus, "train", config.batch_size, config.seed
  )
  count = config.distillation.batches * config.batch_size
  made = solved.solve_all(rows, count, _program(config, stage, devices))
  solved.write(config.corpus, facts, count, _shown(made, count))


def _program(config: ConfigDict, stage: Any, devices: Any) -> Any:
  """Function of a batch of numbered rows; the teacher's latents of them."""
  mesh = sharding.make_mesh(config.mesh, devices)
  frozen = programs.frozen_parameters(stage, mesh)
  placed = sharding.batch_sharding(mesh)

  @jax.jit
  def run(frozen, batch):
    bound = stage.bind(frozen)
    return bound.solve(bound.prepared(batch))

  def made(batch):
    with jax.set_mesh(mesh):
      return jax.device_get(run(frozen, jax.device_put(batch, placed)))

  return made


def _shown(rows: Any, count: int) -> Iterator[np.ndarray]:
  """Rows behind a progress bar, where a terminal is there."""
  yield from tqdm.tqdm(
    rows,
    total=count,
    desc="solved",
    unit="row",
    disable=not sys.stderr.isatty(),
  )
