"""Ours beside what was published: the table of a paper."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from s02jax.core import languages
from s02jax.core import markdown as md
from s02jax.evaluation.benchmark import published
from s02jax.evaluation.benchmark.published import Published

Row = Mapping[str, Any]  # of scores.json
_FOREIGN = "†"
_NOTE = (
  f"{_FOREIGN} by another judge than the published figures': not to be compared"
  " with them."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparable:
  """Whether the judges are those of the published figures."""

  error: bool
  similarity: bool


def comparable(scores: Mapping[str, Any], language: str) -> Comparable:
  """Of a language: each recogniser has its own."""
  judges = scores["judges"]
  return Comparable(
    error=published.same_recogniser(
      language, judges["recognisers"].get(language)
    ),
    similarity=published.same_speaker_judge(judges["speaker"]),
  )


def has_published(scores: Mapping[str, Any]) -> bool:
  """Whether anything was published on the subsets."""
  return any(_known(scores, row) for row in scores["rows"])


def _known(scores: Mapping[str, Any], row: Row) -> Sequence[Published]:
  return published.figures(scores["benchmark"], row["subset"])


def of_this_cloning(scores: Mapping[str, Any], row: Row) -> list[Published]:
  """What was published on the row's subset, cloned as ours was."""
  known = _known(scores, row)
  return [p for p in known if p.cloning in (None, scores["cloning"])]


# -------------------------------------------------------------------- names


def name_of(row: Row) -> str:
  """Of a row, for people."""
  language = languages.BY_CODE[row["language"]].name
  if row["subset"] == row["language"]:
    return language
  return f"{row['subset']} ({language})"


def label(row: Published) -> str:
  """Of a system."""
  return row.system + (f", {row.cloning}" if row.cloning else "")


def percent(rate: float | None) -> str:
  """A fraction of 1 in percent, with the decimals of the report's tables."""
  return "–" if rate is None else f"{100 * rate:.3f}"


def number(value: float | None) -> str:
  """A cosine."""
  return "–" if value is None else f"{value:.3f}"


# -------------------------------------------------------------------- table


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matrix:
  """Subsets by systems, or systems by subsets where these are fewer."""

  head: list[str]
  lines: list[list[str]]  # the first cell names the line
  ours: list[str] | None  # the line that is ours; None: a column is
  notes: list[str]
  sources: list[str]


def matrix(scores: Mapping[str, Any]) -> Matrix:
  """Error in percent / similarity, of every system on every subset."""
  rows = scores["rows"]
  ours = f"{scores['system']}, {scores['cloning']}"
  lines = [[ours, *(_ours(scores, row) for row in rows)]]
  systems: dict[str, dict[int, Published]] = {}
  for i, row in enumerate(rows):
    for p in _known(scores, row):
      systems.setdefault(label(p), {})[i] = p
  lines += [
    [name, *(_theirs(found.get(i)) for i in range(len(rows)))]
    for name, found in systems.items()
  ]
  head = ["System", *map(name_of, rows)]
  transposed = len(rows) > len(lines)
  if transposed:
    head, *lines = zip(("Subset", *head[1:]), *lines, strict=True)
  shown = [list(line) for line in lines]
  foreign = any(_FOREIGN in cell for line in shown for cell in line[1:])
  return Matrix(
    head=list(head),
    lines=shown,
    ours=None if transposed else shown[0],
    notes=[_NOTE] if foreign else [],
    sources=published.sources(p for f in systems.values() for p in f.values()),
  )


def _ours(scores: Mapping[str, Any], row: Row) -> str:
  same = comparable(scores, row["language"])
  known = bool(_known(scores, row))
  error = percent(row["official"]["utterance_mean"]["value"])
  cosine = None
  if row["similarity"]:
    cosine = row["similarity"]["to_prompt"]["value"]
  first = error + _FOREIGN * (known and not same.error)
  second = number(cosine) + _FOREIGN * (
    known and cosine is not None and not same.similarity
  )
  return f"{first} / {second}"


def _theirs(found: Published | None) -> str:
  if found is None:
    return "–"
  return f"{found.error_text} / {number(found.similarity)}"


def markdown(scores: Mapping[str, Any]) -> str:
  """The same as text, with its sources."""
  shown = matrix(scores)
  lines = [
    f"{scores['benchmark']}, error in percent (official normalisation, mean of"
    " the utterances' rates) / speaker similarity.",
    "",
    md.table(shown.head, shown.lines).rstrip(),
  ]
  for note in shown.notes:
    lines += ["", note]
  if shown.sources:
    lines += ["", "Sources: " + "; ".join(shown.sources) + "."]
  return "\n".join(lines) + "\n"
