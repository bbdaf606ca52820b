"""What an ablation compares, and the table it ends in: ours and the paper's.

`configs/ablations/NAME.py` gives the values of `Ablation`.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any, Literal

from s02jax.core import files
from s02jax.core import markdown as md
from s02jax.evaluation.figure import Figure

PAPER = "MiniMax-Speech technical report"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
  """A measure of ours, and the paper's figures that stand beside it."""

  measure: str
  label: str
  better: Literal["higher", "lower"]
  percent: bool = False  # of a share, which the paper gives so
  paper: tuple[str, ...] = ()  # names of its figures


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """A line of the table."""

  label: str
  variant: str  # one of those trained, or `ground_truth`
  recipe: str = ""  # of `evaluation.rows`, where speech is made from text
  paper: Mapping[str, float] = dataclasses.field(default_factory=dict)

  @property
  def name(self) -> str:
    """Tells the lines of a table apart."""
    return f"{self.variant}.{self.recipe}" if self.recipe else self.variant


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ablation:
  """Variants of one config under one budget, and how they are compared."""

  config: str  # configs/STAGE.py:SIZE
  budget: Mapping[str, Any]  # dotted field -> value, the same for all
  variants: Mapping[str, Mapping[str, Any]]  # name -> field -> value
  cases: int  # clips of held-out speakers
  columns: tuple[Column, ...]
  rows: tuple[Row, ...]
  source: str  # the paper's table
  note: str  # what the reader of the table must know
  synthesis: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def to_json(
  ablation: Ablation,
  steps: Mapping[str, int],
  figures: Mapping[str, Mapping[str, Figure]],
) -> dict[str, Any]:
  """Every figure with its n, and the paper's of the same row.

  Args:
    ablation: whose table it is.
    steps: that each variant was trained.
    figures: row's name -> measure -> figure.
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
    "source": f"{PAPER}, {ablation.source}",
  }


def markdown(table: Mapping[str, Any]) -> str:
  """The table of `to_json`, with what keeps it from being misread."""
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
  text = md.table(head, lines, "l" + "r" * (len(head) - 1))
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
  return (
    f"Each variant of {table['config']} was trained for {steps} steps from one"
    f" seed. The columns `paper:` are of {table['source']}: models, data and"
    " judges of another scale, so that only the order of the rows may be held"
    " against ours. Behind each of ours (clips, or groups of clips of one"
    f" speaker): {told}."
  )


def _cell(value: float | None) -> str:
  return "–" if value is None else f"{value:.3f}"


def write(out: pathlib.Path, table: Mapping[str, Any]) -> None:
  """Writes OUT/table.md, then OUT/table.json, and prints the table."""
  text = markdown(table)
  files.write_text(out / "table.md", text)
  files.write_json(out / "table.json", table)
  print(text, end="", flush=True)
  print(out / "table.md")


def read(out: pathlib.Path) -> dict[str, Any] | None:
  """What `write` wrote; None where there is nothing whole."""
  try:
    return json.loads((out / "table.json").read_text(encoding="utf-8"))
  except (OSError, ValueError):
    return None
