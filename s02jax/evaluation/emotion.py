"""Emotions judged by measured prosody, beside voice and words.

Every clip is compared with the speaker's recorded neutral clip of the same
text: differences of pitch, its range, loudness, and of the logarithm of pace.
The emotion is told by the nearest centroid of recorded clips, in units of their
spread. Speakers and texts are held out.

Shape letters: n samples, k figures.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from s02jax.audio import prosody
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.data.records import Corpus
from s02jax.data.rows.emotive import NEUTRAL, Emotions
from s02jax.evaluation.figure import Figure, mean, share
from s02jax.pretrained import dtw, ge2e
from s02jax.pretrained.signal import to_judge_rate

_TEXTS = 10  # that the words are told among
Means = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
  """Emotive clip of a held-out speaker, with what it is judged by."""

  text: str
  language: str  # code
  emotion: str
  wave: np.ndarray  # float32 [n], the recording itself
  neutral: np.ndarray  # float32 [n], the same text and speaker, neutral
  reference: np.ndarray  # float32 [n], neutral, another text
  texts: tuple[str, ...]  # candidates; the first is said


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ear:
  """Centroids of emotions, and the spread of the figures within them."""

  means: Means  # emotion -> float64 [k]
  spread: np.ndarray  # float64 [k]

  @classmethod
  def of(cls, cases: Sequence[Case], rate: int) -> "Ear":
    """Centroids of recorded clips.

    Raises:
      UserError: an emotion without a clip whose prosody can be measured.
    """
    found, labels = [], []
    for case in cases:
      figures = difference(case, case.wave, rate)
      if figures is not None:
        found.append(figures)
        labels.append(case.emotion)
    missing = {case.emotion for case in cases} - set(labels)
    if missing or not cases:
      raise UserError(
        "no clip has a prosody that can be measured in"
        f" {', '.join(sorted(missing)) or 'any emotion'}; give more clips."
      )
    means = prosody.centroids(found, labels)
    within = [f - means[label] for f, label in zip(found, labels, strict=True)]
    spread = np.sqrt(np.mean(np.square(within), axis=0)) + 1e-3
    return cls(means=means, spread=spread)

  def tell(self, case: Case, wave: np.ndarray, rate: int) -> str | None:
    """Emotion that a clip [n] of a case sounds like; None if unmeasurable."""
    figures = difference(case, wave, rate)
    if figures is None:
      return None
    return prosody.nearest(figures, self.means, self.spread)


def difference(case: Case, wave: np.ndarray, rate: int) -> np.ndarray | None:
  """Figures float64 [k] of a clip less those of the neutral recording."""
  made = prosody.measure(wave, rate, case.text)
  plain = prosody.measure(case.neutral, rate, case.text)
  if made is None or plain is None:
    return None
  figures = made.figures() - plain.figures()
  pace = prosody.FIGURES.index("pace")
  # Pace is a ratio; 10 makes its spread like that of semitones.
  figures[pace] = 10 * np.log(made.pace / plain.pace)
  return figures


def cases(
  corpus: Corpus, names: Sequence[str], most: int, seed: int = 0
) -> list[Case]:
  """Cases of a split whose speakers say the same texts in all emotions.

  Args:
    corpus: the split.
    names: emotions; neutral must be among those of the corpus.
    most: groups of one speaker and text, each a case of every emotion.
    seed: of the choice.

  Raises:
    UserError: an emotion without a clip.
  """
  emotions = Emotions.of(corpus, [NEUTRAL, *(n for n in names if n != NEUTRAL)])
  random = np.random.default_rng(seed)
  same = (emotions.speaker[emotions.clips] == emotions.speaker[
    emotions.clips[:, :1]]).all(1)  # fmt: skip
  same &= (emotions.said[emotions.clips] == emotions.said[
    emotions.clips[:, :1]]).all(1)  # fmt: skip
  found = []
  for group in random.permutation(np.flatnonzero(same))[:most]:
    clips = emotions.clips[group]
    plain = int(clips[0])
    reference = emotions.reference(plain, NEUTRAL, random)
    if reference < 0:
      continue
    record = corpus.record(plain)
    texts = _other_texts(corpus, plain, random)
    for name, clip in zip(emotions.names, clips.tolist(), strict=True):
      if name in names:
        found.append(
          Case(
            text=record.text,
            language=record.language,
            emotion=name,
            wave=corpus.wave(clip),
            neutral=record.wave,
            reference=corpus.wave(reference),
            texts=(record.text, *texts),
          )
        )
  return found


def _other_texts(
  corpus: Corpus, record: int, random: np.random.Generator
) -> list[str]:
  """Other texts of a record's language, which its words are told among."""
  same = np.flatnonzero(corpus.language == corpus.language[record])
  own, found = corpus.text(record), {}
  for i in random.permutation(same).tolist():
    found[corpus.text(i)] = None
    if len(found) > _TEXTS:
      break
  return [text for text in found if text != own][: _TEXTS - 1]


def judge(
  cases: Sequence[Case], waves: Sequence[np.ndarray], rate: int, ear: Ear
) -> Mapping[str, Figure]:
  """Figures of clips, one of each case.

  Args:
    cases: what was to be said, and how.
    waves: float32 [n] of each.
    rate: of all waves, Hz.
    ear: by which emotions are told.

  Returns:
    "emotion", the share that is told rightly; "similarity", the mean cosine
    (GE2E) to the speaker's neutral recordings; "wrong_text", the share that is
    nearer to another of ten texts (DTW).
  """
  told = [ear.tell(c, w, rate) for c, w in zip(cases, waves, strict=True)]
  heard = [to_judge_rate(wave, rate) for wave in waves]
  own = ge2e.embed([to_judge_rate(c.neutral, rate) for c in cases])
  other = ge2e.embed([to_judge_rate(c.reference, rate) for c in cases])
  centre = own + other
  centre /= np.maximum(np.linalg.norm(centre, axis=1, keepdims=True), 1e-6)
  chosen = [
    dtw.choose(wave, case.texts, languages.BY_CODE[case.language].espeak)
    for wave, case in zip(heard, cases, strict=True)
  ]
  return {
    "emotion": share(
      [t == case.emotion for t, case in zip(told, cases, strict=True)]
    ),
    "similarity": mean(ge2e.similarity(ge2e.embed(heard), centre)),
    "wrong_text": share([index != 0 for index in chosen]),
  }
