"""Table of an ablation: our figures with the paper's beside them.

`configs/ablations/NAME.py` gives the values of `Ablation`.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any, Literal

from s02jax.core import files, markdown
from s02jax.evaluation.figure import Figure

PAPER = "MiniMax-Speech technical report"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
  """Column of the table: a measure of ours, then figures of the paper."""

  measure: str  # name of the measure in a judgement
  label: str
  better: Literal["higher", "lower"]
  percent: bool = False  # a share that the table gives in percent
  paper: tuple[str, ...] = ()  # names of the paper's figures


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariantResult:
  """Line of the table: one variant, heard in one way."""

  label: str
  variant: str  # a trained variant, or `ground_truth`
  recipe: str = ""  # recipe of `report.recipes` that makes speech from text
  steps: int | None = (
    None  # of the solver; None: as the ablation's settings say
  )
  # the paper's figures of this line, by name
  paper: Mapping[str, float] = dataclasses.field(default_factory=dict)

  @property
  def name(self) -> str:
    """Name of the line, unique in its table."""
    parts = (self.variant, self.recipe, str(self.steps or ""))
    return ".".join(part for part in parts if part)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ablation:
  """Variants of one config under one budget, and how they are compared."""

  config: str  # configs/STAGE.py:SIZE
  budget: Mapping[str, Any]  # dotted field -> value, the same for all
  variants: Mapping[str, Mapping[str, Any]]  # name -> field -> value
  cases: int  # clips of held-out speakers to judge
  columns: tuple[Column, ...]
  rows: tuple[VariantResult, ...]  # lines of the table
  source: str  # name of the paper's table; "" where it has none
  note: str  # caution to the reader of the table
  # settings of speech made from text
  synthesis: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def to_json(
  ablation: Ablation,
  steps: Mapping[str, int],
  figures: Mapping[str, Mapping[str, Figure]],
) -> dict[str, Any]:
  """JSON form of the table: every figure with its n, the paper's beside it.

  Args:
    ablation: variants, columns and lines of the table.
    steps: variant -> training steps.
    figures: name of a line -> measure -> figure.
  """
  return {
    "columns": [dataclasses.asdict(column) for column in ablation.columns],
    "rows": [
      {
        "label": row.label,
        "variant": row.variant,
        "recipe": row.recipe,
        "ours": {
          column.measure: figures[row.name][column.measure].to_json()
          for column in ablation.columns
        },
        "paper": dict(row.paper),
      }
      for row in ablation.rows
    ],
    "config": ablation.config,
    "steps": dict(steps),
    "note": ablation.note,
    "source": ablation.source and f"{PAPER}, {ablation.source}",
  }


def to_markdown(table: Mapping[str, Any]) -> str:
  """Markdown form of what `to_json` gives, with a caution below."""
  head = [""]
  for column in table["columns"]:
    head += [column["label"] + (" ↑" if column["better"] == "higher" else " ↓")]
    head += [f"paper: {name}" for name in column["paper"]]
  lines = []
  for row in table["rows"]:
    cells = [row["label"]]
    for column in table["columns"]:
      ours = row["ours"][column["measure"]]["value"]
      if ours is not None and column["percent"]:
        ours *= 100
      cells.append(_cell(ours))
      cells += [_cell(row["paper"].get(name)) for name in column["paper"]]
    lines.append(cells)
  text = markdown.table(head, lines, "l" + "r" * (len(head) - 1))
  return f"{text}\n{table['note']} {_caution(table)}\n"


def _caution(table: Mapping[str, Any]) -> str:
  counts = {
    column["label"]: max(
      row["ours"][column["measure"]]["n"] for row in table["rows"]
    )
    for column in table["columns"]
  }
  told = ", ".join(f"{label} {n}" for label, n in counts.items())
  steps = " and ".join(str(n) for n in sorted({*table["steps"].values()}))
  paper = (
    f" The columns `paper:` are of {table['source']}: models, data and judges"
    " of another scale, so that only the order of the rows may be held against"
    " ours."
  )
  return (
    f"Each variant of {table['config']} was trained for {steps} steps from one"
    f" seed.{paper if table['source'] else ''} Behind each of ours (clips, or"
    f" groups of clips of one speaker): {told}."
  )


def _cell(value: float | None) -> str:
  return "–" if value is None else f"{value:.3f}"


def write(out: pathlib.Path, table: Mapping[str, Any]) -> str:
  """Writes OUT/table.md, then OUT/table.json; returns the Markdown."""
  text = to_markdown(table)
  files.write_text(out / "table.md", text)
  files.write_json(out / "table.json", table)
  return text


def read(out: pathlib.Path) -> dict[str, Any] | None:
  """Reads OUT/table.json; None where there is none or only a part."""
  try:
    return json.loads((out / "table.json").read_text(encoding="utf-8"))
  except (OSError, ValueError):
    return None
