"""Error rates and speaker similarity of a benchmark, with their intervals.

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
from s02jax.pretrained.judges import unit_vectors
from s02jax.text.edits import Edits, edits
from s02jax.text.normalize import FAIR, Metric, Normalisation, units


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transcript:
  """Text of an item beside what a recogniser made of one of its clips."""

  key: str  # of the item
  language: str  # code
  text: str  # that was to be spoken
  heard: str | None  # None: the clip is missing
  seed: int = 0  # several clips of an item differ by it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
  """One transcript with its aligned edits."""

  transcript: Transcript
  edits: Edits

  @property
  def missing(self) -> bool:
    """Whether there is no clip."""
    return self.transcript.heard is None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rates:
  """Error rates of one set of clips, as fractions of 1."""

  utterance_mean: Figure  # n: items
  corpus_level: Figure  # n: items
  substitutions: int
  deletions: int
  insertions: int
  units: int  # words or characters of the references


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextScore:
  """Error rates of one set of clips of one language, and their origin."""

  metric: Metric  # words or characters are counted
  pipeline: str  # by which the texts were normalised
  rates: Rates
  clips: int
  missing: tuple[str, ...]  # "key" or "key (seed 2)", wholly wrong
  comparisons: tuple[Comparison, ...]


# -------------------------------------------------------------- error rates


def compare(
  transcript: Transcript,
  *,
  pipeline: Normalisation = FAIR,
  metric: Metric | None = None,
) -> Comparison:
  """Counts and aligns the edits of a transcript.

  Args:
    transcript: text of the item and what was heard.
    pipeline: normalisation of both.
    metric: unit that is counted; None takes the language's own.

  Raises:
    UserError: the text has nothing in it that could be spoken.
  """
  metric = metric or BY_CODE[transcript.language].metric
  truth = reference(
    transcript.key, transcript.text, transcript.language, pipeline, metric
  )
  heard = _hypothesis(transcript, pipeline, metric)
  return Comparison(transcript=transcript, edits=edits(truth, heard))


def reference(
  key: str, text: str, language: str, pipeline: Normalisation, metric: Metric
) -> list[str]:
  """Units of a normalised text that was to be spoken.

  Raises:
    UserError: the text has nothing in it that could be spoken.
  """
  found = units(pipeline.reference(text, BY_CODE[language]), metric)
  if not found:
    raise UserError(
      f"item {key!r}: nothing of its text {text!r} is left after the"
      f" {pipeline.name} normalisation; give it words or take it out."
    )
  return found


def _hypothesis(
  transcript: Transcript, pipeline: Normalisation, metric: Metric
) -> list[str]:
  """Units that were heard; none for a missing clip: all of it was deleted."""
  if transcript.heard is None:
    return []
  row = BY_CODE[transcript.language]
  return units(pipeline.hypothesis(transcript.heard, row), metric)


def score_texts(
  transcripts: Sequence[Transcript],
  *,
  pipeline: Normalisation = FAIR,
  metric: Metric | None = None,
  seed: int = 0,
) -> TextScore:
  """Computes the error rates of clips of one language.

  Args:
    transcripts: of one language; those of one key are seeds of one item.
    pipeline: normalisation of the texts.
    metric: unit that is counted; None takes the language's own.
    seed: of the bootstrap.

  Raises:
    UserError: there is no clip, an item is there twice with one seed, or has a
      text without words.
  """
  _check(transcripts)
  metric = metric or BY_CODE[transcripts[0].language].metric
  found = tuple(
    compare(t, pipeline=pipeline, metric=metric) for t in transcripts
  )
  groups = collections.defaultdict(list)
  for one in found:
    groups[one.transcript.key].append(one.edits)
  return TextScore(
    metric=metric,
    pipeline=pipeline.name,
    rates=_rates(list(groups.values()), seed),
    clips=len(found),
    missing=tuple(_name(one.transcript) for one in found if one.missing),
    comparisons=found,
  )


def _rates(items: Sequence[Sequence[Edits]], seed: int) -> Rates:
  """Error rates of [i][s] edits."""
  every = [e for item in items for e in item]
  return Rates(
    utterance_mean=item_mean(
      [[e.rate for e in item] for item in items], seed=seed
    ),
    corpus_level=ratio(
      [[e.errors for e in item] for item in items],
      [[e.units for e in item] for item in items],
      seed=seed,
    ),
    substitutions=sum(e.substitutions for e in every),
    deletions=sum(e.deletions for e in every),
    insertions=sum(e.insertions for e in every),
    units=sum(e.units for e in every),
  )


def by_language(
  transcripts: Sequence[Transcript],
  *,
  pipeline: Normalisation = FAIR,
  seed: int = 0,
) -> dict[str, TextScore]:
  """Computes a score for each language, in the order of the transcripts."""
  groups = collections.defaultdict(list)
  for transcript in transcripts:
    groups[transcript.language].append(transcript)
  return {
    code: score_texts(group, pipeline=pipeline, seed=seed)
    for code, group in groups.items()
  }


def _check(transcripts: Sequence[Transcript]) -> None:
  """Raises an error unless clips of one language differ by key or seed."""
  if not transcripts:
    raise UserError("there is no clip to score; give the items of a benchmark.")
  if len({t.language for t in transcripts}) > 1:
    raise ValueError("clips of several languages; use by_language")
  counts = collections.Counter((t.key, t.seed) for t in transcripts)
  (key, seed), most = counts.most_common(1)[0]
  if most > 1:
    raise UserError(
      f"item {key!r} is there {most} times with seed {seed}; each clip of an"
      " item needs a seed of its own."
    )


def _name(clip: "Transcript | Embeddings") -> str:
  """Name of a clip in a list of missing ones."""
  return f"{clip.key} (seed {clip.seed})" if clip.seed else clip.key


# --------------------------------------------------------------- similarity


@dataclasses.dataclass(frozen=True, kw_only=True)
class Embeddings:
  """Speaker embeddings, float32[e], of one clip of an item and its prompt."""

  key: str  # of the item
  language: str  # code, of the text
  prompt_name: str  # equal for items with the same prompt
  prompt: np.ndarray
  clip: np.ndarray | None  # None: the clip is missing
  truth: np.ndarray | None  # another recording of the speaker, if any
  seed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosines:
  """Speaker similarity of one set of clips, between its two calibrations.

  A cosine says nothing by itself: read `to_prompt` between `other_speaker`
  (no cloning at all) and `same_speaker` (the speaker's own recordings).
  """

  to_prompt: Figure  # generated clips to prompts; n: items
  same_speaker: Figure  # recordings to prompts of their speakers; n: items
  other_speaker: Figure  # prompts to each other; n: pairs, no interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class VoiceScore:
  """Speaker similarity of one set of clips, and its origin."""

  judge: str  # spec; cosines of two judges are not comparable
  cosines: Cosines
  missing: tuple[str, ...]  # names of clips that were counted as 0


def score_voices(
  voices: Sequence[Embeddings], *, judge: str, seed: int = 0
) -> VoiceScore:
  """Computes the speaker similarity of clips.

  Prompts are taken for different speakers where they are different clips of
  one language of text; where a set has two prompts of one speaker, as
  seed-tts-eval may, `other_speaker` is a little too high.

  Args:
    voices: of the clips; those of one key are seeds of one item.
    judge: spec of the judge that made the embeddings.
    seed: of the bootstrap.

  Raises:
    UserError: there is no clip.
  """
  if not voices:
    raise UserError("there is no clip to compare; give items of a benchmark.")
  groups = collections.defaultdict(list)
  for voice in voices:
    groups[voice.key].append(_cosine(voice.prompt, voice.clip))
  truths = {v.key: v for v in voices if v.truth is not None}
  return VoiceScore(
    judge=judge,
    cosines=Cosines(
      to_prompt=item_mean(list(groups.values()), seed=seed),
      same_speaker=item_mean(
        [[_cosine(v.prompt, v.truth)] for v in truths.values()], seed=seed
      ),
      other_speaker=_between_prompts(voices),
    ),
    missing=tuple(_name(v) for v in voices if v.clip is None),
  )


def _cosine(a: np.ndarray, b: np.ndarray | None) -> float:
  """Cosine of two vectors; 0 where one of them has no voice."""
  if b is None:
    return 0.0
  norm = float(np.linalg.norm(a) * np.linalg.norm(b))
  return float(a @ b) / norm if norm else 0.0


def _between_prompts(voices: Sequence[Embeddings]) -> Figure:
  """Mean cosine of all pairs of prompts of the same language of text."""
  prompts = collections.defaultdict(dict)
  for voice in voices:
    prompts[voice.language][voice.prompt_name] = voice.prompt
  total, pairs = 0.0, 0
  for of_language in prompts.values():
    unit = unit_vectors(np.stack([*of_language.values()]).astype(np.float64))
    cosines = unit @ unit.T
    total += float(np.sum(np.triu(cosines, 1)))
    pairs += len(unit) * (len(unit) - 1) // 2
  return Figure(value=total / pairs if pairs else None, n=pairs)
