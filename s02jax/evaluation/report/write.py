"""Output of `s02 report`: metrics.json, and the content of the page."""

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
from s02jax.evaluation.report.measure import SplitResult, Stopwatch
from s02jax.evaluation.report.panel import SPEAKERS, Case, Panel
from s02jax.pretrained import signal
from s02jax.synthesis.request import Settings

FORMAT_VERSION = 1
_EXAMPLES = {"unseen": 8, "seen": 4}  # sentences on the page, by split
_PAGE_BYTES = 11_000_000  # that players and pictures may take


def examples(
  results: Mapping[str, SplitResult], rate: int, budget: int = _PAGE_BYTES
) -> list[page.PageExample]:
  """Examples for the page, voices and languages in turn.

  Args:
    results: by split.
    rate: sample rate of the waves, Hz.
    budget: bytes that sounds and pictures may take.
  """
  chosen: list[page.PageExample] = []
  for split, result in results.items():
    for index in _varied(result.panel.cases)[: _EXAMPLES[split]]:
      example = _example(split, result, index, rate)
      budget -= sum(len(c.sound) + len(c.picture) for c in example.players)
      if budget < 0:
        logging.info("the page has room for %d examples", len(chosen))
        return chosen
      chosen.append(example)
  return chosen


def _varied(cases: Sequence[Case]) -> list[int]:
  """Indices of cases, alternating between languages and speakers."""
  turns: dict[int, tuple[int, int]] = {}
  speakers: dict[str, int] = {}
  languages: dict[tuple[str, int], int] = {}
  for i, case in enumerate(cases):
    turn = speakers[case.speaker] = speakers.get(case.speaker, -1) + 1
    key = (case.language, turn)
    languages[key] = languages.get(key, -1) + 1
    turns[i] = (turn, languages[key])
  return sorted(turns, key=lambda i: (turns[i], i))


def _example(split, result, index, rate) -> page.PageExample:
  """Players of one case: all rows and the reference."""
  case = result.panel.cases[index]
  players = []
  for recipe in recipes.RECIPES:
    wave = result.renditions[recipe.name].waves[index]
    players.append(_player(recipe.label, recipe.explanation, wave, rate))
  reference = ("Reference", "Another clip of the speaker.", case.reference)
  players.insert(2, _player(*reference, rate))  # behind what imitates it
  return page.PageExample(
    split=split,
    text=case.text,
    language=case.language,
    speaker=case.speaker,
    reference_text=case.reference_text,
    players=players,
  )


def _player(label, explanation, wave, rate) -> page.Player:
  """Sound and spectrogram of a wave; both empty below 50 ms."""
  silent = len(wave) < rate // 20
  return page.Player(
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
  """Reads the loss curves of a run: training, then the held-out splits.

  Raises:
    UserError: metrics.jsonl is missing or damaged.
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
  """Reads seconds by phase from a JSON object; empty without a file.

  Raises:
    UserError: the file is missing or holds something else.
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
  results: Mapping[str, SplitResult],
  required: Sequence[Mapping[str, Any]],
  phases: Mapping[str, float],
  watch: Stopwatch,
  command: str,
  settings: Settings,
) -> dict[str, Any]:
  """Content of metrics.json: every figure with its n, every verdict."""
  return {
    "format_version": FORMAT_VERSION,
    "command": command,
    "settings": dataclasses.asdict(settings),
    "bars": list(required),
    "left_out": {
      split: measures.left_out(r.judgement.figures[measures.GROUND_TRUTH])
      for split, r in results.items()
    },
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


def _panel(panel: Panel) -> dict[str, int]:
  """Sizes of a panel."""
  return {
    "cases": len(panel.cases),
    "speakers": len({case.speaker for case in panel.cases}),
    "line_up": min(SPEAKERS, len(panel.enrolment)),
    "fewest_candidates": min(len(case.candidates) for case in panel.cases),
    "speakers_without_another_clip": panel.speakers_without_another_clip,
  }


def _table(result: SplitResult) -> dict[str, Any]:
  """Figures by row and measure, with their share of the ground truth's."""
  truth = result.judgement.figures[measures.GROUND_TRUTH]
  return {
    row: {
      name: figure.to_json()
      | {"share_of_ground_truth": requirements.share_of(figure, truth[name])}
      for name, figure in figures.items()
    }
    for row, figures in result.judgement.figures.items()
  }


def _cases(result: SplitResult) -> Iterator[dict[str, Any]]:
  """Yields each case with the verdicts on all its rows."""
  for i, case in enumerate(result.panel.cases):
    verdicts = {}
    for name, made in result.renditions.items():
      verdicts[name] = {
        **dataclasses.asdict(result.judgement.verdicts[name][i]),
        "ctc": made.transcripts[i],
        "ended": None if made.ended is None else bool(made.ended[i]),
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
  """Origin of a report's figures, for the page."""

  bundle_card: Mapping[str, Any]
  corpus_card: Mapping[str, Any]
  command: str  # that makes the report
  phases: Mapping[str, float]  # seconds by phase, from corpus to report
  runs: Mapping[str, Sequence[media.Curve]]  # loss curves by stage
  size: str | None  # whose requirements are compared


def write(
  out: pathlib.Path,
  results: Mapping[str, SplitResult],
  sources: Sources,
  settings: Settings,
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
  if sources.size is not None and "unseen" in tables:
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
      requirements=required,
      phases=phases,
      runs=sources.runs,
      examples=examples(results, rate),
    )
    html = page.render(content)
  figures = metrics(results, required, phases, watch, sources.command, settings)
  with files.explain_errors(out, "the report"):
    files.write_text(out / "index.html", html)
    files.write_json(out / "metrics.json", figures)
