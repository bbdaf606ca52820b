"""Writes the results of `s02 report`: metrics.json and the page's parts."""

import dataclasses
import json
import logging
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.evaluation import media
from s02jax.evaluation.report import measures, page, recipes, requirements
from s02jax.evaluation.report import panel as selection
from s02jax.evaluation.report.measure import Result, Stopwatch
from s02jax.pretrained import signal

FORMAT_VERSION = 1
_EXAMPLES = {"unseen": 8, "seen": 4}
_PAGE_BYTES = 11_000_000  # that players and pictures may take


def examples(
  results: Mapping[str, Result], rate: int, budget: int = _PAGE_BYTES
) -> list[page.Example]:
  """Players of some cases, voices and languages in turn, within the budget."""
  chosen: list[page.Example] = []
  for split, result in results.items():
    for index in _varied(result.panel.cases)[: _EXAMPLES[split]]:
      example = _example(split, result, index, rate)
      budget -= sum(len(c.sound) + len(c.picture) for c in example.clips)
      if budget < 0:
        logging.info("the page has room for %d examples", len(chosen))
        return chosen
      chosen.append(example)
  return chosen


def _varied(cases: Sequence[selection.Case]) -> list[int]:
  """Cases in an order that goes round the languages and the speakers."""
  turns: dict[int, tuple[int, int]] = {}
  speakers: dict[str, int] = {}
  languages: dict[tuple[str, int], int] = {}
  for i, case in enumerate(cases):
    turn = speakers[case.speaker] = speakers.get(case.speaker, -1) + 1
    key = (case.language, turn)
    languages[key] = languages.get(key, -1) + 1
    turns[i] = (turn, languages[key])
  return sorted(turns, key=lambda i: (turns[i], i))


def _example(split, result, index, rate) -> page.Example:
  case = result.panel.cases[index]
  clips = [
    _clip("Reference", "Another clip of the speaker.", case.reference, rate)
  ]
  for recipe in recipes.RECIPES:
    wave = result.rows[recipe.name].waves[index]
    clips.append(_clip(recipe.label, recipe.explanation, wave, rate))
  return page.Example(
    split=split,
    text=case.text,
    language=case.language,
    speaker=case.speaker,
    reference_text=case.reference_text,
    clips=clips,
  )


def _clip(label, explanation, wave, rate) -> page.Clip:
  silent = len(wave) < rate // 20
  return page.Clip(
    label=label,
    explanation=explanation,
    sound="" if silent else media.sound(wave, rate),
    picture=(
      "" if silent else media.spectrogram(signal.to_judge_rate(wave, rate))
    ),
    seconds=0.0 if silent else len(wave) / rate,
    made=label.endswith("-shot"),
  )


# -------------------------------------------------------------- files read


def read_curves(workdir: pathlib.Path) -> list[media.Curve]:
  """Loss of a run: of training, then of the held-out splits.

  Raises:
    UserError: no metrics.jsonl there, or a damaged one.
  """
  path = workdir / "metrics.jsonl"
  try:
    lines = [json.loads(x) for x in path.read_text().splitlines() if x.strip()]
  except FileNotFoundError as error:
    raise UserError(
      f"{path}: no such file; give --runs the workdirs of `s02 train`."
    ) from error
  except ValueError as error:
    raise UserError(
      f"{path}: not one JSON object a line ({error}); train again."
    ) from error
  curves = []
  for key, name in (
    ("loss", "training"),
    ("unseen/loss", "unseen"),
    ("seen/loss", "seen"),
  ):
    points = {
      line["step"]: line[key]
      for line in lines
      if isinstance(line.get(key), int | float) and math.isfinite(line[key])
    }
    if points:
      curves.append(media.Curve(name, list(points), list(points.values())))
  return curves


def read_phases(path: pathlib.Path | None) -> dict[str, float]:
  """Seconds by phase from a JSON object; empty without a file.

  Raises:
    UserError: no such file, or something else in it.
  """
  if path is None:
    return {}
  try:
    found = json.loads(path.read_text())
    return {str(name): float(seconds) for name, seconds in found.items()}
  except FileNotFoundError as error:
    raise UserError(f"{path}: no such file (--phases).") from error
  except (AttributeError, TypeError, ValueError) as error:
    raise UserError(
      f'{path}: --phases wants {{"phase": seconds, …}} ({error}).'
    ) from error


# ------------------------------------------------------------ files written


def metrics(
  results: Mapping[str, Result],
  required: Sequence[Mapping[str, Any]],
  phases: Mapping[str, float],
  watch: Stopwatch,
  command: str,
  settings: recipes.Sampling,
) -> dict[str, Any]:
  """What metrics.json holds: every figure with its n, every verdict."""
  return {
    "format_version": FORMAT_VERSION,
    "command": command,
    "settings": dataclasses.asdict(settings),
    "bars": list(required),
    "table": {split: _table(result) for split, result in results.items()},
    "diagnostics": {
      split: {k: v.to_json() for k, v in result.diagnostics.items()}
      for split, result in results.items()
    },
    "panel": {split: _panel(result.panel) for split, result in results.items()},
    "cases": [case for result in results.values() for case in _cases(result)],
    "phases": dict(phases),
    "report_seconds": watch.seconds,
  }


def _panel(panel: selection.Panel) -> dict[str, int]:
  """How many of everything the judges chose from."""
  return {
    "cases": len(panel.cases),
    "speakers": len({case.speaker for case in panel.cases}),
    "line_up": min(selection.SPEAKERS, len(panel.enrolment)),
    "fewest_candidates": min(len(case.candidates) for case in panel.cases),
    "speakers_without_another_clip": panel.speakers_without_another_clip,
  }


def _table(result: Result) -> dict[str, Any]:
  truth = result.judgement.figures[measures.GROUND_TRUTH]
  return {
    row: {
      name: figure.to_json()
      | {"share_of_ground_truth": requirements.share_of(figure, truth[name])}
      for name, figure in figures.items()
    }
    for row, figures in result.judgement.figures.items()
  }


def _cases(result: Result) -> Iterator[dict[str, Any]]:
  for i, case in enumerate(result.panel.cases):
    verdicts = {}
    for name, row in result.rows.items():
      verdicts[name] = {
        **dataclasses.asdict(result.judgement.verdicts[name][i]),
        "ctc": row.transcripts[i],
        "ended": None if row.ended is None else bool(row.ended[i]),
      }
    yield {
      "id": case.id,
      "split": case.split,
      "speaker": case.speaker,
      "language": case.language,
      "text": case.text,
      "verdicts": verdicts,
    }


# ------------------------------------------------------------------- report


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
  """What a report is made of and from."""

  bundle_card: Mapping[str, Any]
  corpus_card: Mapping[str, Any]
  command: str
  phases: Mapping[str, float]
  runs: Mapping[str, Sequence[media.Curve]]
  size: str | None  # whose bars are held against the figures


def write(
  out: pathlib.Path,
  results: Mapping[str, Result],
  sources: Sources,
  settings: recipes.Sampling,
  rate: int,
  watch: Stopwatch,
) -> None:
  """Writes the page, then metrics.json."""
  tables = {name: r.judgement.figures for name, r in results.items()}
  found = {name: r.diagnostics for name, r in results.items()}
  phases = dict(sources.phases)
  if phases:  # this report's own time, not that of one made before
    phases["report"] = sum(watch.seconds.values())
  required = []
  if sources.size is not None:
    required = requirements.compare(
      sources.size,
      tables["unseen"],
      found["unseen"],
      sum(phases.values()) if phases else None,
    )
  with watch.phase("page"):
    content = page.Content(
      notes=sources.corpus_card.get("notes", ""),
      corpus=sources.corpus_card,
      bundle=sources.bundle_card,
      command=sources.command,
      settings=dataclasses.asdict(settings),
      tables=tables,
      diagnostics=found,
      size=sources.size,
      bars=required,
      phases=phases,
      runs=sources.runs,
      examples=examples(results, rate),
    )
    html = page.render(content)
  figures = metrics(results, required, phases, watch, sources.command, settings)
  with files.explain_errors(out, "the report"):
    files.write_text(out / "index.html", html)
    files.write_json(out / "metrics.json", figures)
