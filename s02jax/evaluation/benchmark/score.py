"""Error rates and voice similarity of a benchmark, with their intervals.

Two rates, each under its name, because papers mix them up:

- `utterance_mean`: the mean of each utterance's own rate, every item counting
  the same (what seed-tts-eval prints);
- `corpus_level`: all edits over all reference units, so that long sentences
  count for more.

A clip that is not there is wholly wrong (rate 1, similarity 0) and is named in
the score: nothing is skipped. Intervals are percentile bootstraps: items are
drawn with replacement, then the seeds within each drawn item.

Shape letters: i items, s seeds of an item, e embedding, r resamples.
"""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from s02jax.core.errors import UserError
from s02jax.core.languages import BY_CODE
from s02jax.evaluation.figure import Figure, item_mean, ratio
from s02jax.text.edits import Edits, edits
from s02jax.text.normalize import FAIR, Metric, Pipeline, units


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
  """One recording of an item and what a recogniser made of it."""

  key: str  # of the item
  language: str  # code
  text: str  # that was to be spoken
  heard: str | None  # None: the clip is missing
  seed: int = 0  # several clips of an item differ by it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Utterance:
  """A clip, compared."""

  clip: Clip
  edits: Edits

  @property
  def missing(self) -> bool:
    return self.clip.heard is None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
  """The error rates of one set of clips of one language."""

  metric: Metric  # words or characters are counted
  pipeline: str  # by which the texts were normalised
  utterance_mean: Figure  # n: items
  corpus_level: Figure
  substitutions: int
  deletions: int
  insertions: int
  units: int  # of the references
  clips: int
  missing: tuple[str, ...]  # "key" or "key (seed 2)", wholly wrong
  utterances: tuple[Utterance, ...]


# -------------------------------------------------------------- error rates


def compare(
  clip: Clip, *, pipeline: Pipeline = FAIR, metric: Metric | None = None
) -> Utterance:
  """Counts and aligns the edits of a clip.

  Args:
    clip: to be compared.
    pipeline: of the normalisation.
    metric: of the counting; None takes the language's own.

  Raises:
    UserError: the text has nothing in it that could be spoken.
  """
  metric = metric or BY_CODE[clip.language].metric
  truth = reference(clip.key, clip.text, clip.language, pipeline, metric)
  return Utterance(
    clip=clip, edits=edits(truth, _heard(clip, pipeline, metric))
  )


def reference(
  key: str, text: str, language: str, pipeline: Pipeline, metric: Metric
) -> list[str]:
  """The units of a text that was to be spoken.

  Raises:
    UserError: it has nothing in it that could be spoken.
  """
  found = units(pipeline.reference(text, BY_CODE[language]), metric)
  if not found:
    raise UserError(
      f"item {key!r}: nothing of its text {text!r} is left after the"
      f" {pipeline.name} normalisation; give it words or take it out."
    )
  return found


def _heard(clip: Clip, pipeline: Pipeline, metric: Metric) -> list[str]:
  """No unit where the clip is missing: then everything was deleted."""
  if clip.heard is None:
    return []
  heard = pipeline.hypothesis(clip.heard, BY_CODE[clip.language])
  return units(heard, metric)


def score(
  clips: Sequence[Clip],
  *,
  pipeline: Pipeline = FAIR,
  metric: Metric | None = None,
  seed: int = 0,
) -> Score:
  """The error rates of clips of one language.

  Args:
    clips: of one language; those of one key are seeds of one item.
    pipeline: of the normalisation.
    metric: of the counting; None takes the language's own.
    seed: of the bootstrap.

  Raises:
    UserError: there is no clip, an item is there twice with one seed, or has a
      text without words.
  """
  _check(clips)
  metric = metric or BY_CODE[clips[0].language].metric
  found = tuple(compare(c, pipeline=pipeline, metric=metric) for c in clips)
  groups = collections.defaultdict(list)
  for utterance in found:
    groups[utterance.clip.key].append(utterance.edits)
  items = list(groups.values())
  return Score(
    metric=metric,
    pipeline=pipeline.name,
    utterance_mean=item_mean(
      [[e.rate for e in item] for item in items], seed=seed
    ),
    corpus_level=ratio(
      [[e.errors for e in item] for item in items],
      [[e.units for e in item] for item in items],
      seed=seed,
    ),
    substitutions=sum(u.edits.substitutions for u in found),
    deletions=sum(u.edits.deletions for u in found),
    insertions=sum(u.edits.insertions for u in found),
    units=sum(u.edits.units for u in found),
    clips=len(found),
    missing=tuple(_name(u.clip) for u in found if u.missing),
    utterances=found,
  )


def by_language(
  clips: Sequence[Clip], *, pipeline: Pipeline = FAIR, seed: int = 0
) -> dict[str, Score]:
  """One score for each language, in the order of the clips."""
  groups = collections.defaultdict(list)
  for clip in clips:
    groups[clip.language].append(clip)
  return {
    code: score(group, pipeline=pipeline, seed=seed)
    for code, group in groups.items()
  }


def _check(clips: Sequence[Clip]) -> None:
  if not clips:
    raise UserError("there is no clip to score; give the items of a benchmark.")
  if len({clip.language for clip in clips}) > 1:
    raise ValueError("clips of several languages; use by_language")
  counts = collections.Counter((clip.key, clip.seed) for clip in clips)
  (key, seed), most = counts.most_common(1)[0]
  if most > 1:
    raise UserError(
      f"item {key!r} is there {most} times with seed {seed}; each clip of an"
      " item needs a seed of its own."
    )


def _name(clip: "Clip | Voice") -> str:
  return f"{clip.key} (seed {clip.seed})" if clip.seed else clip.key


# --------------------------------------------------------------- similarity


@dataclasses.dataclass(frozen=True, kw_only=True)
class Voice:
  """Speaker embeddings, float32[e], of one clip of an item and its prompt."""

  key: str  # of the item
  language: str  # code, of the text
  prompt_name: str  # the same for items with the same prompt
  prompt: np.ndarray
  clip: np.ndarray | None  # None: the clip is missing
  truth: np.ndarray | None  # of another recording of the speaker, if any
  seed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Similarity:
  """Cosines of one judge, and what they are worth.

  A cosine says nothing by itself: read `to_prompt` between `other_speaker`
  (no cloning at all) and `same_speaker` (the speaker's own recordings).
  """

  judge: str  # never compare cosines of two judges
  to_prompt: Figure  # generated clips; n: items
  same_speaker: Figure  # recordings with their prompts; n: items
  other_speaker: Figure  # prompts with each other; n: pairs, no interval
  missing: tuple[str, ...]  # counted as 0


def similarity(
  voices: Sequence[Voice], *, judge: str, seed: int = 0
) -> Similarity:
  """One row of the similarity table.

  Prompts are taken for different speakers where they are different clips of
  one language of text; where a set has two prompts of one speaker, as
  seed-tts-eval may, `other_speaker` is a little too high.

  Args:
    voices: of the clips; those of one key are seeds of one item.
    judge: its name.
    seed: of the bootstrap.
  """
  if not voices:
    raise UserError("there is no clip to compare; give items of a benchmark.")
  groups = collections.defaultdict(list)
  for voice in voices:
    groups[voice.key].append(_cosine(voice.prompt, voice.clip))
  truths = {v.key: v for v in voices if v.truth is not None}
  return Similarity(
    judge=judge,
    to_prompt=item_mean(list(groups.values()), seed=seed),
    same_speaker=item_mean(
      [[_cosine(v.prompt, v.truth)] for v in truths.values()], seed=seed
    ),
    other_speaker=_between_prompts(voices),
    missing=tuple(_name(v) for v in voices if v.clip is None),
  )


def _cosine(a: np.ndarray, b: np.ndarray | None) -> float:
  """0 where there is no voice in one of them."""
  if b is None:
    return 0.0
  norm = float(np.linalg.norm(a) * np.linalg.norm(b))
  return float(a @ b) / norm if norm else 0.0


def _between_prompts(voices: Sequence[Voice]) -> Figure:
  """Mean cosine of all pairs of prompts of the same language of text."""
  prompts = collections.defaultdict(dict)
  for voice in voices:
    prompts[voice.language][voice.prompt_name] = voice.prompt
  total, pairs = 0.0, 0
  for of_language in prompts.values():
    unit = np.stack([_unit(x) for x in of_language.values()])
    cosines = unit @ unit.T
    total += float(np.sum(np.triu(cosines, 1)))
    pairs += len(unit) * (len(unit) - 1) // 2
  return Figure(value=total / pairs if pairs else None, n=pairs)


def _unit(x: np.ndarray) -> np.ndarray:
  x = np.asarray(x, np.float64)
  return x / max(float(np.linalg.norm(x)), 1e-12)
