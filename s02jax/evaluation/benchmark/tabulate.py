"""The pass that counts: OUT/scores.json and scores.md from what was judged.

A row is a subset in one language. Rates are fractions of 1; every figure has
its 95 % interval and the number behind it.
"""

import dataclasses
import functools
import heapq
import itertools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from s02jax.core import files, languages
from s02jax.core import markdown as md
from s02jax.core.errors import UserError
from s02jax.evaluation import figure as figure_lib
from s02jax.evaluation.benchmark import score as score_lib
from s02jax.evaluation.benchmark.clips import Find
from s02jax.evaluation.benchmark.datasets import Item
from s02jax.evaluation.benchmark.ledger import (
  Asked,
  Ledger,
  Record,
  decode,
  digest,
)
from s02jax.evaluation.benchmark.listen import Specs
from s02jax.evaluation.benchmark.plan import clip_name, relative
from s02jax.evaluation.benchmark.score import Clip, Score, Utterance, Voice
from s02jax.evaluation.benchmark.table import number, percent
from s02jax.evaluation.figure import Figure
from s02jax.text.normalize import FAIR, OFFICIAL

VERSION = 1
WORST = 20  # utterances that are shown
_LISTED = 10  # of what is not judged
_OPS = {"equal": "=", "substitute": "s", "delete": "d", "insert": "i"}

Scores = dict[str, Any]


class Unjudged(UserError):
  """Some clips were not judged yet."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Count:
  """What is counted, and by what."""

  items: Sequence[Item]
  seeds: int
  root: pathlib.Path  # of the benchmark
  out: pathlib.Path  # of the evaluation
  find: Find  # the clips, where they are still there
  specs: Specs
  truth: bool  # the recordings themselves are scored
  allow_missing: bool


def rows(count: Count, ledger: Ledger) -> tuple[list[Scores], list[Scores]]:
  """The rows of the table, and the worst utterances.

  Raises:
    Unjudged: a clip has no judgement yet, or was replaced after it.
    UserError: a clip is missing.
  """
  _check_judged(count, ledger)
  table, worst = [], []
  alike = itertools.groupby(
    sorted(count.items, key=_order(count.items)),
    lambda item: (item.subset, item.language),
  )
  for (subset, language), some in alike:
    items = list(some)
    spec = count.specs.recognisers[language]
    heard = [
      (item, seed, _of(ledger, "clip", item, seed, spec))
      for item in items
      for seed in range(count.seeds)
    ]
    clips = [
      Clip(
        key=item.key,
        language=language,
        text=item.text,
        heard=_heard(record),
        seed=seed,
      )
      for item, seed, record in heard
    ]
    official = score_lib.score(clips, pipeline=OFFICIAL)
    fair = score_lib.score(clips, pipeline=FAIR)
    table.append(
      {
        "subset": subset,
        "language": language,
        "metric": fair.metric,
        "items": len(items),
        "clips": len(clips),
        "missing": list(fair.missing),
        "silent": [
          clip_name(item.key, seed)
          for item, seed, record in heard
          if "silent" in record
        ],
        "official": _rate(official),
        "fair": _rate(fair),
        "similarity": _similarity(items, count, ledger),
        "quality": _quality(items, count, ledger),
      }
    )
    by_key = {item.key: item for item in items}
    worst += [
      (u, by_key[u.clip.key])
      for u in heapq.nlargest(
        WORST, fair.utterances, key=lambda u: u.edits.rate
      )
      if u.edits.errors
    ]
  worst.sort(key=lambda pair: -pair[0].edits.rate)
  return table, [_shown(u, item, count) for u, item in worst[:WORST]]


def _order(items: Sequence[Item]):
  """A key that brings the items of a row together, in the set's order."""
  numbers: dict[tuple[str, str], int] = {}
  for item in items:
    numbers.setdefault((item.subset, item.language), len(numbers))
  return lambda item: numbers[item.subset, item.language]


def _of(ledger: Ledger, role: str, item: Item, seed: int, spec: str) -> Record:
  record = ledger.get(Asked(role, item.subset, item.key, seed, spec))
  assert record is not None
  return record


def _heard(record: Record) -> str | None:
  if "missing" in record:
    return None
  return record.get("heard", "")  # nothing, where nobody speaks


def mean(table: Sequence[Mapping[str, Any]]) -> Scores:
  """Of the rows, each counting the same."""

  def of(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

  return {
    **{
      pipeline: {
        "utterance_mean": of(
          row[pipeline]["utterance_mean"]["value"] for row in table
        ),
        "corpus_level": of(
          row[pipeline]["corpus_level"]["value"] for row in table
        ),
      }
      for pipeline in ("official", "fair")
    },
    "similarity": of(
      row["similarity"]["to_prompt"]["value"]
      for row in table
      if row["similarity"]
    ),
  }


# ------------------------------------------------------------- what is judged


def _asked(count: Count) -> Iterator[tuple[Asked, pathlib.Path | None]]:
  """All that must have been judged, and the file where it is still there."""
  recordings = set()
  for item in count.items:
    specs = [count.specs.recognisers[item.language], count.specs.speaker]
    for spec in (*specs, count.specs.quality):
      if spec is not None:
        for seed in range(count.seeds):
          asked = Asked("clip", item.subset, item.key, seed, spec)
          yield asked, count.find(item, seed)
    if count.specs.speaker is None:
      continue
    for role, path in (("prompt", item.prompt_audio), ("truth", item.truth)):
      if path is None or (role == "truth" and count.truth):
        continue
      if (role, path) not in recordings:
        recordings.add((role, path))
        yield _recording(role, path, count), path


def _check_judged(count: Count, ledger: Ledger) -> None:
  """Of clips that are not here any more, the judgements count."""
  total, absent, changed, missing = 0, [], {}, {}
  now = functools.cache(digest)
  for asked, path in _asked(count):
    total += 1
    record = ledger.get(asked)
    name = f"{asked.subset}/{clip_name(asked.key, asked.seed)}".lstrip("/")
    if record is None:
      absent.append(f"{asked.role} {name} by {asked.judge}")
    elif "missing" in record:
      missing[name] = record["missing"]
    elif path is not None and now(path) != record["file"]:
      changed[f"{asked.role} {name}"] = path
  if changed:
    raise Unjudged(
      f"{len(changed)} recordings are not those that were judged:"
      f" {_first([*changed])}; run the pass `judge` of every shard again."
    )
  if absent:
    raise Unjudged(
      f"{len(absent)} of {total} judgements are still absent: {_first(absent)};"
      " run the pass `judge` of every shard first."
    )
  if missing and not count.allow_missing:
    raise UserError(
      f"{len(missing)} clips are missing: {_first([*missing])}; make them, or"
      " count them as wholly wrong by --allow-missing."
    )


def _first(names: Sequence[str]) -> str:
  rest = len(names) - _LISTED
  listed = ", ".join(names[:_LISTED])
  return f"{listed} and {rest} more" if rest > 0 else listed


# -------------------------------------------------------------------- figures


def _figure(figure: Figure) -> Scores:
  return {
    "value": figure.value,
    "low": figure.low,
    "high": figure.high,
    "n": figure.n,
  }


def _rate(score: Score) -> Scores:
  return {
    "utterance_mean": _figure(score.utterance_mean),
    "corpus_level": _figure(score.corpus_level),
    "substitutions": score.substitutions,
    "deletions": score.deletions,
    "insertions": score.insertions,
    "units": score.units,
  }


def _similarity(
  items: Sequence[Item], count: Count, ledger: Ledger
) -> Scores | None:
  spec = count.specs.speaker
  prompted = [item for item in items if item.prompt_audio is not None]
  if spec is None or not prompted:
    return None
  known: dict[Asked, Any] = {}

  def voice_of(asked: Asked):
    if asked not in known:
      known[asked] = _vector(ledger.get(asked))
    return known[asked]

  voices = []
  for item in prompted:
    assert item.prompt_audio is not None
    prompt = _recording("prompt", item.prompt_audio, count)
    truth = None
    if item.truth is not None and count.truth:
      truth = _vector(_of(ledger, "clip", item, 0, spec))
    elif item.truth is not None:
      truth = voice_of(_recording("truth", item.truth, count))
    voices += [
      Voice(
        key=item.key,
        language=item.language,
        prompt_name=prompt.key,
        prompt=voice_of(prompt),
        clip=_vector(_of(ledger, "clip", item, seed, spec)),
        truth=truth,
        seed=seed,
      )
      for seed in range(count.seeds)
    ]
  found = score_lib.similarity(voices, judge=spec)
  return {
    "to_prompt": _figure(found.to_prompt),
    "same_speaker": _figure(found.same_speaker),
    "other_speaker": _figure(found.other_speaker),
  }


def _recording(role: str, path: pathlib.Path, count: Count) -> Asked:
  """A prompt or a truth, which is judged once for all its items."""
  assert count.specs.speaker is not None
  return Asked(role, "", relative(path, count.root), 0, count.specs.speaker)


def _vector(record: Record | None) -> np.ndarray | None:
  """None where nobody speaks."""
  return decode(record["voice"]) if record and "voice" in record else None


def _quality(
  items: Sequence[Item], count: Count, ledger: Ledger
) -> Scores | None:
  """Of the clips in which there is something to hear."""
  spec = count.specs.quality
  if spec is None:
    return None
  found: dict[str, list[list[float]]] = {}
  for item in items:
    of_item: dict[str, list[float]] = {}
    for seed in range(count.seeds):
      record = _of(ledger, "clip", item, seed, spec)
      for name, value in record.get("quality", {}).items():
        if value is not None:
          of_item.setdefault(name, []).append(value)
    for name, values in of_item.items():
      found.setdefault(name, []).append(values)
  return {
    name: _figure(figure_lib.item_mean(values))
    for name, values in found.items()
  }


def _shown(utterance: Utterance, item: Item, count: Count) -> Scores:
  clip, edits = utterance.clip, utterance.edits
  path = count.find(item, clip.seed)
  if path is not None and path.is_relative_to(count.out):
    path = path.relative_to(count.out)
  elif path is not None:
    path = path.resolve()
  joint = " " if languages.BY_CODE[clip.language].metric == "wer" else ""
  return {
    "subset": item.subset,
    "key": clip.key,
    "seed": clip.seed,
    "language": clip.language,
    "text": clip.text,
    "heard": clip.heard,
    "rate": edits.rate,
    "edits": [
      [_OPS[part.op], joint.join(part.ref), joint.join(part.hyp)]
      for part in edits.alignment
    ],
    "clip": path and str(path),
    "prompt": str(item.prompt_audio.resolve()) if item.prompt_audio else None,
  }


# -------------------------------------------------------------------- writing


def write(scores: Mapping[str, Any], out: pathlib.Path) -> None:
  """Writes scores.json and scores.md."""
  files.write_text(out / "scores.md", markdown(scores))
  files.write_json(out / "scores.json", scores)


_HEAD = (
  "subset",
  "language",
  "metric",
  "items",
  "missing",
  "official mean",
  "official corpus",
  "fair mean",
  "fair corpus",
  "S / D / I of units",
  "similarity",
  "same",
  "other",
  "quality",
)


def markdown(scores: Mapping[str, Any]) -> str:
  """The table for people; rates in percent."""
  judges = scores["judges"]
  by_spec: dict[str, list[str]] = {}
  for code, spec in judges["recognisers"].items():
    by_spec.setdefault(spec, []).append(code)
  heard = "; ".join(f"{spec} ({', '.join(c)})" for spec, c in by_spec.items())
  lines = [
    f"# {scores['system']} on {scores['benchmark']}",
    "",
    f"{scores['cloning']}, {scores['items']} items, {scores['seeds']} seed(s)."
    f" Words by {heard}; voices by {judges['speaker'] or 'nobody'}; quality by"
    f" {judges['quality'] or 'nobody'}.",
    "",
    "Error rates in percent with their 95 % intervals: `mean` is the mean of"
    " the utterances' rates, `corpus` all edits over all units; `official` and"
    " `fair` are the two ways of comparing texts. Similarities are cosines,"
    " between those of recordings of the same and of other speakers; their"
    " intervals draw items, as if no two shared a prompt. Quality is of the"
    " items in which there is something to hear, as many as (n) says.",
    "",
  ]
  body = [_line(row) for row in scores["rows"]]
  total = scores["mean"]
  cells = ["mean of the rows", *[""] * 4]
  for pipeline in ("official", "fair"):
    cells += [
      percent(total[pipeline][name])
      for name in ("utterance_mean", "corpus_level")
    ]
  cells += ["", number(total["similarity"]), "", "", ""]
  lines.append(md.table(_HEAD, [*body, cells]).rstrip())
  for row in scores["rows"]:
    for what in ("missing", "silent"):
      if row[what]:
        lines += ["", f"{row['subset']}, {what}: {', '.join(row[what])}."]
  return "\n".join(lines) + "\n"


def _line(row: Mapping[str, Any]) -> list[str]:
  fair, alike = row["fair"], row["similarity"] or {}
  edits = [fair[x] for x in ("substitutions", "deletions", "insertions")]
  quality = [
    f"{name} {figure['value']:.2f} ({figure['n']})"
    for name, figure in (row["quality"] or {}).items()
    if figure["value"] is not None
  ]
  return [
    row["subset"],
    row["language"],
    row["metric"].upper(),
    str(row["items"]),
    str(len(row["missing"])),
    *(
      _interval(row[pipeline][name])
      for pipeline in ("official", "fair")
      for name in ("utterance_mean", "corpus_level")
    ),
    f"{' / '.join(map(str, edits))} of {fair['units']}",
    *(
      number(alike[name]["value"] if alike else None)
      for name in ("to_prompt", "same_speaker", "other_speaker")
    ),
    ", ".join(quality) or "–",
  ]


def _interval(figure: Mapping[str, Any]) -> str:
  if figure["low"] is None:
    return percent(figure["value"])
  low, high = percent(figure["low"]), percent(figure["high"])
  return f"{percent(figure['value'])} [{low}, {high}]"
