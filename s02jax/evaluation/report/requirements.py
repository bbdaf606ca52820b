"""Requirements on each size of the models, on unseen speakers and texts."""

import dataclasses
from collections.abc import Mapping

from s02jax.evaluation.figure import Figure
from s02jax.evaluation.report.measures import GROUND_TRUTH, left_out

SIZES = ("demo", "mini")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Requirement:
  """Bound on one figure."""

  name: str  # on the page and in metrics.json
  row: str  # of the table, or "diagnostics"
  measure: str
  demo: float | None  # bound of size demo; None: measured, not required
  mini: float | None  # bound of size mini
  at_most: bool = False  # upper bound, not lower
  of_ground_truth: bool = False  # the figure is divided by the ground truth's


def _spoken(name: str, measure: str, demo, mini, **how) -> list[Requirement]:
  """Equal requirements on zero-shot and one-shot speech."""
  return [
    Requirement(
      name=f"{row.replace('_', '-')}: {name}",
      row=row,
      measure=measure,
      demo=demo,
      mini=mini,
      **how,
    )
    for row in ("zero_shot", "one_shot")
  ]


REQUIREMENTS: tuple[Requirement, ...] = (
  Requirement(
    name="audio tokenizer: CTC character error rate",
    row="diagnostics",
    measure="ctc_cer",
    demo=0.12,
    mini=0.06,
    at_most=True,
  ),
  Requirement(
    name="audio tokenizer: codes in use",
    row="diagnostics",
    measure="codes_in_use",
    demo=0.80,
    mini=0.90,
  ),
  Requirement(
    name="Flow-VAE resynthesis: STOI",
    row="resynthesis",
    measure="stoi",
    demo=0.80,
    mini=0.87,
  ),
  Requirement(
    name="Flow-VAE resynthesis: WB-PESQ",
    row="resynthesis",
    measure="pesq",
    demo=1.2,
    mini=1.6,
  ),
  Requirement(
    name="AR: cost of a wrong reference, nats",
    row="diagnostics",
    measure="ar_wrong_reference",
    # Little: the decoder is told the voice, so that the codes say less of it.
    demo=0.1,
    mini=0.1,
  ),
  Requirement(
    name="AR: cost of a wrong text, nats",
    row="diagnostics",
    measure="ar_wrong_text",
    demo=1.5,
    mini=2.0,
  ),
  *_spoken("samples that end by themselves", "ended", 0.95, 0.99),
  *_spoken(
    "DTW top-1 of 10, share of the ground truth's",
    "dtw_top1",
    0.70,
    0.90,
    of_ground_truth=True,
  ),
  *_spoken("nearest of 16 speakers by GE2E", "nearest_speaker", 0.25, 0.60),
  *_spoken(
    "English sentence choice, share of the ground truth's",
    "sentence_choice",
    None,
    0.80,
    of_ground_truth=True,
  ),
)


def share_of(figure: Figure, truth: Figure) -> float | None:
  """Figure as a share of the ground truth's; None where that is zero."""
  if figure.value is None or not truth.value:
    return None
  return figure.value / truth.value


def compare(
  size: str,
  table: Mapping[str, Mapping[str, Figure]],
  diagnostics: Mapping[str, Figure],
  wall_seconds: float | None,
) -> list[dict]:
  """Compares the figures with the requirements of a size, ready for JSON.

  Args:
    size: "demo" or "mini".
    table: figures by row and measure, of the unseen split.
    diagnostics: figures by measure, of the unseen split.
    wall_seconds: from a fresh clone to the page, where it is known.

  Returns:
    dicts of name, comparison, required, measured, n, of_ground_truth and met;
    met is None where nothing is required, or the table lacks the measure or a
    judge that hears the ground truth, and false where nothing could be
    measured.
  """
  result = []
  without = left_out(table[GROUND_TRUTH])
  for one in REQUIREMENTS:
    figures = diagnostics if one.row == "diagnostics" else table[one.row]
    required = one.demo if size == "demo" else one.mini
    if one.row != "diagnostics" and one.measure in without:
      result.append(_line(one, required, None, 0) | {"met": None})
      continue
    figure = figures[one.measure]
    measured = figure.value
    if one.of_ground_truth:
      measured = share_of(figure, table[GROUND_TRUTH][one.measure])
    result.append(_line(one, required, measured, figure.n))
  if size == "demo" and wall_seconds is not None:
    result.append(_line(_WALL, _WALL.demo, wall_seconds / 60, 1))
  return result


_WALL = Requirement(
  name="wall time of all phases, minutes",
  row="",
  measure="",
  demo=25.0,
  mini=None,
  at_most=True,
)


def _line(one: Requirement, required, measured, n) -> dict:
  """One requirement of metrics.json."""
  met = None
  if required is not None:
    met = measured is not None and (
      measured <= required if one.at_most else measured >= required
    )
  return {
    "name": one.name,
    "comparison": "<=" if one.at_most else ">=",
    "required": required,
    "measured": measured,
    "n": n,
    "of_ground_truth": one.of_ground_truth,
    "met": met,
  }
