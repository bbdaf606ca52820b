"""Rows of emotions: (reference, text, emotive target), for both models.

Row i of a batch is of emotion i mod e. The rows of a batch say the same texts
by the same speakers in all emotions, as far as the corpus has them: so words
and emotion decouple. The reference is another clip of the speaker that says
something else: `neutral` speech, any (`random`), or of the target's emotion
(`same`).

Shape letters, beside those of the folder: e emotions, g groups.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from s02jax.core import inputs
from s02jax.core.errors import UserError
from s02jax.data.mixture import Mixture, generator
from s02jax.data.records import Corpus
from s02jax.data.rows import NoRows
from s02jax.data.rows.buckets import Buckets
from s02jax.data.rows.draws import PLAN, REFERENCE
from s02jax.data.rows.epochs import PackedEpochs
from s02jax.data.rows.latent_utterances import LatentUtterances
from s02jax.data.rows.packed_sequences import PackedSequences, PromptedItems

NEUTRAL = "neutral"


def labels(corpus: Corpus) -> list[str]:
  """Emotions of all records of a corpus, "" where none is known."""
  return [corpus.emotion(i) for i in range(len(corpus))]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Emotions:
  """Clips of some emotions, in groups of one speaker and one text.

  The lengths are those of the longest clip of a group; `Buckets` reads them
  under these names.
  """

  names: tuple[str, ...]  # of the emotions
  label: np.ndarray  # str[records], emotion of each record
  said: np.ndarray  # int[records], number of each record's text
  speaker: np.ndarray  # int[records]
  clips: np.ndarray  # int[g, e], a record of every emotion
  num_samples: np.ndarray  # int[g], of the longest clip
  language: np.ndarray  # int[g]
  corpus: Corpus

  @classmethod
  def of(cls, corpus: Corpus, names: Sequence[str]) -> "Emotions":
    """Groups the clips of a corpus.

    Where a speaker has not said a text in some emotion, another speaker who
    has takes the place, and else any clip of the emotion.

    Raises:
      NoRows: an emotion has no clip in a split that is not trained on.
      UserError: an emotion has no clip.
    """
    label = np.array(labels(corpus), dtype=str)
    known = sorted(set(label.tolist()) - {""})
    for name in names:
      if not np.any(label == name):
        kind = UserError if corpus.split == "train" else NoRows
        raise kind(
          f"the split {corpus.split!r} of {corpus.folder} has no clip of the"
          f" emotion {name!r}{inputs.hint(name, known)}; it has"
          f" {', '.join(known) or 'none'}."
        )
    texts: dict[str, int] = {}
    said = np.array(
      [texts.setdefault(corpus.text(i), len(texts)) for i in range(len(corpus))]
    )
    clips = _groups(names, label, said, corpus.speaker)
    return cls(
      names=tuple(names),
      label=label,
      said=said,
      speaker=corpus.speaker,
      clips=clips,
      num_samples=corpus.num_samples[clips].max(axis=1),
      language=corpus.language[clips[:, 0]],
      corpus=corpus,
    )

  @property
  def rate(self) -> int:
    """Hz of the clips."""
    return self.corpus.rate

  @property
  def split(self) -> str:
    """Split of the clips."""
    return self.corpus.split

  @property
  def folder(self):
    """Folder of the corpus."""
    return self.corpus.folder

  def reference(
    self, record: int, mode: str, random: np.random.Generator
  ) -> int:
    """Draws the reference of a target; -1 where its speaker has no other clip.

    Args:
      record: of the target.
      mode: neutral, random or same.
      random: of the draw.
    """
    others = self.speaker == self.speaker[record]
    others &= np.arange(len(others)) != record
    wanted = {
      "neutral": self.label == NEUTRAL,
      "random": np.ones(len(others), bool),
      "same": self.label == self.label[record],
    }[mode]
    strange = self.said != self.said[record]  # a reference must not tell words
    for choice in (others & wanted & strange, others & strange, others):
      found = np.flatnonzero(choice)
      if len(found):
        return int(random.choice(found))
    return -1


def _groups(names, label, said, speaker) -> np.ndarray:
  """Records int[g, e] of every speaker and text, one for each emotion."""
  by_key: dict[tuple[int, int, str], int] = {}
  by_text: dict[tuple[int, str], int] = {}
  of_name: dict[str, list[int]] = {name: [] for name in names}
  for i, name in enumerate(label.tolist()):
    if name in of_name:
      by_key.setdefault((int(speaker[i]), int(said[i]), name), i)
      by_text.setdefault((int(said[i]), name), i)
      of_name[name].append(i)
  keys = dict.fromkeys((who, text) for who, text, _ in by_key)
  rows = []
  for number, (who, text) in enumerate(keys):
    rows.append(
      [
        by_key.get(
          (who, text, name),
          by_text.get((text, name), of_name[name][number % len(of_name[name])]),
        )
        for name in names
      ]
    )
  return np.array(rows, int).reshape(-1, len(names))


class EmotiveSequences(PackedSequences):
  """Rows of the AR model, see `PackedSequences`, by emotion and unprompted."""

  def __init__(self, emotions: Emotions, reference: str, **arguments: Any):
    """Plans the rows.

    Args:
      emotions: clips of the corpus.
      reference: neutral, random or same.
      **arguments: of `PackedSequences`.
    """
    self._emotions, self._mode = emotions, reference
    super().__init__(**arguments)

  def _pack(self, records, alpha, max_segments) -> PackedEpochs:
    """Packs groups, as long as the longest of their clips that are usable."""
    e = self._emotions
    usable = np.isin(e.clips, records).all(axis=1)
    groups = np.flatnonzero(usable)
    if not len(groups):
      raise NoRows(
        f"the split {e.split!r} of {e.folder} has no text that is short enough"
        " in all emotions; see config.data.row_tokens."
      )
    mixture = Mixture(groups, e.language, e.num_samples, self._seed, alpha)
    return PackedEpochs(
      mixture, self._seed, self._row_tokens, max_segments, self._grouped
    )

  def _grouped(self, block: int, target: np.ndarray) -> PromptedItems:
    """Items of groups, without prompts."""
    del block
    clips = self._emotions.clips[target]
    none = np.full(clips.shape, -1)
    return PromptedItems(
      target=target,
      lengths=self._lengths(clips, none).max(axis=1),
      prompt=none[:, 0],
      reference=none[:, 0],
    )

  def plan(self, indices: Sequence[int]) -> list[list[tuple[int, int, int]]]:
    """Records (target, -1, reference) of each row's segments."""
    return [self._planned(index) for index in indices]

  def _planned(self, index: int) -> list[tuple[int, int, int]]:
    group, emotion = divmod(index, len(self._emotions.names))
    items, row = self.packing.row(group)
    random = generator(self._seed, PLAN, index)
    targets = self._emotions.clips[items.target[row], emotion].tolist()
    return [
      (t, -1, self._emotions.reference(t, self._mode, random)) for t in targets
    ]


class EmotiveLatents(LatentUtterances):
  """Rows of flow matching, see `LatentUtterances`, by emotion; one clip."""

  def __init__(self, emotions: Emotions, reference: str, **arguments: Any):
    """Plans the rows.

    Args:
      emotions: clips of the corpus.
      reference: neutral, random or same.
      **arguments: of `LatentUtterances`.
    """
    self._emotions, self._mode = emotions, reference
    super().__init__(**arguments)

  def _sorted(self, usable, batch_size, seed, buckets, alpha) -> Buckets:
    """Sorts the groups into buckets by their longest clips."""
    e = self._emotions
    whole = usable[e.clips].all(axis=1)
    stand_in: Any = e
    return Buckets(
      stand_in, whole, batch_size // len(e.names), seed, buckets, alpha
    )

  def _members(self, index: int) -> tuple[int, list[int], int]:
    """Tokens of a row, its clip, and its reference's record."""
    place, emotion = divmod(index, len(self._emotions.names))
    bucket, group = self._buckets.locate(place)
    record = int(self._emotions.clips[group, emotion])
    random = generator(self._seed, REFERENCE, index, 1)
    reference = self._emotions.reference(record, self._mode, random)
    return (
      self._tokens_of(bucket),
      [record],
      record if reference < 0 else reference,
    )
