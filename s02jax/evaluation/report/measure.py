"""Measures a bundle on held-out clips, for the page of `s02 report`."""

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Protocol

from s02jax.evaluation import figure as figure_lib
from s02jax.evaluation.report import diagnostics, judge, recipes, workers
from s02jax.evaluation.report import panel as selection

SPLITS = ("unseen", "seen")
_CODEBOOK_CLIPS = 256  # for the share of codes in use


class Models(recipes.Synthesis, diagnostics.Models, Protocol):
  """What the report needs of a synthesizer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
  """One split, measured."""

  panel: selection.Panel
  rows: dict[str, judge.Renditions]
  judgement: judge.Judgement
  diagnostics: dict[str, figure_lib.Figure]


class Stopwatch:
  """Seconds of each phase, told as they pass."""

  def __init__(self):
    self.seconds: dict[str, float] = {}

  @contextlib.contextmanager
  def phase(self, name: str) -> Iterator[None]:
    """Says what begins, and keeps how long it took."""
    logging.info("%s …", name)
    began = time.perf_counter()
    yield
    self.seconds[name] = round(time.perf_counter() - began, 2)
    logging.info("%s: %.1f s", name, self.seconds[name])


# ------------------------------------------------------------------ measure


def measure(
  models: Models,
  splits: Mapping[str, selection.Split],
  counts: Mapping[str, int],
  settings: recipes.Sampling,
  processes: int,
  watch: Stopwatch,
) -> dict[str, Result]:
  """Makes and judges every row of every split.

  Args:
    models: of the bundle.
    splits: of the corpus, by name; `counts` names those that are judged.
    counts: cases of each judged split.
    settings: of synthesis.
    processes: for the judges.
    watch: told of the phases.

  Raises:
    UserError: a split without cases, or a judge that is not installed.
  """
  with workers.pool(processes) as pool:
    return {
      name: _measure_split(models, name, splits, count, settings, pool, watch)
      for name, count in counts.items()
    }


def _measure_split(
  models, name, splits, count, settings, pool, watch
) -> Result:
  with watch.phase(f"{name}: choose cases"):
    panel = selection.choose_panel(
      splits[name],
      [split for other, split in splits.items() if other != name],
      count=count,
      rate=models.rate,
      seed=settings.seed,
    )
  made = {}
  for recipe in recipes.RECIPES:
    with watch.phase(f"{name}: {recipe.label.lower()}"):
      made[recipe.name] = recipes.make_renditions(
        recipe, models, panel.cases, settings
      )
  with watch.phase(f"{name}: judges"):
    judgement = judge.judge(panel, made, rate=models.rate, pool=pool)
  with watch.phase(f"{name}: the models on themselves"):
    clips = selection.some_waves(
      splits[name], _CODEBOOK_CLIPS, models.rate, settings.seed
    )
    found = diagnostics.diagnose(models, panel.cases, clips)
  return Result(panel=panel, rows=made, judgement=judgement, diagnostics=found)
