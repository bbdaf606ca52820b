"""Markdown tables: scores.md, and paper.md with the published figures."""

import dataclasses
import pathlib
from collections.abc import Sequence

from s02jax.core import files, languages, markdown
from s02jax.evaluation.benchmark import published
from s02jax.evaluation.benchmark.plan import JudgeSpecs
from s02jax.evaluation.benchmark.published import Published
from s02jax.evaluation.benchmark.scores import Scores, SubsetScores
from s02jax.evaluation.figure import Figure
from s02jax.text.normalize import NORMALISATIONS

_FOREIGN = "†"
_NOTE = (
  f"{_FOREIGN} by another judge than the published figures': not to be compared"
  " with them."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparable:
  """Whether our figures and the published ones are by the same judges."""

  error: bool
  similarity: bool


def comparable(scores: Scores, language: str) -> Comparable:
  """Compares the judges of a language with those of the published figures."""
  judges = scores.pins.judges
  return Comparable(
    error=published.same_recogniser(language, judges.recognisers.get(language)),
    similarity=published.same_speaker_judge(judges.speaker),
  )


def has_published(scores: Scores) -> bool:
  """Whether anything was published on the subsets."""
  return any(_known(scores, subset) for subset in scores.subsets)


def _known(scores: Scores, subset: SubsetScores) -> Sequence[Published]:
  """Published figures of a subset."""
  return published.figures(scores.pins.benchmark, subset.subset)


def of_this_cloning(scores: Scores, subset: SubsetScores) -> list[Published]:
  """Published figures of a subset, of systems that cloned as ours did."""
  known = _known(scores, subset)
  return [p for p in known if p.cloning in (None, scores.pins.cloning)]


# -------------------------------------------------------------------- names


def name_of(subset: SubsetScores) -> str:
  """Name of a subset for people."""
  language = languages.BY_CODE[subset.language].name
  if subset.subset == subset.language:
    return language
  return f"{subset.subset} ({language})"


def label(system: Published) -> str:
  """Name of a published system, with its way of cloning."""
  return system.system + (f", {system.cloning}" if system.cloning else "")


def recognisers(judges: JudgeSpecs) -> str:
  """Recognisers by spec, each with its languages."""
  by_spec: dict[str, list[str]] = {}
  for code, spec in judges.recognisers.items():
    by_spec.setdefault(spec, []).append(code)
  return "; ".join(f"{spec} ({', '.join(c)})" for spec, c in by_spec.items())


def percent(rate: float | None) -> str:
  """Fraction of 1 in percent, with the decimals of the report's tables."""
  return "–" if rate is None else f"{100 * rate:.3f}"


def number(value: float | None) -> str:
  """Cosine with three decimals."""
  return "–" if value is None else f"{value:.3f}"


# ----------------------------------------------------------------- scores.md

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


def summary(scores: Scores) -> str:
  """Content of scores.md: a line for each subset, rates in percent."""
  pins = scores.pins
  judges = pins.judges
  lines = [
    f"# {pins.system} on {pins.benchmark}",
    "",
    f"{pins.cloning}, {pins.items} items, {pins.seeds} seed(s)."
    f" Words by {recognisers(judges)}; voices by {judges.speaker or 'nobody'};"
    f" quality by {judges.quality or 'nobody'}.",
    "",
    "Error rates in percent with their 95 % intervals: `mean` is the mean of"
    " the utterances' rates, `corpus` all edits over all units; `official` and"
    " `fair` are the two ways of comparing texts. Similarities are cosines,"
    " between those of recordings of the same and of other speakers; their"
    " intervals draw items, as if no two shared a prompt. Quality is of the"
    " items in which there is something to hear, as many as (n) says.",
    "",
  ]
  cells = ["mean of the rows", *[""] * 4]
  for name in NORMALISATIONS:
    rates = scores.mean.rates[name]
    cells += [percent(rates.utterance_mean), percent(rates.corpus_level)]
  cells += ["", number(scores.mean.similarity), "", "", ""]
  body = [*map(_summary_cells, scores.subsets), cells]
  lines.append(markdown.table(_HEAD, body).rstrip())
  for subset in scores.subsets:
    for what, names in (("missing", subset.missing), ("silent", subset.silent)):
      if names:
        lines += ["", f"{subset.subset}, {what}: {', '.join(names)}."]
  return "\n".join(lines) + "\n"


def _summary_cells(subset: SubsetScores) -> list[str]:
  """Cells of a subset in scores.md."""
  rates = [subset.rates[name] for name in NORMALISATIONS]
  fair, alike = subset.rates["fair"], subset.similarity
  edits = (fair.substitutions, fair.deletions, fair.insertions)
  cosines = [None] * 3
  if alike is not None:
    figures = (alike.to_prompt, alike.same_speaker, alike.other_speaker)
    cosines = [figure.value for figure in figures]
  quality = [
    f"{name} {figure.value:.2f} ({figure.n})"
    for name, figure in (subset.quality or {}).items()
    if figure.value is not None
  ]
  return [
    subset.subset,
    subset.language,
    subset.metric.upper(),
    str(subset.items),
    str(len(subset.missing)),
    *(
      _interval(figure)
      for found in rates
      for figure in (found.utterance_mean, found.corpus_level)
    ),
    f"{' / '.join(map(str, edits))} of {fair.units}",
    *map(number, cosines),
    ", ".join(quality) or "–",
  ]


def _interval(figure: Figure) -> str:
  """Rate in percent with its interval, if it has one."""
  if figure.low is None:
    return percent(figure.value)
  low, high = percent(figure.low), percent(figure.high)
  return f"{percent(figure.value)} [{low}, {high}]"


# ------------------------------------------------------------------ paper.md


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matrix:
  """Table of systems by subsets, transposed where subsets are many."""

  head: list[str]
  lines: list[list[str]]  # the first cell names the line
  ours: list[str] | None  # the line of our system; None: it is a column
  notes: list[str]
  sources: list[str]


def matrix(scores: Scores) -> Matrix:
  """Error in percent / similarity, of every system on every subset."""
  subsets = scores.subsets
  ours = f"{scores.pins.system}, {scores.pins.cloning}"
  lines = [[ours, *(_ours(scores, subset) for subset in subsets)]]
  systems: dict[str, dict[int, Published]] = {}
  for i, subset in enumerate(subsets):
    for p in _known(scores, subset):
      systems.setdefault(label(p), {})[i] = p
  lines += [
    [name, *(_theirs(found.get(i)) for i in range(len(subsets)))]
    for name, found in systems.items()
  ]
  head = ["System", *map(name_of, subsets)]
  transposed = len(subsets) > len(lines)
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


def _ours(scores: Scores, subset: SubsetScores) -> str:
  """Cell of our system, marked where another judge forbids to compare."""
  same = comparable(scores, subset.language)
  known = bool(_known(scores, subset))
  error = percent(subset.rates["official"].utterance_mean.value)
  cosine = subset.similarity.to_prompt.value if subset.similarity else None
  first = error + _FOREIGN * (known and not same.error)
  second = number(cosine) + _FOREIGN * (
    known and cosine is not None and not same.similarity
  )
  return f"{first} / {second}"


def _theirs(found: Published | None) -> str:
  """Cell of a published system."""
  if found is None:
    return "–"
  return f"{found.error_text} / {number(found.similarity)}"


def paper(scores: Scores) -> str:
  """Content of paper.md: ours beside what was published, with sources."""
  shown = matrix(scores)
  lines = [
    f"{scores.pins.benchmark}, error in percent (official normalisation, mean"
    " of the utterances' rates) / speaker similarity.",
    "",
    markdown.table(shown.head, shown.lines).rstrip(),
  ]
  for note in shown.notes:
    lines += ["", note]
  if shown.sources:
    lines += ["", "Sources: " + "; ".join(shown.sources) + "."]
  return "\n".join(lines) + "\n"


def write(scores: Scores, out: pathlib.Path) -> None:
  """Writes OUT/scores.md and OUT/paper.md."""
  files.write_text(out / "scores.md", summary(scores))
  files.write_text(out / "paper.md", paper(scores))
