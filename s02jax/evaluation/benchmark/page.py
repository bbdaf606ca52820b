"""Page of `s02 evaluate`: one HTML file with bars, tables and the worst clips.

It shows the scores and the sounds that they name. All texts are escaped and
stand in their own direction, for anybody may have written them.
"""

import json
import logging
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from s02jax.audio import recording
from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.evaluation import html, media
from s02jax.evaluation.benchmark import published, table
from s02jax.evaluation.benchmark.chart import Bar, chart
from s02jax.evaluation.benchmark.plan import JudgeSpecs
from s02jax.evaluation.benchmark.scores import (
  MeanRates,
  Scores,
  SubsetScores,
  WorstClip,
)
from s02jax.evaluation.benchmark.table import name_of, number, percent
from s02jax.evaluation.figure import Figure

PAGE = "report.html"
SOUND_BYTES = 8_000_000  # that players may take
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


def write(scores: Scores, out: pathlib.Path) -> None:
  """Writes OUT/report.html.

  Args:
    scores: of the evaluation; clips are named relative to `out`.
    out: folder of the evaluation.

  Raises:
    UserError: the file cannot be written.
  """
  with files.explain_errors(out / PAGE, "the page"):
    files.write_text(out / PAGE, render(scores, out))


def render(
  scores: Scores, out: pathlib.Path, *, sound_bytes: int = SOUND_BYTES
) -> str:
  """Renders the page.

  Args:
    scores: of the evaluation.
    out: folder to which the names of clips are relative.
    sound_bytes: room for sounds; those beyond it are left out.

  Returns:
    the whole file as HTML.
  """
  title = _BENCHMARKS.get(scores.pins.benchmark, scores.pins.benchmark)
  parts = [
    _header(scores, title),
    _errors(scores),
    _similarity(scores),
    _quality(scores),
    _published(scores),
    _worst(scores.worst, _Sounds(out, sound_bytes)),
    _origin(scores),
  ]
  return html.document(f"{scores.pins.system}: {title}", parts, _SECTIONS)


def _section(name: str, lead: str, body: str) -> str:
  """Section with the heading of its name; `lead` and `body` are HTML."""
  return html.section(name, _SECTIONS[name], lead, body)


# ---------------------------------------------------------------------- top


def _header(scores: Scores, title: str) -> str:
  """Top of the page: what was evaluated, by whom, and the main figures."""
  pins = scores.pins
  facts = (
    f"{pins.system}, {pins.cloning} cloning: {pins.items} items"
    f" in {len(scores.subsets)} rows, {pins.seeds} seed(s) each. Set:"
    f" {scores.data}."
  )
  return (
    "<header><p class=eyebrow>s02jax · evaluation</p>"
    f'<h1 dir="auto">{html.text(title)}</h1><p>{html.text(facts)}</p>'
    f"<p>{html.text(_judges(pins.judges))}</p>"
    f'<p class="verdict">{html.text(_comparability(scores))}</p>'
    f"{_tiles(scores)}</header>"
  )


def _judges(judges: JudgeSpecs) -> str:
  """Sentence that names the judges."""
  return (
    f"Judges: words by {table.recognisers(judges)}; voices by"
    f" {judges.speaker or 'nobody'}; quality by {judges.quality or 'nobody'}."
    " No person has rated these clips."
  )


def _comparability(scores: Scores) -> str:
  """Sentences on whether published figures may be compared with ours."""
  if not table.has_published(scores):
    return "Nothing that is known here was published on these items."
  theirs = (
    f"Published figures come from {published.RECOGNISER} (Chinese:"
    f" {published.RECOGNISERS['zh']}) and {published.SPEAKER_JUDGE}."
  )
  same = [table.comparable(scores, s.language) for s in scores.subsets]
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


def _tiles(scores: Scores) -> str:
  """Main figures, large."""
  mean, subsets = scores.mean, scores.subsets
  missing = sum(len(subset.missing) for subset in subsets)
  clips = sum(subset.clips for subset in subsets)
  note = "mean of the rows"
  tiles = [
    html.tile(
      f"{percent(mean.rates[name].utterance_mean)}&nbsp;%",
      f"error, {name}",
      note,
    )
    for name in _PIPELINES
  ]
  if mean.similarity is not None:
    tiles.append(html.tile(number(mean.similarity), "similarity", note))
  tiles.append(html.tile(str(missing), "clips missing", f"of {clips}"))
  return f"<ul class=tiles>{''.join(tiles)}</ul>"


# ------------------------------------------------------------------ figures


def _errors(scores: Scores) -> str:
  """Section of error rates: bars, a table for each pipeline, missing clips."""
  subsets = scores.subsets
  bars = [
    _bar(
      subset,
      subset.rates["official"].utterance_mean,
      100,
      {
        table.label(p): p.error
        for p in table.of_this_cloning(scores, subset)
        if table.comparable(scores, subset.language).error
      },
    )
    for subset in subsets
  ]
  lead = (
    "In percent of the words or characters, less is better. Bars: official"
    " normalisation, mean over utterances, as the benchmarks' scripts print"
    " it. A missing clip counts as wholly wrong."
  )
  if any(subset.language == "yue" for subset in subsets):
    lead += " Whisper writes Cantonese badly, whoever speaks it."
  tables = "".join(
    f"<h3>{name.capitalize()} <small>{meaning}</small></h3>"
    + _error_table(subsets, name, scores.mean.rates[name])
    for name, meaning in _PIPELINES.items()
  )
  return _section("errors", lead, chart(bars, 2) + tables + _missing(subsets))


def _bar(
  subset: SubsetScores,
  figure: Figure,
  scale: float,
  marks: Mapping[str, float],
  band: tuple[float, float] | None = None,
) -> Bar:
  """Bar of a subset, its figure times `scale`."""
  value, low, high = (
    None if x is None else scale * x
    for x in (figure.value, figure.low, figure.high)
  )
  return Bar(
    label=name_of(subset),
    value=value,
    low=low,
    high=high,
    marks=marks,
    band=band,
  )


def _error_table(
  subsets: Sequence[SubsetScores], pipeline: str, mean: MeanRates
) -> str:
  """Table of the error rates by one pipeline."""
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
  for subset in subsets:
    rates = subset.rates[pipeline]
    cells = [
      subset.metric.upper(),
      subset.items,
      subset.clips,
      len(subset.missing),
      _interval(rates.utterance_mean, percent),
      _interval(rates.corpus_level, percent),
      rates.substitutions,
      rates.deletions,
      rates.insertions,
      rates.units,
    ]
    lines.append(_line(name_of(subset), cells))
  total = [percent(mean.utterance_mean), percent(mean.corpus_level)]
  lines.append(_line("Mean of the rows", [*[""] * 4, *total, *[""] * 4], True))
  return html.table(head, lines)


def _line(label: str, cells: Iterable[Any], strong: bool = False) -> str:
  """Line of a table; `cells` are HTML or numbers."""
  kind = ' class="made"' if strong else ""
  return (
    f'<tr{kind}><th scope="row" dir="auto">{html.text(label)}</th>'
    + "".join(f"<td>{cell}</td>" for cell in cells)
    + "</tr>"
  )


def _interval(figure: Figure | None, style: Callable[[float], str]) -> str:
  """Figure with its interval below it, or a dash."""
  if figure is None or figure.value is None:
    return "–"
  small = ""
  if figure.low is not None and figure.high is not None:
    small = f"<small>{style(figure.low)}–{style(figure.high)}</small>"
  return f"{style(figure.value)}{small}"


def _missing(subsets: Sequence[SubsetScores]) -> str:
  """Lists of the missing and of the silent clips."""
  parts = []
  for meaning, named in (
    (
      "Missing: no clip, counted as wholly wrong",
      [(subset, subset.missing) for subset in subsets],
    ),
    (
      "Silent: a clip in which nobody speaks",
      [(subset, subset.silent) for subset in subsets],
    ),
  ):
    pairs = [(name_of(s), ", ".join(names)) for s, names in named if names]
    if pairs:
      parts.append(f"<h3>{meaning}</h3>{html.definitions(pairs)}")
  return "".join(parts)


def _similarity(scores: Scores) -> str:
  """Section of speaker similarity; nothing where voices were not judged."""
  bars, lines = [], []
  for subset in scores.subsets:
    found = subset.similarity
    if found is None:
      continue
    marks = {
      table.label(p): p.similarity
      for p in table.of_this_cloning(scores, subset)
      if p.similarity is not None
      and table.comparable(scores, subset.language).similarity
    }
    low, high = found.other_speaker.value, found.same_speaker.value
    band = None if low is None or high is None else (low, high)
    bars.append(_bar(subset, found.to_prompt, 1, marks, band))
    figures = (found.to_prompt, found.same_speaker, found.other_speaker)
    cells = [_interval(figure, number) for figure in figures]
    lines.append(
      _line(
        name_of(subset),
        [*cells, found.to_prompt.n, found.other_speaker.n],
      )
    )
  if not lines:
    return ""
  lines.append(_line("Mean", [number(scores.mean.similarity), *[""] * 4], True))
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
    f" {html.text(scores.pins.judges.speaker)}. A cosine says nothing by"
    " itself: read it between two speakers' recordings (no cloning at all) and"
    " two recordings of one speaker."
  )
  return _section("similarity", lead, chart(bars, 3) + html.table(head, lines))


def _quality(scores: Scores) -> str:
  """Section of quality scores; nothing where quality was not judged."""
  found = [(s, s.quality) for s in scores.subsets if s.quality]
  if not found:
    return ""
  names = list(dict.fromkeys(name for _, quality in found for name in quality))
  lines = [
    _line(
      name_of(subset),
      [_interval(quality.get(name), "{:.2f}".format) for name in names],
    )
    for subset, quality in found
  ]
  head = [html.column("Subset"), *(html.column(html.text(n)) for n in names)]
  lead = f"As {html.text(scores.pins.judges.quality)} hears it, without text."
  return _section("quality", lead, html.table(head, lines))


# ---------------------------------------------------------------- published


def _published(scores: Scores) -> str:
  """Section of published figures; nothing where none are known."""
  if not table.has_published(scores):
    return ""
  shown = table.matrix(scores)
  head = [html.column(html.text(name)) for name in shown.head]
  lines = [
    _line(
      line[0],
      [html.text(cell) for cell in line[1:]],
      strong=line is shown.ours,
    )
    for line in shown.lines
  ]
  sources = "".join(f"<li>{html.text(source)}</li>" for source in shown.sources)
  return _section(
    "published",
    f"{html.text(_comparability(scores))} Each cell: error in percent /"
    " similarity.",
    f"{html.table(head, lines)}"
    + "".join(f'<p class="caption">{html.text(n)}</p>' for n in shown.notes)
    + f'<h3>Sources</h3><ul class="sources">{sources}</ul>',
  )


# -------------------------------------------------------------------- worst


class _Sounds:
  """Players of clips and prompts, until the page is full."""

  def __init__(self, out: pathlib.Path, room: int):
    """Reads files relative to `out`; sounds may take `room` bytes."""
    self._out = out
    self._left = room
    self._known: dict[str, tuple[str, float]] = {}  # prompts recur

  def player(self, name: str | None, label: str) -> str:
    """Figure with the sound of a file, or a word on why there is none."""
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
    """Data URI and seconds of a file. Raises UserError."""
    if name not in self._known:
      wave, rate = recording.read(self._out / name)
      sound = media.compressed_sound(wave[: _SECONDS * rate], rate)
      self._known[name] = sound, len(wave) / rate
    return self._known[name]


def _length(seconds: float) -> str:
  """Duration in words."""
  cut = f", first {_SECONDS} s" if seconds > _SECONDS else ""
  return f"{seconds:.1f} s{cut}"


def _figure(label: str, told: str, content: str) -> str:
  """Captioned figure; `content` is HTML."""
  return (
    f"<figure><figcaption>{label}<small>{told}</small></figcaption>"
    f"{content}</figure>"
  )


def _worst(worst: Sequence[WorstClip], sounds: _Sounds) -> str:
  """Section of the worst clips; nothing where all are right."""
  if not worst:
    return ""
  lead = (
    "Those with the highest error rates after the fair normalisation. In the"
    " edits, <del>struck out</del> is what should have been said and was not,"
    " <ins>underlined</ins> what was heard instead or besides."
  )
  cards = "".join(_card(item, sounds) for item in worst)
  return _section("worst", lead, cards)


def _card(clip: WorstClip, sounds: _Sounds) -> str:
  """Card of one clip: text, transcript, edits, sounds."""
  seed = f", seed {clip.seed}" if clip.seed else ""
  who = f"{clip.subset} · {clip.key}{seed}"
  heard = clip.heard
  lang = f'lang="{html.text(clip.language)}" dir="auto"'
  if heard is None:
    said = "<p class=empty>nothing: the clip is missing</p>"
  else:
    said = f"<p {lang}>{html.text(heard) or '(nothing)'}</p>"
  return (
    f"<article><h3 {lang}>{html.text(clip.text)}</h3>"
    f'<p class="who">{html.text(who)} · error {percent(clip.rate)}&nbsp;%'
    f'</p><div class="told"><div><h4>Heard</h4>{said}</div><div><h4>Edits</h4>'
    f'<p class="edits" {lang}>{_edits(clip.edits)}</p></div></div>'
    f'<div class="clips">{sounds.player(clip.clip, "Clip")}'
    f"{sounds.player(clip.prompt, 'Prompt')}</div></article>"
  )


def _edits(edits: Sequence[Sequence[str]]) -> str:
  """Edits marked up so that they can be read without colours, and aloud."""
  parts = []
  for op, reference, heard in edits:
    if op == "=":
      parts.append(f"<span>{html.text(reference)}</span>")
    if op in "sd":
      parts.append(_edit("del", "not said", reference))
    if op in "si":
      parts.append(_edit("ins", "heard", heard))
  return " ".join(parts)


def _edit(tag: str, told: str, words: str) -> str:
  """One edit, with words for those who do not see its marks."""
  # An element with a direction of its own has no say in its parent's.
  return (
    f'<{tag}><span class="aloud" dir="ltr" lang="en">{told}: </span>'
    f"{html.text(words)}</{tag}>"
  )


# ------------------------------------------------------------------- origin


def _origin(scores: Scores) -> str:
  """Section on how the figures were made."""
  lead = (
    "Intervals are 95 % bootstraps over items, then over the seeds of each"
    " item. All figures are in <code>scores.json</code> beside this page."
  )
  return _section(
    "origin",
    lead,
    html.details("Table for a paper, in Markdown", table.paper(scores))
    + html.details(
      "What was evaluated",
      json.dumps(scores.origin(), indent=2, ensure_ascii=False),
    ),
  )
