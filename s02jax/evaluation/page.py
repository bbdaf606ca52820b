"""The page: one HTML file that holds its sounds and pictures."""

import dataclasses
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from s02jax.evaluation import pictures
from s02jax.evaluation.bars import share_of
from s02jax.evaluation.judging import GROUND_TRUTH, Figure
from s02jax.evaluation.measures import DIAGNOSTICS, MEASURES, Measure
from s02jax.evaluation.rows import RECIPES

SPLITS = {
  "unseen": ("Unseen speakers", "speakers and sentences never trained on"),
  "seen": ("Seen speakers", "speakers of the training set, other sentences"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
  """One player."""

  label: str
  explanation: str
  sound: str  # data URI
  picture: str  # data URI
  seconds: float
  made: bool  # by the models, from text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
  """One sentence in all rows."""

  split: str
  text: str
  language: str
  speaker: str
  reference_text: str
  clips: Sequence[Clip]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Content:
  """All that the page shows."""

  notes: str  # on the corpus, such as its closed vocabulary
  corpus: Mapping[str, Any]  # its card
  bundle: Mapping[str, Any]  # its card
  command: str
  settings: Mapping[str, float]
  tables: Mapping[str, Mapping[str, Mapping[str, Figure]]]  # split, row, column
  diagnostics: Mapping[str, Mapping[str, Figure]]  # split, measure
  size: str | None  # whose bars are shown
  bars: Sequence[Mapping[str, Any]]
  phases: Mapping[str, float]  # seconds
  runs: Mapping[str, Sequence[pictures.Curve]]
  examples: Sequence[Example]


def render(content: Content) -> str:
  """The whole file."""
  body = [
    _header(content),
    _examples(content.examples),
    _tables(content.tables),
    _bars(content.size, content.bars),
    _diagnostics(content.diagnostics),
    _runs(content.runs),
    _phases(content.phases),
    _origin(content),
  ]
  links = "".join(
    f'<a href="#{name}">{label}</a>'
    for name, label in _SECTIONS.items()
    if any(f'<section id="{name}"' in part for part in body)
  )
  return _PAGE.format(
    style=_STYLE, script=_SCRIPT, body="\n".join(body), links=links
  )


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
  return (
    f'<section id="{name}"><h2>{_SECTIONS[name]}</h2>'
    f'<p class="lead">{lead}</p>{body}</section>'
  )


def _text(value: object) -> str:
  return html.escape(str(value), quote=True).replace(" %", "&nbsp;%")


def _format(value: float | None, style: str) -> str:
  if value is None:
    return "–"
  return f"{100 * value:.0f} %" if style == "share" else f"{value:.2f}"


# ------------------------------------------------------------------- top


def _header(content: Content) -> str:
  train = content.corpus["splits"]["train"]
  languages = ", ".join(content.corpus["languages"])
  facts = (
    "On this page, voices speak sentences that no model heard in training."
    " An audio tokenizer, an AR Transformer with its learnable speaker encoder,"
    " a flow-matching Transformer and a Flow-VAE, all trained from scratch on"
    f" {train['seconds'] / 3600:.1f} h of speech by {train['speakers']}"
    f" speakers ({_text(languages)}), made them from text and from one other"
    " recording of the speaker."
  )
  judges = (
    "The judges are programs that nobody here trained: espeak-ng renderings"
    " compared by dynamic time warping, the recogniser pocketsphinx (English),"
    " the GE2E speaker encoder of resemblyzer, STOI and PESQ. Each errs in"
    " ways of its own, so read every figure beside the ground truth's. No"
    " person has rated these samples."
  )
  return (
    "<header><p class=eyebrow>s02jax · report</p>"
    "<h1>Voices from a reference</h1>"
    f"<p>{facts}</p>"
    + (f"<p>{_text(content.notes)}</p>" if content.notes else "")
    + f"<p>{judges}</p>"
    f"<p class=command><span>Made by</span><code>{_text(content.command)}"
    f"</code></p>{_highlights(content)}</header>"
  )


def _highlights(content: Content) -> str:
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
  for row, name, label in shown:
    figure, truth = table[row][name], table[GROUND_TRUTH][name]
    style = styles[name]
    tiles.append(
      f"<li><b>{_format(figure.value, style)}</b>"
      f"<span>{labels[row]}: {label}</span>"
      f"<small>ground truth {_format(truth.value, style)}</small></li>"
    )
  return (
    f"<ul class=tiles aria-label='{SPLITS[split][0]}'>{''.join(tiles)}</ul>"
    f"<p class=caption>{SPLITS[split][0]}: {SPLITS[split][1]}.</p>"
  )


# ---------------------------------------------------------------- samples


def _examples(examples: Sequence[Example]) -> str:
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


def _card(example: Example) -> str:
  clips = "".join(_clip(clip) for clip in example.clips)
  said = example.reference_text
  return (
    f'<article lang="{_text(example.language)}">'
    f"<h4>{_text(example.text)}</h4>"
    f'<p class="who" lang="en">{_text(example.language)} · '
    f"{_text(example.speaker)} · the reference says “{_text(said)}”</p>"
    f'<div class="clips" lang="en">{clips}</div></article>'
  )


def _clip(clip: Clip) -> str:
  kind = ' class="made"' if clip.made else ""
  player = "<p class=empty>no sound</p>"
  if clip.seconds:
    player = (
      f'<img src="{clip.picture}" alt="Spectrogram" width="320" height="96">'
      f'<audio controls preload="none" src="{clip.sound}"'
      f' aria-label="{_text(clip.label)}"></audio>'
    )
  return (
    f'<figure{kind} title="{_text(clip.explanation)}">'
    f"<figcaption>{_text(clip.label)}<small>{clip.seconds:.1f} s</small>"
    f"</figcaption>{player}</figure>"
  )


# ---------------------------------------------------------------- figures


def _tables(tables) -> str:
  parts = []
  for split, table in tables.items():
    label, meaning = SPLITS[split]
    n = table[GROUND_TRUTH]["dtw_top1"].n
    parts.append(
      f"<h3>{label} <small>{meaning}; {n} sentences</small></h3>{_table(table)}"
    )
  rows = _definitions((r.label, r.explanation) for r in RECIPES)
  columns = _definitions(
    (f"{m.label} {_arrow(m)}", m.explanation) for m in MEASURES
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


def _arrow(measure: Measure) -> str:
  return "↑" if measure.better == "higher" else "↓"


def _table(table: Mapping[str, Mapping[str, Figure]]) -> str:
  head = "".join(
    f'<th scope="col" title="{_text(m.explanation)}">{_text(m.label)}&nbsp;'
    f"{_arrow(m)}</th>"
    for m in MEASURES
  )
  lines = []
  for recipe in RECIPES:
    cells = "".join(_cell(m, recipe.name, table) for m in MEASURES)
    kind = ' class="made"' if recipe.name.endswith("_shot") else ""
    lines.append(
      f'<tr{kind}><th scope="row" title="{_text(recipe.explanation)}">'
      f"{_text(recipe.label)}</th>{cells}</tr>"
    )
  return (
    f'<div class="scroll"><table><thead><tr><td></td>{head}</tr></thead>'
    f"<tbody>{''.join(lines)}</tbody></table></div>"
  )


def _cell(measure: Measure, row: str, table) -> str:
  figure = table[row][measure.name]
  if figure.value is None:
    return "<td class=none>–</td>"
  told = f"n = {figure.n}"
  if figure.low is not None:
    told += f", 95 %: {100 * figure.low:.0f} to {100 * figure.high:.0f} %"
  small = ""
  if measure.relative and row != GROUND_TRUTH:
    part = share_of(figure, table[GROUND_TRUTH][measure.name])
    small = f"<small>{_format(part, 'share')}</small>"
  value = _format(figure.value, measure.style)
  return f'<td title="{told}">{value}{small}</td>'


def _definitions(pairs: Iterable[tuple[str, str]]) -> str:
  items = "".join(
    f"<dt>{_text(name)}</dt><dd>{_text(text)}</dd>" for name, text in pairs
  )
  return f"<dl>{items}</dl>"


def _bars(size: str | None, bars: Sequence[Mapping[str, Any]]) -> str:
  if not bars:
    return ""
  required = [bar for bar in bars if bar["required"] is not None]
  met = sum(bool(bar["met"]) for bar in required)
  lines = "".join(_bar(bar) for bar in bars)
  lead = (
    f"What size “{_text(size)}” has to reach on unseen speakers and"
    f" sentences: {met} of {len(required)} are met."
  )
  return _section(
    "bars",
    lead,
    '<div class="scroll"><table class="list"><thead><tr><th scope="col">'
    'Requirement</th><th scope="col">Required</th><th scope="col">Measured'
    '</th><th scope="col">n</th><th scope="col">Met</th></tr></thead>'
    f"<tbody>{lines}</tbody></table></div>",
  )


def _bar(bar: Mapping[str, Any]) -> str:
  sign = "≤" if bar["comparison"] == "<=" else "≥"
  required = "reported"
  if bar["required"] is not None:
    required = f"{sign} {bar['required']:g}"
  mark, kind = {True: ("✓ yes", "yes"), False: ("✗ no", "no")}.get(
    bar["met"], ("–", "none")
  )
  return (
    f'<tr><th scope="row">{_text(bar["name"])}</th><td>{required}</td>'
    f"<td>{_format(bar['measured'], 'number')}</td><td>{bar['n']}</td>"
    f'<td class="{kind}">{mark}</td></tr>'
  )


def _diagnostics(diagnostics) -> str:
  head = "".join(
    f'<th scope="col">{SPLITS[split][0]}</th>' for split in diagnostics
  )
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
    f'<div class="scroll"><table class="list"><thead><tr><td></td>{head}</tr>'
    f"</thead><tbody>{''.join(lines)}</tbody></table></div>",
  )


def _runs(runs: Mapping[str, Sequence[pictures.Curve]]) -> str:
  if not runs:
    return ""
  figures = []
  for name, curves in runs.items():
    legend = "".join(
      f'<span class="c{i}">{_text(curve.name)}</span>'
      for i, curve in enumerate(curves)
    )
    figures.append(
      f"<figure><figcaption>{_text(name)}<small>{legend}</small></figcaption>"
      f"{pictures.curves_svg(curves, f'Loss of {name}')}</figure>"
    )
  lead = "Loss over training steps; held-out splits with averaged parameters."
  return _section("curves", lead, f'<div class="runs">{"".join(figures)}</div>')


def _phases(phases: Mapping[str, float]) -> str:
  if not phases:
    return ""
  total = sum(phases.values())
  longest = max(phases.values()) or 1.0
  lines = "".join(
    f'<tr><th scope="row">{_text(name)}</th><td>{_clock(seconds)}</td>'
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
  minutes, rest = divmod(round(seconds), 60)
  return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _origin(content: Content) -> str:
  cards = "".join(
    f"<details><summary>{name}</summary><pre>"
    f"{_text(json.dumps(card, indent=2, ensure_ascii=False))}</pre></details>"
    for name, card in (
      ("Settings of synthesis", content.settings),
      ("Card of the bundle", content.bundle),
      ("Card of the corpus", _short(content.corpus)),
    )
  )
  lead = (
    f"The command was <code>{_text(content.command)}</code>. The same command"
    " gives the same figures. All of them, with the number of cases behind"
    " each and the verdict on every clip, are in <code>metrics.json</code>"
    " beside this page."
  )
  return _section("origin", lead, cards)


def _short(card: Mapping[str, Any]) -> dict[str, Any]:
  """The card with the number of speakers in place of their names."""
  return {**card, "speakers": len(card["speakers"])}


# ------------------------------------------------------------------ sheet

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
img-src data:; media-src data:; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'">
<title>s02jax report</title>
<style>{style}</style>
</head>
<body>
<nav>{links}</nav>
<main>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""

_SCRIPT = """
document.addEventListener('play', event => {
  for (const other of document.querySelectorAll('audio'))
    if (other !== event.target) other.pause();
}, true);
"""

_STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fbfaf8; --card: #ffffff; --ink: #1d1c1a; --muted: #6c6862;
  --line: #e4e0d9; --accent: #9a3412; --tint: #fdf3ec;
  --yes: #1a7f45; --no: #b42318;
  --c0: #b9b2a7; --c1: #9a3412; --c2: #2563a8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #151412; --card: #1d1c1a; --ink: #ece9e4; --muted: #a19b92;
    --line: #35322e; --accent: #fb9a63; --tint: #2a201a;
    --yes: #5fcf8f; --no: #ff8a7a;
    --c0: #6e6860; --c1: #fb9a63; --c2: #7fb6f0;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 3.5rem; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
nav {
  position: sticky; top: 0; z-index: 2; display: flex; gap: 1.4rem;
  overflow-x: auto; white-space: nowrap; justify-content: safe center;
  padding: .7rem 1.2rem; background: var(--ground);
  border-bottom: 1px solid var(--line); font-size: .875rem;
}
nav a { color: var(--muted); text-decoration: none; }
nav a:hover { color: var(--accent); }
main { max-width: 1120px; margin: 0 auto; padding: 0 1.2rem 5rem; }
header { max-width: 46rem; margin: 0 auto; padding: 3.5rem 0 1rem; }
.eyebrow {
  margin: 0; color: var(--accent); font-size: .8rem; font-weight: 600;
  letter-spacing: .06em;
}
h1 {
  margin: .2rem 0 1.2rem; font-size: clamp(2rem, 5vw, 2.9rem);
  line-height: 1.12; letter-spacing: -.025em; text-wrap: balance;
}
h2 { margin: 0 0 .3rem; font-size: 1.5rem; letter-spacing: -.015em; }
h3 { margin: 2rem 0 .6rem; font-size: 1.05rem; }
h3 small, figcaption small, .lead, .caption, .who { color: var(--muted); }
h3 small { margin-left: .5rem; font-weight: 400; font-size: .875rem; }
section { padding-top: 3.5rem; }
.lead { max-width: 46rem; margin: 0 0 1rem; }
.caption { font-size: .85rem; margin: .5rem 0 0; }
code, pre { font: .82em/1.55 ui-monospace, Menlo, Consolas, monospace; }
.command {
  display: flex; gap: .8rem; align-items: baseline; padding: .6rem .9rem;
  border: 1px solid var(--line); border-radius: 8px; background: var(--card);
}
.command span { color: var(--muted); font-size: .8rem; white-space: nowrap; }
.command code { overflow-wrap: anywhere; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
  gap: .8rem; padding: 0; margin: 1.6rem 0 0; list-style: none;
}
.tiles li {
  display: flex; flex-direction: column; padding: .8rem .95rem .7rem;
  border: 1px solid var(--line); border-radius: 10px; background: var(--card);
}
.tiles b { font-size: 1.75rem; line-height: 1.2; letter-spacing: -.02em; }
.tiles span { font-size: .85rem; line-height: 1.35; }
.tiles small { margin-top: auto; padding-top: .35rem; color: var(--muted); }
article {
  margin: 0 0 1rem; padding: 1.05rem 1.15rem 1.15rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 12px;
}
h4 { margin: 0; font-size: 1.12rem; font-weight: 600; }
.who { margin: .1rem 0 .8rem; font-size: .85rem; }
.clips {
  display: grid; gap: .9rem .8rem;
  grid-template-columns: repeat(auto-fill, minmax(14.5rem, 1fr));
}
figure { margin: 0; min-width: 0; }
figcaption {
  display: flex; justify-content: space-between; gap: .6rem;
  margin-bottom: .3rem; font-size: .85rem; font-weight: 550;
}
figcaption small { font-weight: 400; white-space: nowrap; }
.clips img {
  display: block; width: 100%; height: 72px; border-radius: 6px 6px 0 0;
}
.clips audio { display: block; width: 100%; height: 36px; }
.clips .made figcaption { color: var(--accent); }
.empty { color: var(--muted); font-size: .85rem; }
.scroll { overflow-x: auto; }
table {
  width: 100%; border-collapse: collapse; background: var(--card);
  font-size: .875rem; font-variant-numeric: tabular-nums;
  border: 1px solid var(--line);
}
th, td { padding: .5rem .65rem; text-align: right; vertical-align: top; }
th { font-weight: 550; }
thead th {
  color: var(--muted); font-size: .775rem; line-height: 1.3;
  vertical-align: bottom;
}
tbody th, thead th:first-child { text-align: left; }
tbody th, td { white-space: nowrap; }
tr + tr > *, tbody tr:first-child > * { border-top: 1px solid var(--line); }
td small { display: block; color: var(--muted); font-size: .74rem; }
tr.made { background: var(--tint); }
td.none { color: var(--muted); }
.list tbody th { white-space: normal; min-width: 12rem; }
.list th small { display: block; color: var(--muted); font-weight: 400; }
.list .yes { color: var(--yes); white-space: nowrap; }
.list .no { color: var(--no); white-space: nowrap; }
.list .wide { width: 55%; vertical-align: middle; }
.list i {
  display: block; height: .55rem; min-width: 2px; border-radius: 3px;
  background: var(--accent);
}
.two { display: grid; gap: 0 3rem; }
@media (min-width: 860px) { .two { grid-template-columns: 1.3fr 1fr; } }
dl { margin: 0; font-size: .875rem; }
dt { font-weight: 550; }
dd { margin: 0 0 .65rem; color: var(--muted); }
.runs {
  display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr));
}
.runs figure {
  padding: .9rem 1rem; border: 1px solid var(--line); border-radius: 12px;
  background: var(--card);
}
.runs span::before {
  content: ""; display: inline-block; width: .9rem; height: 3px;
  margin: 0 .35rem 0 .9rem; vertical-align: middle; border-radius: 2px;
  background: var(--c0);
}
.runs span.c1::before { background: var(--c1); }
.runs span.c2::before { background: var(--c2); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--muted); font-size: 12px; }
svg .grid { stroke: var(--line); }
.curve { fill: none; stroke: var(--c0); stroke-width: 1.6; }
.curve.c1 { stroke: var(--c1); stroke-width: 2.2; }
.curve.c2 { stroke: var(--c2); stroke-width: 2.2; }
details {
  margin-bottom: .6rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--card);
}
summary { padding: .6rem .9rem; cursor: pointer; font-weight: 550; }
pre { margin: 0; padding: 0 .9rem .9rem; overflow-x: auto; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media print { nav, audio { display: none; } article { break-inside: avoid; } }
"""
