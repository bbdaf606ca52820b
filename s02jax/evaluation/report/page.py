"""Page of `s02 report`: one HTML file that holds its sounds and pictures."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from s02jax.evaluation import html, media
from s02jax.evaluation.figure import Figure
from s02jax.evaluation.report import measures
from s02jax.evaluation.report.measures import (
  DIAGNOSTICS,
  GROUND_TRUTH,
  MEASURES,
  Measure,
)
from s02jax.evaluation.report.recipes import RECIPES
from s02jax.evaluation.report.requirements import share_of

# Splits by name: label and explanation.
SPLITS = {
  "unseen": ("Unseen speakers", "speakers and sentences never trained on"),
  "seen": ("Seen speakers", "speakers of the training set, other sentences"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Player:
  """Sound of one row with its spectrogram."""

  label: str
  explanation: str
  sound: str  # data URI
  picture: str  # data URI
  seconds: float
  made: bool  # from text, by the models


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageExample:
  """Sentence in all rows."""

  split: str
  text: str
  language: str
  speaker: str
  reference_text: str
  players: Sequence[Player]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Content:
  """Content of the page."""

  notes: str  # on the corpus, such as its closed vocabulary
  corpus: Mapping[str, Any]  # card of the corpus
  bundle: Mapping[str, Any]  # card of the bundle
  command: str  # that made the page
  settings: Mapping[str, float | None]  # of synthesis; None: the bundle's own
  tables: Mapping[str, Mapping[str, Mapping[str, Figure]]]  # split, row, column
  diagnostics: Mapping[str, Mapping[str, Figure]]  # split, measure
  size: str | None  # whose requirements are shown
  requirements: Sequence[Mapping[str, Any]]  # of `requirements.compare`
  phases: Mapping[str, float]  # seconds by phase
  runs: Mapping[str, Sequence[media.Curve]]  # loss curves by stage
  examples: Sequence[PageExample]


def render(content: Content) -> str:
  """Renders the whole file as HTML."""
  body = [
    _header(content),
    _examples(content.examples),
    _tables(content.tables),
    _requirements(content.size, content.requirements),
    _diagnostics(content.diagnostics),
    _runs(content.runs),
    _phases(content.phases),
    _origin(content),
  ]
  return html.document("s02jax report", body, _SECTIONS)


_SECTIONS = {
  "listen": "Listen",
  "measures": "Measures",
  "bars": "Requirements",
  "models": "Inside the models",
  "curves": "Loss curves",
  "phases": "Time",
  "origin": "How it was made",
}


def _section(name: str, lead: str, body: str) -> str:
  """Section with the heading of its name; `lead` and `body` are HTML."""
  return html.section(name, _SECTIONS[name], lead, body)


def _format(value: float | None, style: str) -> str:
  """Figure as text; style "share" is per cent."""
  if value is None:
    return "–"
  return f"{100 * value:.0f} %" if style == "share" else f"{value:.2f}"


# ------------------------------------------------------------------- top


def _header(content: Content) -> str:
  """Top of the page: how it was made, the judges, the main figures."""
  train = content.corpus["splits"]["train"]
  languages = ", ".join(content.corpus["languages"])
  facts = (
    "On this page, voices speak sentences that no model heard in training."
    " An audio tokenizer, an AR Transformer with its learnable speaker encoder,"
    " a flow-matching Transformer and a Flow-VAE, all trained from scratch on"
    f" {train['seconds'] / 3600:.1f} h of speech by {train['speakers']}"
    f" speakers ({html.text(languages)}), made them from text and from one"
    " other recording of the speaker."
  )
  names = _shown(content.tables)
  signals = [m.label for m in names if m.name in ("stoi", "pesq", "dnsmos")]
  judges = (
    "The judges are programs that nobody here trained: espeak-ng renderings"
    " compared by dynamic time warping, pocketsphinx (English), Whisper base"
    " and hama where they are columns, the GE2E speaker encoder of resemblyzer,"
    f" {', '.join(signals)}. Each errs in"
    " ways of its own, so read every figure beside the ground truth's. No"
    " person has rated these samples."
  )
  return (
    "<header><p class=eyebrow>s02jax · report</p>"
    "<h1>Voices from a reference</h1>"
    f"<p>{facts}</p>"
    + (f"<p>{html.text(content.notes)}</p>" if content.notes else "")
    + f"<p>{judges}</p>"
    f"<p class=command><span>Made by</span><code>{html.text(content.command)}"
    f"</code></p>{_highlights(content)}</header>"
  )


def _highlights(content: Content) -> str:
  """Main figures of the first split, large."""
  split = next(iter(content.tables))
  table = content.tables[split]
  shown = [
    ("zero_shot", "dtw_top1", "right text of 10"),
    ("one_shot", "dtw_top1", "right text of 10"),
    ("zero_shot", "nearest_speaker", "nearest of 16 voices"),
    ("resynthesis", "stoi", "STOI"),
  ]
  labels = {recipe.name: recipe.label for recipe in RECIPES}
  styles = {measure.name: measure.style for measure in MEASURES}
  tiles = []
  kept = {measure.name for measure in measures.shown(table[GROUND_TRUTH])}
  for row, name, label in shown:
    if name not in kept:
      continue
    figure, truth = table[row][name], table[GROUND_TRUTH][name]
    style = styles[name]
    tiles.append(
      html.tile(
        _format(figure.value, style),
        f"{labels[row]}: {label}",
        f"ground truth {_format(truth.value, style)}",
      )
    )
  return (
    f"<ul class=tiles aria-label='{SPLITS[split][0]}'>{''.join(tiles)}</ul>"
    f"<p class=caption>{SPLITS[split][0]}: {SPLITS[split][1]}.</p>"
  )


# ---------------------------------------------------------------- samples


def _examples(examples: Sequence[PageExample]) -> str:
  """Section of players; nothing without examples."""
  if not examples:
    return ""
  parts = []
  for split, (label, meaning) in SPLITS.items():
    cards = "".join(_card(e) for e in examples if e.split == split)
    if cards:
      parts.append(f"<h3>{label} <small>{meaning}</small></h3>{cards}")
  lead = (
    "Chosen by the draw that chose the cases, not by ear. The reference is"
    " another clip of the speaker; the ground truth is how the speaker said"
    " this sentence, which the models that speak from text never received."
    " Spectrograms reach from 0 to 8 kHz, each on its own 70 dB scale."
  )
  return _section("listen", lead, "".join(parts))


def _card(example: PageExample) -> str:
  """Card of one sentence with its players."""
  players = "".join(map(_player, example.players))
  said = example.reference_text
  return (
    f'<article lang="{html.text(example.language)}">'
    f"<h4>{html.text(example.text)}</h4>"
    f'<p class="who" lang="en">{html.text(example.language)} · '
    f"{html.text(example.speaker)} · the reference says"
    f" “{html.text(said)}”</p>"
    f'<div class="clips" lang="en">{players}</div></article>'
  )


def _player(player: Player) -> str:
  """Captioned player of one row."""
  kind = ' class="made"' if player.made else ""
  sound = "<p class=empty>no sound</p>"
  if player.seconds:
    sound = (
      f'<img src="{player.picture}" alt="Spectrogram" width="320" height="96">'
      + html.player(player.sound, player.label)
    )
  return (
    f'<figure{kind} title="{html.text(player.explanation)}">'
    f"<figcaption>{html.text(player.label)}"
    f"<small>{player.seconds:.1f} s</small></figcaption>{sound}</figure>"
  )


# ---------------------------------------------------------------- figures


def _tables(tables) -> str:
  """Section of figures: a table for each split, and what its names mean."""
  parts = []
  for split, (label, meaning) in SPLITS.items():
    table = tables.get(split)
    if table is None:
      body = "<p>The corpus has no such clip that could be judged.</p>"
      parts.append(f"<h3>{label} <small>{meaning}</small></h3>{body}")
      continue
    n = table[GROUND_TRUTH]["dtw_top1"].n
    without = measures.left_out(table[GROUND_TRUTH]).values()
    parts.append(
      f"<h3>{label} <small>{meaning}; {n} sentences</small></h3>{_table(table)}"
      f"<p class=caption>{html.text(' '.join(without))}</p>"
    )
  rows = html.definitions((r.label, r.explanation) for r in RECIPES)
  columns = html.definitions(
    (f"{m.label} {_arrow(m)}", m.explanation) for m in _shown(tables)
  )
  lead = (
    "Large: the value. Small: the value as a share of the ground truth's."
    " Point at a value for its number of cases and, of a share, the 95 %"
    " interval. ↑ higher is better, ↓ lower is better."
  )
  return _section(
    "measures",
    lead,
    "".join(parts)
    + f"<div class=two><div><h3>Columns</h3>{columns}</div>"
    + f"<div><h3>Rows</h3>{rows}</div></div>",
  )


def _shown(tables) -> list[Measure]:
  """Measures that any table has as a column."""
  kept = [measures.shown(table[GROUND_TRUTH]) for table in tables.values()]
  return [m for m in MEASURES if any(m in columns for columns in kept)]


def _arrow(measure: Measure) -> str:
  """Sign of the better direction."""
  return "↑" if measure.better == "higher" else "↓"


def _table(table: Mapping[str, Mapping[str, Figure]]) -> str:
  """Table of one split: rows by measures."""
  shown = measures.shown(table[GROUND_TRUTH])
  head = [
    html.column(f"{html.text(m.label)}&nbsp;{_arrow(m)}", m.explanation)
    for m in shown
  ]
  lines = []
  for recipe in RECIPES:
    cells = "".join(_cell(m, recipe.name, table) for m in shown)
    kind = ' class="made"' if recipe.name.endswith("_shot") else ""
    lines.append(
      f'<tr{kind}><th scope="row" title="{html.text(recipe.explanation)}">'
      f"{html.text(recipe.label)}</th>{cells}</tr>"
    )
  return html.table(["<td></td>", *head], lines)


def _cell(measure: Measure, row: str, table) -> str:
  """Cell of a figure, its interval and n in the tooltip."""
  figure = table[row][measure.name]
  if figure.value is None:
    return "<td class=none>–</td>"
  told = f"n = {figure.n}"
  if figure.low is not None:
    told += f", 95 %: {100 * figure.low:.0f} to {100 * figure.high:.0f} %"
  small = ""
  if measure.relative and row != GROUND_TRUTH:
    part = share_of(figure, table[GROUND_TRUTH][measure.name])
    small = f"<small>{_beside_truth(part, 'share')}</small>"
  value = _format(figure.value, measure.style)
  return f'<td title="{told}">{value}{small}</td>'


def _beside_truth(part: float | None, style: str) -> str:
  """Share of the ground truth's figure as text.

  More than all of it is an accident of few cases, not better than the truth.
  """
  if part is not None and part > 1:
    return "as good as the truth"
  return _format(part, style)


def _requirements(size: str | None, found: Sequence[Mapping[str, Any]]) -> str:
  """Section of requirements; nothing where none were compared."""
  if not found:
    return ""
  judged = [one for one in found if one["met"] is not None]
  met = sum(one["met"] for one in judged)
  lead = (
    f"What size “{html.text(size)}” has to reach on unseen speakers and"
    f" sentences: {met} of {len(judged)} are met."
  )
  return _section(
    "bars",
    lead,
    html.table(map(html.column, _COLUMNS), map(_requirement, found), "list"),
  )


_COLUMNS = ("Requirement", "Required", "Measured", "n", "Met")


def _requirement(one: Mapping[str, Any]) -> str:
  """Line of one requirement."""
  sign = "≤" if one["comparison"] == "<=" else "≥"
  required = "reported"
  if one["required"] is not None:
    required = f"{sign} {one['required']:g}"
  measured = _format(one["measured"], "number")
  if one["of_ground_truth"]:
    measured = _beside_truth(one["measured"], "number")
  mark, kind = {True: ("✓ yes", "yes"), False: ("✗ no", "no")}.get(
    one["met"], ("–", "none")
  )
  return (
    f'<tr><th scope="row">{html.text(one["name"])}</th><td>{required}</td>'
    f"<td>{measured}</td><td>{one['n']}</td>"
    f'<td class="{kind}">{mark}</td></tr>'
  )


def _diagnostics(diagnostics) -> str:
  """Section of the models' own diagnostics, a column for each split."""
  head = [html.column(SPLITS[split][0]) for split in diagnostics]
  lines = []
  for name, (label, meaning) in DIAGNOSTICS.items():
    cells = "".join(
      f'<td title="n = {figures[name].n}">'
      f"{_format(figures[name].value, 'number')}</td>"
      for figures in diagnostics.values()
    )
    lines.append(
      f'<tr><th scope="row">{label}<small>{meaning}</small></th>{cells}</tr>'
    )
  lead = (
    "What the models say of themselves on held-out clips, without making a"
    " sound: whether each of them has learnt what the next one needs."
  )
  return _section(
    "models",
    lead,
    html.table(["<td></td>", *head], lines, "list"),
  )


def _runs(runs: Mapping[str, Sequence[media.Curve]]) -> str:
  """Section of loss curves; nothing without runs."""
  if not runs:
    return ""
  figures = []
  for name, curves in runs.items():
    legend = "".join(
      f'<span class="c{i}">{html.text(curve.name)}</span>'
      for i, curve in enumerate(curves)
    )
    figures.append(
      f"<figure><figcaption>{html.text(name)}<small>{legend}</small></figcaption>"
      f"{media.curves_svg(curves, f'Loss of {name}')}</figure>"
    )
  lead = "Loss over training steps; held-out splits with averaged parameters."
  return _section("curves", lead, f'<div class="runs">{"".join(figures)}</div>')


def _phases(phases: Mapping[str, float]) -> str:
  """Section of wall times; nothing where they are not known."""
  if not phases:
    return ""
  total = sum(phases.values())
  longest = max(phases.values()) or 1.0
  lines = "".join(
    f'<tr><th scope="row">{html.text(name)}</th><td>{_clock(seconds)}</td>'
    f'<td class="wide"><i style="width:{100 * seconds / longest:.1f}%"></i>'
    "</td></tr>"
    for name, seconds in phases.items()
  )
  return _section(
    "phases",
    f"Wall time of each phase, {_clock(total)} in all.",
    f'<div class="scroll"><table class="list">{lines}</table></div>',
  )


def _clock(seconds: float) -> str:
  """Duration in minutes and seconds."""
  minutes, rest = divmod(round(seconds), 60)
  return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _origin(content: Content) -> str:
  """Section on how the page was made."""
  cards = "".join(
    html.details(name, json.dumps(card, indent=2, ensure_ascii=False))
    for name, card in (
      ("Settings of synthesis", content.settings),
      ("Card of the bundle", content.bundle),
      ("Card of the corpus", _short(content.corpus)),
    )
  )
  lead = (
    f"The command was <code>{html.text(content.command)}</code>. The same"
    " command gives the same figures. All of them, with the number of cases"
    " behind each and the verdict on every clip, are in"
    " <code>metrics.json</code> beside this page."
  )
  return _section("origin", lead, cards)


def _short(card: Mapping[str, Any]) -> dict[str, Any]:
  """Card with the number of speakers in place of their names."""
  return {**card, "speakers": len(card["speakers"])}
