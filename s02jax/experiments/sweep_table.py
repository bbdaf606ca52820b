"""Results of a sweep's runs: a table and a plot.

`results.jsonl` has one run a line, with its overrides and the last value of
every metric; `results.md` the same as a table, best first; `results.png` the
losses over steps.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from s02jax.core import files, markdown

# Metrics that may rank the runs: the smaller the better.
LOSSES = ("unseen/loss", "seen/loss", "loss")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResult:
  """Metrics of one run of a sweep."""

  run: str  # name of the run
  overrides: Mapping[str, Any]  # dotted field -> value
  state: str  # "finished", "begun" or "new"
  step: int  # step of the last line of the log
  metrics: Mapping[str, float | None]  # last value of each; None: not finite
  # metrics of LOSSES over time: (step, value)
  curves: Mapping[str, list[tuple[int, float]]]


def read(
  run: str,
  overrides: Mapping[str, Any],
  workdir: pathlib.Path,
  saved: int,
  steps: int,
) -> RunResult:
  """Reads the metrics that a run has written so far.

  Args:
    run: name of the run.
    overrides: dotted field -> value, what sets it apart.
    workdir: folder of the run; it may be missing.
    saved: step of the newest checkpoint.
    steps: steps of the whole run.
  """
  last, metrics = 0, {}
  curves: dict[str, list[tuple[int, float]]] = {}
  for line in _lines(workdir / "metrics.jsonl"):
    last = max(last, line["step"])
    for name, value in line.items():
      if name == "step":
        continue
      metrics[name] = value
      if name in LOSSES and value is not None:
        curves.setdefault(name, []).append((line["step"], value))
  state = "finished" if saved >= steps else "begun" if last else "new"
  return RunResult(
    run=run,
    overrides=overrides,
    state=state,
    step=last,
    metrics=metrics,
    curves=curves,
  )


def _lines(path: pathlib.Path) -> list[dict[str, Any]]:
  """Complete lines of a log that may still be written to."""
  text = path.read_text(encoding="utf-8") if path.exists() else ""
  return [json.loads(line) for line in text.split("\n")[:-1] if line]


def write_all(
  workdir: pathlib.Path,
  results: Sequence[RunResult],
  tell: Callable[[str], None],
) -> None:
  """Writes results.jsonl, results.md and results.png.

  Args:
    workdir: folder of the sweep.
    results: one for each run.
    tell: gets the table and the names of the files, for people.
  """
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
    for r in results
  ]
  text = table(results)
  files.write_text(
    workdir / "results.jsonl", "".join(f"{r}\n" for r in records)
  )
  files.write_text(workdir / "results.md", text)
  tell(text.rstrip("\n"))
  tell(str(workdir / "results.md"))
  if any(r.curves for r in results):
    tell(_plot(workdir / "results.png", results))


def table(results: Sequence[RunResult]) -> str:
  """Markdown table of the runs, best first."""
  fields = sorted({field for r in results for field in r.overrides})
  ranked_by = _ranked_by(results)
  split = ranked_by[0].removesuffix("loss")
  metrics = sorted(
    {
      m
      for r in results
      for m in r.metrics
      if m == "loss" or m.startswith(split)
    }
  )
  head = [*fields, "state", "step", *metrics]
  lines = []
  for r in sorted(results, key=lambda r: _rank(r, ranked_by)):
    values = [_cell(r.overrides.get(f)) for f in fields]
    values += [r.state, str(r.step)]
    values += [_cell(r.metrics.get(m)) for m in metrics]
    lines.append(values)
  return markdown.table(head, lines)


def _ranked_by(results: Sequence[RunResult]) -> list[str]:
  """Losses that rank the runs, the most telling first.

  A corpus without a speaker to spare has nothing unseen.
  """
  known = {name for r in results for name in r.metrics}
  first = "unseen/loss" if "unseen/loss" in known else "seen/loss"
  return [first, "loss"]


def _rank(result: RunResult, ranked_by: Sequence[str]) -> tuple[float, ...]:
  values = [result.metrics.get(name) for name in ranked_by]
  return tuple(math.inf if v is None else v for v in values)


def _cell(value: Any) -> str:
  if value is None:
    return ""
  return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plot(path: pathlib.Path, results: Sequence[RunResult]) -> str:
  """Draws the curves; returns the line for people."""
  try:
    from matplotlib import colormaps, figure
  except ImportError:
    return "No plot: matplotlib is missing; pip install 's02jax[eval]'."
  names = [
    n for n in _ranked_by(results) if any(n in r.curves for r in results)
  ]
  page = figure.Figure(figsize=(7 * len(names), 5), layout="constrained")
  panels = page.subplots(1, len(names), squeeze=False)[0]
  for axes, name in zip(panels, names, strict=True):
    for i, r in enumerate(results):
      if name in r.curves:
        steps, values = zip(*r.curves[name], strict=True)
        colour = colormaps["viridis"](i / max(1, len(results) - 1))
        mark = ".-" if len(steps) < 30 else "-"
        axes.plot(steps, values, mark, color=colour, label=_label(r))
    axes.set(title=name, xlabel="step")
    axes.grid(alpha=0.3)
  # A run may be in one panel only.
  lines = {line.get_label(): line for ax in panels for line in ax.get_lines()}
  page.legend(lines.values(), lines.keys(), loc="outside right upper")
  with files.atomic(path) as temporary:
    page.savefig(temporary, format="png", dpi=120)
  return str(path)


def _label(result: RunResult) -> str:
  return ", ".join(
    f"{field.split('.')[-1]} {_cell(value)}"
    for field, value in result.overrides.items()
  )
