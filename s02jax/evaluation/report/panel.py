"""Panel of the report: clips to judge, references, other candidate texts.

A case is one clip of a held-out split with another clip of its speaker as the
reference. Everything is drawn from (corpus, split, count, seed).
"""

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from s02jax.audio import loudness
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.pretrained import dtw, ge2e
from s02jax.synthesis.voice import check_reference
from s02jax.text import edits
from s02jax.text.checks import check_text

CLIPS_PER_SPEAKER = 3  # cases of one speaker, at most, if there are enough
SPEAKERS = 16  # in the line-up of the voice judge
_ENROLMENT_SECONDS = 2 * ge2e.SECONDS_NEEDED  # of a speaker in the line-up
_TEXTS = 4000  # texts of a split that may be candidates, at most
_LONGEST_SECONDS = 15.0  # of a clip to be judged
_SOME_CLIPS = 8  # of one speaker in `some_clips`, at most


class NoCases(UserError):
  """Complaint about a split without a clip that could be judged."""


class Split(Protocol):
  """Methods of `s02jax.data.records.Corpus` that a panel needs."""

  split: str
  rate: int
  num_samples: np.ndarray
  speaker: np.ndarray
  language: np.ndarray

  @property
  def speakers(self) -> Sequence[str]: ...
  @property
  def languages(self) -> Sequence[str]: ...
  def __len__(self) -> int: ...
  def id(self, index: int) -> str: ...
  def text(self, index: int) -> str: ...
  def wave(self, index: int) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
  """Sentence to be spoken and judged. Waves are at the bundle's rate."""

  id: str
  split: str
  speaker: str
  language: str
  text: str
  candidates: tuple[str, ...]  # the text first, then others of like length
  wave: np.ndarray  # float32[n], how the speaker said it
  reference: np.ndarray  # float32[n], another clip of the speaker
  reference_text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
  """Recording of a split that nobody speaks after."""

  speaker: str
  language: str
  wave: np.ndarray  # float32[n] at the bundle's rate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
  """Cases of one split, and the line-up of voices for the voice judge."""

  split: str
  cases: tuple[Case, ...]
  enrolment: dict[str, np.ndarray]  # speaker -> clips that are in no case
  speakers_without_another_clip: int  # speakers that were left out


@dataclasses.dataclass(frozen=True)
class _Recording:
  """One clip of a split, read when asked for."""

  source: Split
  index: int

  @property
  def seconds(self) -> float:
    return float(self.source.num_samples[self.index]) / self.source.rate

  @property
  def text(self) -> str:
    return self.source.text(self.index)

  @property
  def language(self) -> str:
    return self.source.languages[self.source.language[self.index]]

  def wave(self, rate: int) -> np.ndarray:
    return loudness.resample(
      self.source.wave(self.index), self.source.rate, rate
    )


def choose_panel(
  split: Split,
  others: Sequence[Split],
  *,
  count: int,
  rate: int,
  seed: int,
) -> Panel:
  """Draws up to `count` cases of a split, a few from each of its speakers.

  Args:
    split: source of the cases.
    others: splits whose clips may be references, enrolment, or fill the
      line-up up to 16 speakers; their texts are candidates too.
    count: number of cases.
    rate: sample rate of the returned waves, Hz.
    seed: of every draw.

  Raises:
    NoCases: the split has no clip with text whose speaker has another one.
  """
  random = np.random.default_rng([seed, *split.split.encode()])
  texts = _Texts([split, *(s for s in others if s.split != "train")], random)
  spare = _recordings_of_speakers(others)
  cases: list[Case] = []
  enrolment: dict[str, np.ndarray] = {}
  lonely = 0
  drawn = list(_shuffled(_recordings_of_speakers([split]), random))
  each = max(CLIPS_PER_SPEAKER, math.ceil(count / max(len(drawn), 1)))
  for speaker, clips in _languages_in_turn(drawn):
    own = spare[speaker]
    if len(clips) + len(own) < 2:
      lonely += 1
      continue
    targets, rest = _divide(clips, own, min(each, count - len(cases)))
    cases += [
      _case(clip, speaker, rest, i, texts, rate)
      for i, clip in enumerate(targets)
    ]
    if targets or len(enrolment) < SPEAKERS:
      enrolment[speaker] = _enrol(rest, rate)
  if not cases:
    raise NoCases(
      f"The {split.split} split has no clip with a text whose speaker has"
      " another clip to be the reference; add clips to the corpus."
    )
  for speaker, clips in _shuffled(spare, random):
    if len(enrolment) >= SPEAKERS:
      break
    if speaker not in enrolment:
      enrolment[speaker] = _enrol(clips, rate)
  return Panel(
    split=split.split,
    cases=tuple(cases),
    enrolment=enrolment,
    speakers_without_another_clip=lonely,
  )


def some_clips(split: Split, count: int, rate: int, seed: int) -> list[Clip]:
  """Draws up to `count` clips of a split, some of each of its speakers.

  Args:
    split: source of the clips.
    count: number of clips.
    rate: sample rate of the returned waves, Hz.
    seed: of every draw.
  """
  random = np.random.default_rng([seed, *split.split.encode(), 1])
  found: list[Clip] = []
  for speaker, clips in _shuffled(_recordings_of_speakers([split]), random):
    for clip in clips[: min(_SOME_CLIPS, count - len(found))]:
      found.append(
        Clip(speaker=speaker, language=clip.language, wave=clip.wave(rate))
      )
  return found


def _recordings_of_speakers(
  splits: Sequence[Split],
) -> dict[str, list[_Recording]]:
  """Recordings of all splits by speaker."""
  found = collections.defaultdict(list)
  for split in splits:
    for index, speaker in enumerate(split.speaker):
      found[split.speakers[speaker]].append(_Recording(split, index))
  return found


def _shuffled(clips: dict[str, list[_Recording]], random: np.random.Generator):
  """Yields speakers with their recordings, both in the order of a draw."""
  for i in random.permutation(len(clips)):
    speaker = sorted(clips)[i]
    order = random.permutation(len(clips[speaker]))
    yield speaker, [clips[speaker][j] for j in order]


def _languages_in_turn(drawn):
  """Reorders speakers so that the first few already speak every language."""
  places: collections.Counter[str] = collections.Counter()
  ranked = []
  for speaker, clips in drawn:
    places[clips[0].language] += 1
    ranked.append((places[clips[0].language], (speaker, clips)))
  return [pair for _, pair in sorted(ranked, key=lambda x: x[0])]


def _divide(clips, own, wanted):
  """Splits a speaker's clips into targets to judge and the rest."""
  kept = 0 if own else 1
  most = max(0, min(len(clips) - kept, wanted))
  targets: list[_Recording] = []
  for clip in clips:
    if len(targets) < most and _judgeable(clip):
      targets.append(clip)
  rest = [clip for clip in clips if clip not in targets] + own
  return [t for t in targets if _references(t, rest)], rest


def _judgeable(clip: _Recording) -> bool:
  """Whether a clip is short enough and its text can be spoken."""
  return (
    clip.seconds <= _LONGEST_SECONDS
    and clip.language in languages.BY_CODE
    and _accepted(check_text, clip.text, clip.language)
  )


def _accepted(check, *arguments) -> bool:
  """Whether a check of synthesis passes."""
  try:
    check(*arguments)
  except UserError:
    return False
  return True


def _case(clip, speaker, rest, turn, texts, rate) -> Case:
  """Case of a target whose reference is taken from the rest, by turns."""
  references = _references(clip, rest)
  reference = references[turn % len(references)]
  return Case(
    id=clip.source.id(clip.index),
    split=clip.source.split,
    speaker=speaker,
    language=clip.language,
    text=clip.text,
    candidates=(clip.text, *texts.like(clip.text, clip.language)),
    wave=clip.wave(rate),
    reference=reference.wave(rate),
    reference_text=reference.text,
  )


def _references(
  clip: _Recording, rest: Sequence[_Recording]
) -> list[_Recording]:
  """Up to three references fit for one-shot: the longest, to ten seconds."""
  found: list[_Recording] = []
  for other in sorted(
    rest,
    key=lambda c: (c.language != clip.language, c.seconds > 10, -c.seconds),
  ):
    if found and other.language != found[0].language:
      break
    wave = other.source.wave(other.index)
    if _accepted(check_text, other.text, clip.language) and _accepted(
      check_reference, wave, other.source.rate, other.text
    ):
      found.append(other)
    if len(found) == 3:
      break
  return found


def _enrol(clips: Sequence[_Recording], rate: int) -> np.ndarray:
  """Joins clips, longest first, up to about six seconds."""
  waves: list[np.ndarray] = []
  for clip in sorted(clips, key=lambda c: -c.seconds):
    if sum(map(len, waves)) >= _ENROLMENT_SECONDS * rate:
      break
    waves.append(clip.wave(rate))
  return np.concatenate(waves)


class _Texts:
  """Texts of each language, for the choice of other candidates."""

  def __init__(self, splits: Sequence[Split], random: np.random.Generator):
    """Draws some texts of each split."""
    found = collections.defaultdict(set)
    for split in splits:
      for i in random.permutation(len(split))[:_TEXTS]:
        language = split.languages[split.language[i]]
        found[language].add(split.text(int(i)))
    self._by_language = {key: sorted(x) for key, x in found.items()}

  def like(self, text: str, language: str) -> list[str]:
    """Chooses nine texts nearest in length that do not read the same."""
    row = languages.BY_CODE[language]
    read = {edits.normalise(text, row)}
    chosen: list[str] = []
    for other in sorted(
      self._by_language[language], key=lambda x: (abs(len(x) - len(text)), x)
    ):
      normal = edits.normalise(other, row)
      if normal and normal not in read:
        read.add(normal)
        chosen.append(other)
      if len(chosen) == dtw.CANDIDATES - 1:
        break
    return chosen
