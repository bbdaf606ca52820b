"""Page about a corpus that was built: what came out, and clips to listen to."""

import collections
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.recordings.finishing import ATTRIBUTES
from data_pipelines.recordings.settings import Settings
from data_pipelines.recordings.store import Store
from s02jax.core import files, languages
from s02jax.data import records
from s02jax.evaluation import html, media
from s02jax.text import edits

NAME = "corpus.html"
_SHOWN = 20  # clips that were kept, and as many that were refused
_BINS = 24  # of a distribution
_MEASURES = {
  "seconds": "length, s",
  "pitch": "pitch, Hz",
  "rate": "letters a second",
  "loudness": "loudness before levelling, dB",
  "quality": "DNSMOS, overall",
  "bandwidth": "bandwidth, Hz",
  "error": "disagreement of the two transcripts",
}
_STEPS = {
  "source": "not found in the source",
  "decode": "not decoded",
  "pauses": "no speech, too short or too long",
  "language": "language unknown or not supported",
  "agreement": "transcripts disagree, or there is none",
  "one_speaker": "another voice than its recording's",
  "quality": "poor sound, or music",
  "record": "silent or clipped",
  "duplicates": "duplicate of a clip that is kept",
  "splits": "text held out",
}


def write(
  out: pathlib.Path, store: Store, shards: Sequence[int], settings: Settings
) -> None:
  """Writes the page of a corpus folder that is otherwise whole.

  Args:
    out: folder of the corpus.
    store: of its build.
    shards: their numbers.
    settings: of the build.
  """
  counts = [json.loads(store.counts(n).read_text("utf-8")) for n in shards]
  kept = _sum(counts, "kept")
  lost = _sum(counts, "refused")
  unread = store.unread.read_text("utf-8").count("\n")
  if unread:
    lost["source"] = (unread, 0.0)
  card = json.loads(records.CorpusFiles(out).card.read_text("utf-8"))
  good, bad = _chosen(store, shards)
  parts = [
    f"<header><h1>{html.text(out.name.strip('.').removesuffix('.part'))}</h1>"
    f"{_tiles(kept, lost, card)}</header>",
    html.section(
      "languages", "Languages", "Hours that were kept.", _languages(kept)
    ),
    html.section(
      "reasons",
      "Kept and refused",
      "Hours by the step that refused them; every clip and its reason is in"
      " rejected.jsonl.",
      _reasons(kept, lost),
    ),
    html.section(
      "distributions",
      "Distributions",
      "Of the clips that were kept, in all splits.",
      _distributions(out, card["rate"]),
    ),
    html.section(
      "kept", "Kept", "Clips chosen at random.",
      "".join(_clip(row, sound, settings) for row, sound in good),
    ),
    html.section(
      "refused", "Refused", "Clips chosen at random, and why.",
      "".join(_clip(row, sound, settings) for row, sound in bad),
    ),
  ]  # fmt: skip
  labels = {
    "languages": "Languages",
    "reasons": "Reasons",
    "distributions": "Distributions",
    "kept": "Kept",
    "refused": "Refused",
  }
  files.write_text(out / NAME, html.document("Corpus", parts, labels))


def _sum(counts: Sequence[Any], name: str) -> dict[str, tuple[int, float]]:
  """Clips and seconds by key, over all shards."""
  found: dict[str, tuple[int, float]] = collections.defaultdict(
    lambda: (0, 0.0)
  )
  for one in counts:
    for key, (clips, seconds) in one[name].items():
      found[key] = found[key][0] + clips, found[key][1] + seconds
  return dict(found)


def _tiles(kept, lost, card) -> str:
  seconds = sum(s for _, s in kept.values())
  clips = sum(n for n, _ in kept.values())
  refused = sum(s for _, s in lost.values())
  share = seconds / max(seconds + refused, 1e-9)
  items = [
    html.tile(_hours(seconds), "of speech", f"{clips} clips"),
    html.tile(f"{share:.0%}", "of what was cut is kept", _hours(refused)
              + " refused"),
    html.tile(str(len(card["speakers"])), "speakers", ""),
    html.tile(str(len(kept)), "languages", ""),
  ]  # fmt: skip
  return f'<ul class="tiles">{"".join(items)}</ul>'


def _hours(seconds: float) -> str:
  hours = seconds / 3600
  return f"{hours:,.1f} h" if hours >= 10 else f"{hours:.2f} h"


def _bars(rows: Sequence[tuple[str, int, float]], head: str) -> str:
  """Table with a bar for the seconds of each row."""
  most = max((seconds for _, _, seconds in rows), default=0.0) or 1.0
  cells = [
    f'<tr><th scope="row">{html.text(label)}</th><td>{clips:,}</td>'
    f"<td>{_hours(seconds)}</td>"
    f'<td class="wide"><i style="width:{100 * seconds / most:.1f}%"></i></td>'
    "</tr>"
    for label, clips, seconds in rows
  ]
  heads = [html.column(x) for x in (head, "clips", "hours", "")]
  return html.table(heads, cells, "list")


def _languages(kept: Mapping[str, tuple[int, float]]) -> str:
  rows = [
    (languages.BY_CODE[code].name, clips, seconds)
    for code, (clips, seconds) in sorted(
      kept.items(), key=lambda item: -item[1][1]
    )
  ]
  return _bars(rows, "language")


def _reasons(kept, lost) -> str:
  total = sum(n for n, _ in kept.values()), sum(s for _, s in kept.values())
  rows = [("kept", *total)]
  rows += [
    (_STEPS.get(step, step), *lost[step])
    for step in sorted(lost, key=lambda step: -lost[step][1])
  ]
  return _bars(rows, "")


def _distributions(out: pathlib.Path, rate: int) -> str:
  """Histograms of the measures of all records."""
  columns: dict[str, list[np.ndarray]] = collections.defaultdict(list)
  for split in records.SPLITS:
    index = records.Index.read(records.CorpusFiles(out).index(split))
    columns["seconds"].append(index.num_samples / rate)
    with np.load(out / "index" / f"{split}.attributes.npz") as found:
      for name in ATTRIBUTES:
        columns[name].append(found[name])
  figures = []
  for name, label in _MEASURES.items():
    values = np.concatenate(columns[name])
    values = values[np.isfinite(values)]
    if len(values):
      figures.append(
        f"<figure><figcaption>{label}<small>median"
        f" {np.median(values):.3g}</small></figcaption>"
        f"{_histogram(values, label)}</figure>"
      )
  return f'<div class="runs">{"".join(figures)}</div>'


def _histogram(values: np.ndarray, label: str) -> str:
  """Bars of a distribution, as SVG."""
  low, high = np.quantile(values, [0.002, 0.998])
  counts, edges = np.histogram(
    np.clip(values, low, high), _BINS, (low, high if high > low else low + 1)
  )
  width, height = 480, 110
  step = width / _BINS
  bars = "".join(
    f'<rect class="bar" x="{i * step:.1f}" width="{step - 1:.1f}"'
    f' y="{height - h:.1f}" height="{h:.1f}"/>'
    for i, h in enumerate(counts / max(counts.max(), 1) * height)
  )
  ends = (
    f'<text x="0" y="{height + 16}">{edges[0]:.3g}</text>'
    f'<text x="{width}" y="{height + 16}" text-anchor="end">{edges[-1]:.3g}'
    "</text>"
  )
  return (
    f'<svg viewBox="0 0 {width} {height + 20}" role="img"'
    f' aria-label="{html.text(label)}">{bars}{ends}</svg>'
  )


Shown = tuple[dict[str, Any], bytes]


def _chosen(
  store: Store, shards: Sequence[int]
) -> tuple[list[Shown], list[Shown]]:
  """Clips whose ids are the smallest: at random, but always the same."""
  good: list[tuple[str, int, dict]] = []
  bad: list[tuple[str, int, dict]] = []
  for shard in shards:
    fates = json.loads(store.decided(shard).read_text("utf-8"))
    for row in _first(store.read_found(shard), fates):
      chosen = bad if row["reason"] else good
      chosen.append((row["id"], shard, row))
    good = sorted(good, key=lambda x: x[0])[:_SHOWN]
    bad = sorted(bad, key=lambda x: x[0])[:_SHOWN]
  return _with_sounds(store, good), _with_sounds(store, bad)


def _first(rows: Iterator[dict], fates: Mapping[str, Any]) -> Iterator[dict]:
  """First rows of a shard that have a sound, some kept and some refused."""
  seen: collections.Counter[bool] = collections.Counter()
  for row in rows:
    *_, reason = fates.get(row["id"], (row["reason"],))
    if row["size"] and seen[bool(reason)] < _SHOWN:
      seen[bool(reason)] += 1
      yield row | {"reason": reason}


def _with_sounds(store: Store, chosen) -> list[Shown]:
  found = []
  for _, shard, row in chosen:
    with open(store.sounds(shard), "rb") as file:
      file.seek(row["offset"])
      found.append((row, file.read(row["size"])))
  return found


def _clip(row: Mapping[str, Any], sound: bytes, settings: Settings) -> str:
  """Article about a clip: its texts, aligned, what was measured, a player."""
  measures = [
    f"{name} {value:g}"
    for name, value in row["measures"].items()
    if value is not None
  ]
  who = f"{row['uri']}, {row['start']:.2f} to {row['end']:.2f} s"
  title = row["text"] or "(no text)"
  reason = (
    f'<p class="verdict">{html.text(row["reason"])}</p>'
    if row["reason"]
    else ""
  )
  return (
    f"<article><h4>{html.text(title)}</h4>"
    f'<p class="who">{html.text(who)}</p>{reason}'
    f'<div class="told">{_texts(row, settings)}</div>'
    f"{html.player(media.data_uri('audio/flac', sound), title)}"
    f'<p class="caption">{html.text(" · ".join(measures))}</p></article>'
  )


def _texts(row: Mapping[str, Any], settings: Settings) -> str:
  """The two texts of a clip; in the second, what differs from the first."""
  rules = settings.rules(row["language"]) if row["language"] else None
  names = [rules.first, rules.second] if rules else []
  told = list(zip(names, row["texts"], strict=False))
  if row["given"]:
    told.insert(0, ("given", row["given"]))
  if not told:
    return ""
  first = told[0][1]
  parts = [
    f"<div><h4>{html.text(told[0][0])}</h4><p>{html.text(first)}</p></div>"
  ]
  for name, text in told[1:2]:
    marked = _difference(first.split(), text.split())
    parts.append(f"<div><h4>{html.text(name)}</h4><p>{marked}</p></div>")
  return "".join(parts)


def _difference(a: Sequence[str], b: Sequence[str]) -> str:
  """Words of the second text, with what is not in the first marked."""
  found = []
  for edit in edits.edits(a, b).alignment:
    if edit.op == "equal":
      found.append(html.text(" ".join(edit.hyp)))
      continue
    if edit.ref:
      found.append(f"<del>{html.text(' '.join(edit.ref))}</del>")
    if edit.hyp:
      found.append(f"<ins>{html.text(' '.join(edit.hyp))}</ins>")
  return " ".join(found)
