"""`s02 report`: measures a bundle on held-out clips and writes a page about it.

    s02 report --bundle DIR --corpus DIR --out DIR [--items N]
      [--runs WORKDIR ...] [--bars demo|mini] [--phases FILE.json]

writes DIR/index.html, which needs nothing beside it, and DIR/metrics.json.
"""

import argparse
import contextlib
import dataclasses
import json
import logging
import math
import os
import pathlib
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from s02jax import console
from s02jax.cli import run
from s02jax.data.records import Corpus
from s02jax.errors import UserError
from s02jax.evaluation import (
  bars,
  diagnostics,
  judging,
  page,
  pictures,
  rows,
  selection,
  sheet,
  signal,
  workers,
)
from s02jax.synthesis.synthesizer import Synthesizer

FORMAT_VERSION = 1
SPLITS = ("unseen", "seen")
_EXAMPLES = {"unseen": 8, "seen": 4}
_PAGE_BYTES = 11_000_000  # that players and pictures may take
_CODEBOOK_CLIPS = 256  # for the share of codes in use


class Models(rows.Synthesis, diagnostics.Models, Protocol):
  """What the report needs of a synthesizer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
  """One split, measured."""

  panel: selection.Panel
  rows: dict[str, judging.Row]
  judgement: judging.Judgement
  diagnostics: dict[str, judging.Figure]


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
  settings: rows.Settings,
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
  for recipe in rows.RECIPES:
    with watch.phase(f"{name}: {recipe.label.lower()}"):
      made[recipe.name] = rows.make_row(recipe, models, panel.cases, settings)
  with watch.phase(f"{name}: judges"):
    judgement = judging.judge(panel, made, rate=models.rate, pool=pool)
  with watch.phase(f"{name}: the models on themselves"):
    clips = selection.some_waves(
      splits[name], _CODEBOOK_CLIPS, models.rate, settings.seed
    )
    found = diagnostics.diagnose(models, panel.cases, clips)
  return Result(panel=panel, rows=made, judgement=judgement, diagnostics=found)


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
  for recipe in rows.RECIPES:
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
    sound="" if silent else pictures.sound(wave, rate),
    picture=(
      "" if silent else pictures.spectrogram(signal.to_judge_rate(wave, rate))
    ),
    seconds=0.0 if silent else len(wave) / rate,
    made=label.endswith("-shot"),
  )


# -------------------------------------------------------------- files read


def read_curves(workdir: pathlib.Path) -> list[pictures.Curve]:
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
      curves.append(pictures.Curve(name, list(points), list(points.values())))
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
  settings: rows.Settings,
) -> dict[str, Any]:
  """What metrics.json holds: every figure with its n, every verdict."""
  return {
    "format_version": FORMAT_VERSION,
    "command": command,
    "settings": dataclasses.asdict(settings),
    "bars": list(required),
    "table": {split: _table(result) for split, result in results.items()},
    "diagnostics": {
      split: {k: _figure(v) for k, v in result.diagnostics.items()}
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


def _figure(figure: judging.Figure) -> dict[str, Any]:
  found = dataclasses.asdict(figure)
  return {
    k: v for k, v in found.items() if k in ("value", "n") or v is not None
  }


def _table(result: Result) -> dict[str, Any]:
  truth = result.judgement.figures[judging.GROUND_TRUTH]
  return {
    row: {
      name: _figure(figure)
      | {"share_of_ground_truth": bars.share_of(figure, truth[name])}
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
  runs: Mapping[str, Sequence[pictures.Curve]]
  size: str | None  # whose bars are held against the figures


def write(
  out: pathlib.Path,
  results: Mapping[str, Result],
  sources: Sources,
  settings: rows.Settings,
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
    required = bars.compare(
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
    sheet.write_atomically(out / "index.html", page.render(content))
  figures = metrics(results, required, phases, watch, sources.command, settings)
  sheet.write_atomically(
    out / "metrics.json",
    json.dumps(figures, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
  )


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="s02 report",
    description="Measure a bundle on held-out clips and write a page about it.",
  )
  folder = pathlib.Path
  parser.add_argument(
    "--bundle", type=folder, required=True, help="folder of `s02 bundle`"
  )
  parser.add_argument(
    "--corpus", type=folder, required=True, help="folder of `s02 corpus`"
  )
  parser.add_argument(
    "--out", type=folder, required=True, help="folder for page and metrics"
  )
  parser.add_argument(
    "--items", type=int, default=48, help="sentences of unseen speakers"
  )
  parser.add_argument(
    "--seen_items", type=int, help="of seen speakers; half as many by default"
  )
  parser.add_argument(
    "--runs", type=folder, nargs="*", default=[], help="workdirs: loss curves"
  )
  parser.add_argument(
    "--bars", choices=bars.SIZES, help="size whose requirements are compared"
  )
  parser.add_argument(
    "--phases", type=folder, help='JSON file {"phase": seconds}, shown'
  )
  parser.add_argument("--seed", type=int, default=0, help="of every draw")
  parser.add_argument("--steps", type=int, default=16, help="of the solver")
  parser.add_argument(
    "--guidance", type=float, default=1.5, help="towards the condition; 1: none"
  )
  parser.add_argument(
    "--temperature", type=float, default=0.7, help="0: the likeliest token"
  )
  parser.add_argument(
    "--workers",
    type=int,
    default=os.cpu_count() or 1,
    help="processes for the judges",
  )
  return parser


def main(argv: list[str]) -> None:
  """The verb."""
  args = _parser().parse_args(argv)
  console.set_up()
  seen = max(1, args.items // 2) if args.seen_items is None else args.seen_items
  if args.items < 1 or seen < 1 or args.workers < 1:
    raise UserError("--items, --seen_items and --workers must be at least 1.")
  settings = rows.Settings(
    seed=args.seed,
    steps=args.steps,
    guidance=args.guidance,
    temperature=args.temperature,
  )
  bundle_card = _read_card(args.bundle)
  splits = {
    name: Corpus.open(args.corpus, name) for name in ("train", "seen", "unseen")
  }
  sources = Sources(
    bundle_card=bundle_card,
    corpus_card=splits["train"].card,
    command=shlex.join(["s02", "report", *argv]),
    phases=read_phases(args.phases),
    runs={_run_name(p): read_curves(p) for p in args.runs},
    size=args.bars,
  )
  watch = Stopwatch()
  with watch.phase("bundle"):
    models = Synthesizer.load(args.bundle)
  results = measure(
    models,
    splits,
    {"unseen": args.items, "seen": seen},
    settings,
    args.workers,
    watch,
  )
  write(args.out, results, sources, settings, models.rate, watch)
  _tell(args.out, results)


def _run_name(workdir: pathlib.Path) -> str:
  return workdir.resolve().name


def _read_card(bundle: pathlib.Path) -> dict[str, Any]:
  try:
    return json.loads((bundle / "card.json").read_text())
  except (OSError, ValueError) as error:
    raise UserError(
      f"{bundle}: no bundle (its card.json cannot be read); make one with"
      " `s02 bundle`."
    ) from error


def _tell(out: pathlib.Path, results: Mapping[str, Result]) -> None:
  """The main figures, and where the page is."""
  for split, result in results.items():
    for row, figures in result.judgement.figures.items():
      told = "  ".join(
        f"{name} {figures[name].value:.2f}"
        for name in ("dtw_top1", "nearest_speaker", "similarity", "stoi")
        if figures[name].value is not None
      )
      print(f"{split:7} {row:13} {told}")
  print(out / "index.html")


if __name__ == "__main__":
  sys.exit(run(main))
