"""The page of `s02 evaluate`: one file with bars, tables and the worst clips.

What it shows is scores.json and the sounds that it names; the texts in it are
anybody's, so that all of them are escaped and stand in their own direction.
"""

import json
import logging
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from s02jax.audio import spectra
from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.evaluation import html, media
from s02jax.evaluation.benchmark import published, table
from s02jax.evaluation.benchmark.chart import Bar, chart
from s02jax.evaluation.benchmark.table import markdown, name_of, number, percent

__all__ = ["markdown", "render", "write"]

PAGE = "report.html"
_SOUND_BYTES = 8_000_000  # that players may take
_SECONDS = 30  # of a player, at most

_BENCHMARKS = {
  "minimax24": "MiniMax multilingual test set",
  "seed-tts": "Seed-TTS test set",
  "cross-lingual": "Chinese speakers in other languages",
  "manifest": "Own test set",
}
_SECTIONS = {
  "errors": "Error rates",
  "similarity": "Speaker similarity",
  "quality": "Quality",
  "published": "Published figures",
  "worst": "Worst items",
  "origin": "How it was made",
}
_PIPELINES = {
  "official": "as the benchmarks' own scripts compare texts, flaws included",
  "fair": "case, punctuation, digits and spelling variants forgiven",
}


def write(scores: Mapping[str, Any], out: pathlib.Path) -> None:
  """Writes OUT/report.html.

  Args:
    scores: what scores.json holds; clips are named relative to `out`.
    out: folder of the evaluation.

  Raises:
    UserError: the file cannot be written.
  """
  with files.explain_errors(out / PAGE, "the page"):
    files.write_text(out / PAGE, render(scores, out))


def render(scores: Mapping[str, Any], out: pathlib.Path) -> str:
  """The whole file; sounds are read from `out`, or where they say they are."""
  title = _BENCHMARKS.get(scores["benchmark"], scores["benchmark"])
  parts = [
    _header(scores, title),
    _errors(scores),
    _similarity(scores),
    _quality(scores),
    _published(scores),
    _worst(scores["worst"], _Sounds(out)),
    _origin(scores),
  ]
  return html.document(f"{scores['system']}: {title}", parts, _SECTIONS)


def _section(name: str, lead: str, body: str) -> str:
  return html.section(name, _SECTIONS[name], lead, body)


# ---------------------------------------------------------------------- top


def _header(scores: Mapping[str, Any], title: str) -> str:
  facts = (
    f"{scores['system']}, {scores['cloning']} cloning: {scores['items']} items"
    f" in {len(scores['rows'])} rows, {scores['seeds']} seed(s) each. Set:"
    f" {scores['data']}."
  )
  return (
    "<header><p class=eyebrow>s02jax · evaluation</p>"
    f'<h1 dir="auto">{html.text(title)}</h1><p>{html.text(facts)}</p>'
    f"<p>{html.text(_judges(scores['judges']))}</p>"
    f'<p class="verdict">{html.text(_verdict(scores))}</p>'
    f"{_tiles(scores)}</header>"
  )


def _judges(judges: Mapping[str, Any]) -> str:
  by_spec: dict[str, list[str]] = {}
  for code, spec in judges["recognisers"].items():
    by_spec.setdefault(spec, []).append(code)
  words = "; ".join(f"{spec} ({', '.join(c)})" for spec, c in by_spec.items())
  return (
    f"Judges: words by {words}; voices by {judges['speaker'] or 'nobody'};"
    f" quality by {judges['quality'] or 'nobody'}. No person has rated these"
    " clips."
  )


def _verdict(scores: Mapping[str, Any]) -> str:
  """Whether anything that was published may be compared."""
  if not table.has_published(scores):
    return "Nothing that is known here was published on these items."
  theirs = (
    f"Published figures come from {published.RECOGNISER} (Chinese:"
    f" {published.RECOGNISERS['zh']}) and {published.SPEAKER_JUDGE}."
  )
  same = [table.comparable(scores, r["language"]) for r in scores["rows"]]
  for what, agrees in (
    ("error rates", [s.error for s in same]),
    ("similarities", [s.similarity for s in same]),
  ):
    if all(agrees):
      theirs += f" The {what} here are by the same judge."
    elif any(agrees):
      theirs += (
        f" Some {what} here are by another judge: these must not be compared,"
        " and have no marks."
      )
    else:
      theirs += (
        f" The {what} here are by another judge and must not be compared with"
        " them; they have no marks."
      )
  return theirs


def _tiles(scores: Mapping[str, Any]) -> str:
  mean, rows = scores["mean"], scores["rows"]
  missing = sum(len(row["missing"]) for row in rows)
  clips = sum(row["clips"] for row in rows)
  note = "mean of the rows"
  tiles = [
    html.tile(
      f"{percent(mean[name]['utterance_mean'])}&nbsp;%",
      f"error, {name}",
      note,
    )
    for name in _PIPELINES
  ]
  if mean["similarity"] is not None:
    tiles.append(html.tile(number(mean["similarity"]), "similarity", note))
  tiles.append(html.tile(str(missing), "clips missing", f"of {clips}"))
  return f"<ul class=tiles>{''.join(tiles)}</ul>"


# ------------------------------------------------------------------ figures


def _errors(scores: Mapping[str, Any]) -> str:
  rows = scores["rows"]
  bars = [
    _bar(
      row,
      row["official"]["utterance_mean"],
      100,
      {
        table.label(p): p.error
        for p in table.of_this_cloning(scores, row)
        if table.comparable(scores, row["language"]).error
      },
    )
    for row in rows
  ]
  lead = (
    "In percent of the words or characters, less is better. Bars: official"
    " normalisation, mean over utterances, as the benchmarks' scripts print"
    " it. A missing clip counts as wholly wrong."
  )
  if any(row["language"] == "yue" for row in rows):
    lead += " Whisper writes Cantonese badly, whoever speaks it."
  tables = "".join(
    f"<h3>{name.capitalize()} <small>{meaning}</small></h3>"
    + _error_table(rows, name, scores["mean"][name])
    for name, meaning in _PIPELINES.items()
  )
  return _section("errors", lead, chart(bars, 2) + tables + _missing(rows))


def _bar(row, figure, scale, marks, band=None) -> Bar:
  value, low, high = (
    None if figure[k] is None else scale * figure[k]
    for k in ("value", "low", "high")
  )
  return Bar(
    label=name_of(row), value=value, low=low, high=high, marks=marks, band=band
  )


def _error_table(rows, pipeline: str, mean: Mapping[str, Any]) -> str:
  head = [
    html.column("Subset"),
    html.column("Unit", "WER counts words, CER characters."),
    html.column("Items"),
    html.column("Clips"),
    html.column("Missing"),
    html.column("Utterance mean", "The mean of each utterance's own rate."),
    html.column("Corpus level", "All edits over all reference units."),
    html.column("S", "Substitutions"),
    html.column("D", "Deletions"),
    html.column("I", "Insertions"),
    html.column("Units", "Of the references"),
  ]
  lines = []
  for row in rows:
    rate = row[pipeline]
    cells = [
      row["metric"].upper(),
      row["items"],
      row["clips"],
      len(row["missing"]),
      _interval(rate["utterance_mean"], percent),
      _interval(rate["corpus_level"], percent),
      rate["substitutions"],
      rate["deletions"],
      rate["insertions"],
      rate["units"],
    ]
    lines.append(_line(name_of(row), cells))
  total = [percent(mean[k]) for k in ("utterance_mean", "corpus_level")]
  lines.append(_line("Mean of the rows", [*[""] * 4, *total, *[""] * 4], True))
  return html.table(head, lines)


def _line(label: str, cells: Iterable[Any], strong: bool = False) -> str:
  """A row; `cells` are HTML or numbers."""
  kind = ' class="made"' if strong else ""
  return (
    f'<tr{kind}><th scope="row" dir="auto">{html.text(label)}</th>'
    + "".join(f"<td>{cell}</td>" for cell in cells)
    + "</tr>"
  )


def _interval(figure: Mapping[str, Any] | None, style) -> str:
  if figure is None or figure["value"] is None:
    return "–"
  small = ""
  if figure["low"] is not None:
    small = f"<small>{style(figure['low'])}–{style(figure['high'])}</small>"
  return f"{style(figure['value'])}{small}"


def _missing(rows: Sequence[Mapping[str, Any]]) -> str:
  """Names of the clips that are not there, or in which nobody speaks."""
  parts = []
  for what, meaning in (
    ("missing", "Missing: no clip, counted as wholly wrong"),
    ("silent", "Silent: a clip in which nobody speaks"),
  ):
    pairs = [
      (name_of(row), ", ".join(row[what])) for row in rows if row.get(what)
    ]
    if pairs:
      parts.append(f"<h3>{meaning}</h3>{html.definitions(pairs)}")
  return "".join(parts)


def _similarity(scores: Mapping[str, Any]) -> str:
  rows = [row for row in scores["rows"] if row["similarity"]]
  if not rows:
    return ""
  bars, lines = [], []
  for row in rows:
    found = row["similarity"]
    marks = {
      table.label(p): p.similarity
      for p in table.of_this_cloning(scores, row)
      if p.similarity is not None
      and table.comparable(scores, row["language"]).similarity
    }
    ends = [found[k]["value"] for k in ("other_speaker", "same_speaker")]
    band = None if None in ends else (ends[0], ends[1])
    bars.append(_bar(row, found["to_prompt"], 1, marks, band))
    lines.append(
      _line(
        name_of(row),
        [
          _interval(found[k], number)
          for k in ("to_prompt", "same_speaker", "other_speaker")
        ]
        + [found["to_prompt"]["n"], found["other_speaker"]["n"]],
      )
    )
  lines.append(
    _line("Mean", [number(scores["mean"]["similarity"]), *[""] * 4], True)
  )
  head = [
    html.column("Subset"),
    html.column("Clip to prompt"),
    html.column("Same speaker", "The speakers' own recordings."),
    html.column("Other speakers", "Prompts with each other."),
    html.column("Items"),
    html.column("Pairs", "Of prompts of other speakers"),
  ]
  lead = (
    "Cosine of speaker embeddings, more is better, by"
    f" {html.text(scores['judges']['speaker'])}. A cosine says nothing by"
    " itself: read it between two speakers' recordings (no cloning at all) and"
    " two recordings of one speaker."
  )
  return _section("similarity", lead, chart(bars, 3) + html.table(head, lines))


def _quality(scores: Mapping[str, Any]) -> str:
  rows = [row for row in scores["rows"] if row["quality"]]
  if not rows:
    return ""
  names = list(dict.fromkeys(name for row in rows for name in row["quality"]))
  lines = [
    _line(
      name_of(row),
      [_interval(row["quality"].get(n), "{:.2f}".format) for n in names],
    )
    for row in rows
  ]
  head = [html.column("Subset"), *(html.column(html.text(n)) for n in names)]
  lead = f"As {html.text(scores['judges']['quality'])} hears it, without text."
  return _section("quality", lead, html.table(head, lines))


# ---------------------------------------------------------------- published


def _published(scores: Mapping[str, Any]) -> str:
  if not table.has_published(scores):
    return ""
  shown = table.matrix(scores)
  head = [html.column(html.text(name)) for name in shown.head]
  lines = [
    _line(
      row[0],
      [html.text(cell) for cell in row[1:]],
      strong=row is shown.ours,
    )
    for row in shown.lines
  ]
  sources = "".join(f"<li>{html.text(source)}</li>" for source in shown.sources)
  return _section(
    "published",
    f"{html.text(_verdict(scores))} Each cell: error in percent / similarity.",
    f"{html.table(head, lines)}"
    + "".join(f'<p class="caption">{html.text(n)}</p>' for n in shown.notes)
    + f'<h3>Sources</h3><ul class="sources">{sources}</ul>',
  )


# -------------------------------------------------------------------- worst


class _Sounds:
  """Players, until the page is full."""

  def __init__(self, out: pathlib.Path):
    self._out = out
    self._left = _SOUND_BYTES
    self._known: dict[str, tuple[str, float]] = {}  # prompts come again

  def player(self, name: str | None, label: str) -> str:
    """A figure with the sound of a file, or a word on why there is none."""
    if name is None:
      return _figure(label, "", "<p class=empty>no clip</p>")
    try:
      sound, seconds = self._sound(name)
    except UserError as error:
      logging.warning("the page lacks a sound: %s", error)
      return _figure(label, "", "<p class=empty>cannot be read</p>")
    if len(sound) > self._left:
      return _figure(label, _length(seconds), "<p class=empty>page is full</p>")
    self._left -= len(sound)
    return _figure(label, _length(seconds), html.player(sound, label))

  def _sound(self, name: str) -> tuple[str, float]:
    """Its address and its seconds."""
    if name not in self._known:
      wave, rate = spectra.read(self._out / name)
      sound = media.compressed_sound(wave[: _SECONDS * rate], rate)
      self._known[name] = sound, len(wave) / rate
    return self._known[name]


def _length(seconds: float) -> str:
  cut = f", first {_SECONDS} s" if seconds > _SECONDS else ""
  return f"{seconds:.1f} s{cut}"


def _figure(label: str, told: str, content: str) -> str:
  return (
    f"<figure><figcaption>{label}<small>{told}</small></figcaption>"
    f"{content}</figure>"
  )


def _worst(worst: Sequence[Mapping[str, Any]], sounds: _Sounds) -> str:
  if not worst:
    return ""
  lead = (
    "Those with the highest error rates after the fair normalisation. In the"
    " edits, <del>struck out</del> is what should have been said and was not,"
    " <ins>underlined</ins> what was heard instead or besides."
  )
  cards = "".join(_card(item, sounds) for item in worst)
  return _section("worst", lead, cards)


def _card(item: Mapping[str, Any], sounds: _Sounds) -> str:
  seed = f", seed {item['seed']}" if item["seed"] else ""
  who = f"{item['subset']} · {item['key']}{seed}"
  heard = item["heard"]
  lang = f'lang="{html.text(item["language"])}" dir="auto"'
  if heard is None:
    said = "<p class=empty>nothing: the clip is missing</p>"
  else:
    said = f"<p {lang}>{html.text(heard) or '(nothing)'}</p>"
  return (
    f"<article><h3 {lang}>{html.text(item['text'])}</h3>"
    f'<p class="who">{html.text(who)} · error {percent(item["rate"])}&nbsp;%'
    f'</p><div class="told"><div><h4>Heard</h4>{said}</div><div><h4>Edits</h4>'
    f'<p class="edits" {lang}>{_edits(item)}</p></div></div>'
    f'<div class="clips">{sounds.player(item["clip"], "Clip")}'
    f"{sounds.player(item['prompt'], 'Prompt')}</div></article>"
  )


def _edits(item: Mapping[str, Any]) -> str:
  """Marked up so that it can be read without colours, and aloud."""
  parts = []
  for op, reference, heard in item["edits"]:
    if op == "=":
      parts.append(f"<span>{html.text(reference)}</span>")
    if op in "sd":
      parts.append(_edit("del", "not said", reference))
    if op in "si":
      parts.append(_edit("ins", "heard", heard))
  return " ".join(parts)


def _edit(tag: str, told: str, words: str) -> str:
  # An element with a direction of its own has no say in its parent's.
  return (
    f'<{tag}><span class="aloud" dir="ltr" lang="en">{told}: </span>'
    f"{html.text(words)}</{tag}>"
  )


# ------------------------------------------------------------------- origin


def _origin(scores: Mapping[str, Any]) -> str:
  settings = {
    k: v for k, v in scores.items() if k not in ("rows", "mean", "worst")
  }
  lead = (
    "Intervals are 95 % bootstraps over items, then over the seeds of each"
    " item. All figures are in <code>scores.json</code> beside this page."
  )
  return _section(
    "origin",
    lead,
    html.details("Table for a paper, in Markdown", markdown(scores))
    + html.details(
      "What was evaluated", json.dumps(settings, indent=2, ensure_ascii=False)
    ),
  )
