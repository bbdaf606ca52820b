"""What the runs of a sweep came to: a table and a plot.

`results.jsonl` has one run a line, with its overrides and the last value of
every metric; `results.md` the same as a table, best first; `results.png` the
losses over steps.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from s02jax.core import files, markdown

# What runs are ranked by, where they have it: the smaller the better.
RANKED_BY = ("unseen/loss", "loss")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """One run."""

  run: str
  overrides: Mapping[str, Any]
  state: str  # "finished", "begun" or "new"
  step: int  # of the last line of its log
  metrics: Mapping[str, float | None]  # the last of each; None: not finite
  curves: Mapping[str, list[tuple[int, float]]]  # of RANKED_BY, (step, value)


def row(
  run: str,
  overrides: Mapping[str, Any],
  workdir: pathlib.Path,
  saved: int,
  steps: int,
) -> Row:
  """Reads what a run has written so far.

  Args:
    run: its name.
    overrides: what sets it apart.
    workdir: of the run; it may be missing.
    saved: step of its newest checkpoint.
    steps: of the whole run.
  """
  last, metrics = 0, {}
  curves: dict[str, list[tuple[int, float]]] = {}
  for line in _lines(workdir / "metrics.jsonl"):
    last = max(last, line["step"])
    for name, value in line.items():
      if name == "step":
        continue
      metrics[name] = value
      if name in RANKED_BY and value is not None:
        curves.setdefault(name, []).append((line["step"], value))
  state = "finished" if saved >= steps else "begun" if last else "new"
  return Row(
    run=run,
    overrides=overrides,
    state=state,
    step=last,
    metrics=metrics,
    curves=curves,
  )


def _lines(path: pathlib.Path) -> list[dict[str, Any]]:
  """The whole lines of a log that may still be written to."""
  text = path.read_text(encoding="utf-8") if path.exists() else ""
  return [json.loads(line) for line in text.split("\n")[:-1] if line]


def write_all(workdir: pathlib.Path, rows: Sequence[Row]) -> None:
  """Writes results.jsonl, results.md and results.png, and tells of them."""
  records = [
    json.dumps(
      {
        "run": r.run,
        "overrides": dict(r.overrides),
        "state": r.state,
        "step": r.step,
        "metrics": dict(r.metrics),
      }
    )
    for r in rows
  ]
  text = table(rows)
  files.write_text(
    workdir / "results.jsonl", "".join(f"{r}\n" for r in records)
  )
  files.write_text(workdir / "results.md", text)
  print(text, end="")
  print(workdir / "results.md")
  if any(r.curves for r in rows):
    _plot(workdir / "results.png", rows)


def table(rows: Sequence[Row]) -> str:
  """Markdown: a line per run, best first."""
  fields = sorted({field for r in rows for field in r.overrides})
  metrics = sorted({m for r in rows for m in r.metrics if _compared(m)})
  head = [*fields, "state", "step", *metrics]
  lines = []
  for r in sorted(rows, key=_rank):
    values = [_cell(r.overrides.get(f)) for f in fields]
    values += [r.state, str(r.step)]
    values += [_cell(r.metrics.get(m)) for m in metrics]
    lines.append(values)
  return markdown.table(head, lines)


def _compared(metric: str) -> bool:
  return metric == "loss" or metric.startswith("unseen/")


def _rank(row: Row) -> tuple[float, ...]:
  values = [row.metrics.get(name) for name in RANKED_BY]
  return tuple(math.inf if v is None else v for v in values)


def _cell(value: Any) -> str:
  if value is None:
    return ""
  return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plot(path: pathlib.Path, rows: Sequence[Row]) -> None:
  try:
    from matplotlib import colormaps, figure
  except ImportError:
    print("No plot: matplotlib is missing; pip install 's02jax[eval]'.")
    return
  names = [n for n in RANKED_BY if any(n in r.curves for r in rows)]
  page = figure.Figure(figsize=(7 * len(names), 5), layout="constrained")
  panels = page.subplots(1, len(names), squeeze=False)[0]
  for axes, name in zip(panels, names, strict=True):
    for i, r in enumerate(rows):
      if name in r.curves:
        steps, values = zip(*r.curves[name], strict=True)
        colour = colormaps["viridis"](i / max(1, len(rows) - 1))
        mark = ".-" if len(steps) < 30 else "-"
        axes.plot(steps, values, mark, color=colour, label=_label(r))
    axes.set(title=name, xlabel="step")
    axes.grid(alpha=0.3)
  # A run may be in one panel only.
  lines = {line.get_label(): line for ax in panels for line in ax.get_lines()}
  page.legend(lines.values(), lines.keys(), loc="outside right upper")
  with files.atomic(path) as temporary:
    page.savefig(temporary, format="png", dpi=120)
  print(path)


def _label(row: Row) -> str:
  parts = [f"{k.split('.')[-1]} {_cell(v)}" for k, v in row.overrides.items()]
  return ", ".join(parts)
