"""Scoring pass: judgements in the ledger -> rates, similarities, worst clips.

Texts are compared by both pipelines, voices by cosine, and the worst clips are
kept with their edits.
"""

import functools
import heapq
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.evaluation.benchmark.items import Item, first_names
from s02jax.evaluation.benchmark.ledger import (
  Asked,
  JudgeAnswer,
  Ledger,
  digest,
)
from s02jax.evaluation.benchmark.metrics import (
  Comparison,
  Cosines,
  Embeddings,
  Transcript,
  score_texts,
  score_voices,
)
from s02jax.evaluation.benchmark.plan import Evaluation, clip_name, relative
from s02jax.evaluation.benchmark.scores import (
  MeanRates,
  Means,
  Scores,
  SubsetScores,
  WorstClip,
)
from s02jax.evaluation.figure import Figure, item_mean
from s02jax.text.normalize import FAIR, NORMALISATIONS

WORST = 20  # clips that are kept
_OPS = {"equal": "=", "substitute": "s", "delete": "d", "insert": "i"}


class Unjudged(UserError):
  """Error of clips that were not judged yet, or changed since."""


def tabulate(evaluation: Evaluation, ledger: Ledger) -> Scores:
  """Computes all scores from the judges' answers.

  Raises:
    Unjudged: a clip has no judgement yet, or was replaced after it.
    UserError: a clip is missing.
  """
  _check_judged(evaluation, ledger)
  subsets: list[SubsetScores] = []
  worst: list[tuple[Comparison, Item]] = []
  for items in _by_subset(evaluation.items):
    scores, fair = _score_subset(items, evaluation, ledger)
    subsets.append(scores)
    by_key = {item.key: item for item in items}
    worst += [
      (one, by_key[one.transcript.key])
      for one in heapq.nlargest(WORST, fair, key=lambda one: one.edits.rate)
      if one.edits.errors
    ]
  worst.sort(key=lambda pair: -pair[0].edits.rate)
  return Scores(
    pins=evaluation.pins,
    data=str(evaluation.options.data),
    subsets=subsets,
    mean=_means(subsets),
    worst=[_worst(one, item, evaluation) for one, item in worst[:WORST]],
  )


def _by_subset(items: Sequence[Item]) -> Iterator[list[Item]]:
  """Yields the items of each subset and language, in the set's order."""
  numbers: dict[tuple[str, str], int] = {}
  for item in items:
    numbers.setdefault((item.subset, item.language), len(numbers))

  def number(item: Item) -> int:
    return numbers[item.subset, item.language]

  for _, alike in itertools.groupby(sorted(items, key=number), number):
    yield list(alike)


def _score_subset(
  items: Sequence[Item], evaluation: Evaluation, ledger: Ledger
) -> tuple[SubsetScores, Sequence[Comparison]]:
  """Scores of one subset, and its comparisons by the fair pipeline."""
  language = items[0].language
  spec = evaluation.pins.judges.recognisers[language]
  answers = [
    (item, seed, _answer(ledger, item, seed, spec))
    for item in items
    for seed in range(evaluation.options.seeds)
  ]
  transcripts = [
    Transcript(
      key=item.key,
      language=language,
      text=item.text,
      heard=_heard(answer),
      seed=seed,
    )
    for item, seed, answer in answers
  ]
  texts = {
    name: score_texts(transcripts, pipeline=pipeline)
    for name, pipeline in NORMALISATIONS.items()
  }
  fair = texts[FAIR.name]
  scores = SubsetScores(
    subset=items[0].subset,
    language=language,
    metric=fair.metric,
    items=len(items),
    clips=len(transcripts),
    missing=fair.missing,
    silent=[
      clip_name(item.key, seed)
      for item, seed, answer in answers
      if answer.silent
    ],
    rates={name: found.rates for name, found in texts.items()},
    similarity=_similarity(items, evaluation, ledger),
    quality=_quality(items, evaluation, ledger),
  )
  return scores, fair.comparisons


def _answer(ledger: Ledger, item: Item, seed: int, spec: str) -> JudgeAnswer:
  """Answer of a judge about a clip that was judged."""
  answer = ledger.get(Asked("clip", item.subset, item.key, seed, spec))
  assert answer is not None
  return answer


def _heard(answer: JudgeAnswer) -> str | None:
  """Transcript of a clip: None for a missing one, empty for a silent one."""
  if answer.missing is not None:
    return None
  return answer.heard or ""


def _means(subsets: Sequence[SubsetScores]) -> Means:
  """Averages over the subsets, each of which counts the same."""
  return Means(
    rates={
      name: MeanRates(
        utterance_mean=_mean(s.rates[name].utterance_mean for s in subsets),
        corpus_level=_mean(s.rates[name].corpus_level for s in subsets),
      )
      for name in NORMALISATIONS
    },
    similarity=_mean(
      s.similarity.to_prompt for s in subsets if s.similarity is not None
    ),
  )


def _mean(figures: Iterable[Figure]) -> float | None:
  """Mean of the values that were measured."""
  known = [figure.value for figure in figures if figure.value is not None]
  return sum(known) / len(known) if known else None


# ------------------------------------------------------------------- answers


def _asked(
  evaluation: Evaluation,
) -> Iterator[tuple[Asked, pathlib.Path | None]]:
  """Yields all that must have been judged, and its file if still there."""
  judges, options = evaluation.pins.judges, evaluation.options
  recordings = set()
  for item in evaluation.items:
    specs = [judges.recognisers[item.language], judges.speaker, judges.quality]
    for spec in specs:
      if spec is not None:
        for seed in range(options.seeds):
          asked = Asked("clip", item.subset, item.key, seed, spec)
          yield asked, evaluation.find(item, seed)
    if judges.speaker is None:
      continue
    for role, path in (("prompt", item.prompt_audio), ("truth", item.truth)):
      if path is None or (role == "truth" and options.truth):
        continue
      if (role, path) not in recordings:
        recordings.add((role, path))
        yield _recording(role, path, evaluation), path


def _check_judged(evaluation: Evaluation, ledger: Ledger) -> None:
  """Raises Unjudged or UserError unless every answer is there and valid.

  A clip that is not here any more needs no file: its answers count.
  """
  total, absent, changed, missing = 0, [], {}, {}
  now = functools.cache(digest)
  for asked, path in _asked(evaluation):
    total += 1
    answer = ledger.get(asked)
    name = f"{asked.subset}/{clip_name(asked.key, asked.seed)}".lstrip("/")
    if answer is None:
      absent.append(f"{asked.role} {name} by {asked.judge}")
    elif answer.missing is not None:
      missing[name] = answer.missing
    elif path is not None and now(path) != answer.file:
      changed[f"{asked.role} {name}"] = path
  if changed:
    raise Unjudged(
      f"{len(changed)} recordings are not those that were judged:"
      f" {first_names([*changed])}; run the pass `judge` of every shard again."
    )
  if absent:
    raise Unjudged(
      f"{len(absent)} of {total} judgements are still absent:"
      f" {first_names(absent)}; run the pass `judge` of every shard first."
    )
  if missing and not evaluation.options.allow_missing:
    raise UserError(
      f"{len(missing)} clips are missing: {first_names([*missing])}; make them,"
      " or count them as wholly wrong by --allow-missing."
    )


# -------------------------------------------------------------------- figures


def _similarity(
  items: Sequence[Item], evaluation: Evaluation, ledger: Ledger
) -> Cosines | None:
  """Speaker similarity of the items that have a prompt."""
  spec, options = evaluation.pins.judges.speaker, evaluation.options
  if spec is None:
    return None
  voice_of = functools.cache(lambda asked: _voice(ledger.get(asked)))
  voices = []
  for item in items:
    if item.prompt_audio is None:
      continue
    prompt = _recording("prompt", item.prompt_audio, evaluation)
    prompt_voice = voice_of(prompt)
    assert prompt_voice is not None  # a silent prompt was refused
    truth = None
    if item.truth is not None and options.truth:
      truth = _voice(_answer(ledger, item, 0, spec))
    elif item.truth is not None:
      truth = voice_of(_recording("truth", item.truth, evaluation))
    voices += [
      Embeddings(
        key=item.key,
        language=item.language,
        prompt_name=prompt.key,
        prompt=prompt_voice,
        clip=_voice(_answer(ledger, item, seed, spec)),
        truth=truth,
        seed=seed,
      )
      for seed in range(options.seeds)
    ]
  return score_voices(voices, judge=spec).cosines if voices else None


def _recording(role: str, path: pathlib.Path, evaluation: Evaluation) -> Asked:
  """Identity of a prompt or truth, judged once for all its items."""
  spec = evaluation.pins.judges.speaker
  assert spec is not None
  return Asked(role, "", relative(path, evaluation.options.data), 0, spec)


def _voice(answer: JudgeAnswer | None) -> np.ndarray | None:
  """Speaker vector float32[e] of an answer; None where nobody speaks."""
  return answer.voice if answer else None


def _quality(
  items: Sequence[Item], evaluation: Evaluation, ledger: Ledger
) -> Mapping[str, Figure] | None:
  """Quality by measure, of the clips in which there is something to hear."""
  spec = evaluation.pins.judges.quality
  if spec is None:
    return None
  found: dict[str, list[list[float]]] = {}
  for item in items:
    of_item: dict[str, list[float]] = {}
    for seed in range(evaluation.options.seeds):
      answer = _answer(ledger, item, seed, spec)
      for name, value in (answer.quality or {}).items():
        if value is not None:
          of_item.setdefault(name, []).append(value)
    for name, values in of_item.items():
      found.setdefault(name, []).append(values)
  return {name: item_mean(values) for name, values in found.items()}


def _worst(one: Comparison, item: Item, evaluation: Evaluation) -> WorstClip:
  """Text, edits and sounds of one of the worst clips."""
  transcript, edits = one.transcript, one.edits
  path = evaluation.find(item, transcript.seed)
  if path is not None and path.is_relative_to(evaluation.options.out):
    path = path.relative_to(evaluation.options.out)
  elif path is not None:
    path = path.resolve()
  metric = languages.BY_CODE[transcript.language].metric
  joint = " " if metric == "wer" else ""
  return WorstClip(
    subset=item.subset,
    key=transcript.key,
    seed=transcript.seed,
    language=transcript.language,
    text=transcript.text,
    heard=transcript.heard,
    rate=edits.rate,
    edits=[
      (_OPS[part.op], joint.join(part.ref), joint.join(part.hyp))
      for part in edits.alignment
    ],
    clip=str(path) if path else None,
    prompt=str(item.prompt_audio.resolve()) if item.prompt_audio else None,
  )


# -------------------------------------------------------------------- writing
