"""Measurement of a bundle on held-out clips, for `s02 report`."""

import contextlib
import dataclasses
import logging
import time
from collections.abc import Generator, Mapping
from typing import Protocol

from s02jax.evaluation.figure import Figure
from s02jax.evaluation.report import diagnostics, judge, recipes, workers
from s02jax.evaluation.report.panel import (
  NoCases,
  Panel,
  Split,
  choose_panel,
  some_clips,
)
from s02jax.synthesis.request import Settings

SPLITS = ("unseen", "seen")
_CODEBOOK_CLIPS = 256  # clips whose codes are counted


class ReportMethods(
  recipes.RecipeMethods, diagnostics.DiagnosticMethods, Protocol
):
  """Methods of the synthesizer that the report calls."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitResult:
  """Panel, renditions and figures of one split."""

  panel: Panel
  renditions: dict[str, judge.Renditions]  # by row
  judgement: judge.Judgement
  diagnostics: dict[str, Figure]  # by measure


class Stopwatch:
  """Durations of the phases, logged as they pass."""

  def __init__(self):
    self.seconds: dict[str, float] = {}  # by phase

  @contextlib.contextmanager
  def phase(self, name: str) -> Generator[None]:
    """Times the block."""
    logging.info("%s …", name)
    began = time.perf_counter()
    yield
    self.seconds[name] = round(time.perf_counter() - began, 2)
    logging.info("%s: %.1f s", name, self.seconds[name])


# ------------------------------------------------------------------ measure


def measure(
  models: ReportMethods,
  splits: Mapping[str, Split],
  counts: Mapping[str, int],
  settings: Settings,
  processes: int,
  watch: Stopwatch,
) -> dict[str, SplitResult]:
  """Makes and judges every row of each split.

  A split without a case, such as `unseen` of a corpus of one speaker, is left
  out with a note.

  Args:
    models: of the bundle.
    splits: of the corpus, by name; `counts` names those that are judged.
    counts: number of cases of each judged split.
    settings: of synthesis.
    processes: number of workers for the judges.
    watch: times the phases.

  Raises:
    UserError: no split has a case, or a judge is not installed.
  """
  results = {}
  refusals: list[NoCases] = []
  with workers.pool(processes) as pool:
    for name, count in counts.items():
      try:
        results[name] = _measure_split(
          models, name, splits, count, settings, pool, watch
        )
      except NoCases as error:
        logging.info("%s is left out: %s", name, error)
        refusals.append(error)
  if not results:
    raise refusals[-1]
  return results


def _measure_split(
  models, name, splits, count, settings, pool, watch
) -> SplitResult:
  """Makes and judges every row of one split."""
  with watch.phase(f"{name}: choose cases"):
    panel = choose_panel(
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
    clips = some_clips(
      splits[name], _CODEBOOK_CLIPS, models.rate, settings.seed
    )
    found = diagnostics.diagnose(models, panel.cases, clips)
  return SplitResult(
    panel=panel, renditions=made, judgement=judgement, diagnostics=found
  )
