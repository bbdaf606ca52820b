"""Spread of the voices of a corpus: how alike one voice is, and how two are.

Cosines of the speaker encoder GE2E between halves of what a speaker says. A
corpus whose voices lie as far apart as people's teaches a model as much.
"""

import collections
import dataclasses
import pathlib

import numpy as np

from s02jax.data import records
from s02jax.pretrained import ge2e, signal

_SPEAKERS = 60  # of each kind, at most
_CLIPS = 6  # of a speaker, at most
_SYNTHETIC = ("hibari", "kokoro")  # first words of their sources


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
  """Mean cosines of the voices of one kind."""

  speakers: int
  same: float  # of two halves of one speaker's clips
  different: float  # of two speakers


def measure(folder: pathlib.Path) -> dict[str, Spread]:
  """Measures the voices of a corpus's split train.

  Args:
    folder: of a natural corpus.

  Returns:
    The spread by kind, "synthetic" and "people"; a kind of fewer than two
    speakers with two clips is left out.

  Raises:
    UserError: the encoder's weights are not installed.
  """
  corpus = records.Corpus.open(folder, "train")
  of_speaker: dict[int, list[int]] = collections.defaultdict(list)
  for index, speaker in enumerate(corpus.speaker):
    of_speaker[int(speaker)].append(index)
  halves: dict[str, list[np.ndarray]] = collections.defaultdict(list)
  order = np.random.default_rng(0).permutation(sorted(of_speaker))
  for speaker in order:
    indices = of_speaker[int(speaker)][:_CLIPS]
    if len(indices) < 2:
      continue
    first = corpus.record(indices[0])
    synthetic = first.source.split(" ")[0] in _SYNTHETIC
    kind = "synthetic" if synthetic else "people"
    if len(halves[kind]) < _SPEAKERS:
      halves[kind].append(_halves(corpus, indices))
  return {
    kind: _spread(np.stack(found))
    for kind, found in halves.items()
    if len(found) > 1
  }


def _halves(corpus: records.Corpus, indices: list[int]) -> np.ndarray:
  """Vectors of every other clip, joined, and of the rest: float32 [2, e]."""
  waves = [signal.to_judge_rate(corpus.wave(i), corpus.rate) for i in indices]
  return ge2e.embed([np.concatenate(waves[i::2]) for i in range(2)])


def _spread(vectors: np.ndarray) -> Spread:
  """Spread of [speakers, 2, e]."""
  cosines = vectors[:, 0] @ vectors[:, 1].T
  same = np.diag(cosines)
  others = cosines[~np.eye(len(cosines), dtype=bool)]
  return Spread(
    speakers=len(vectors),
    same=float(same.mean()),
    different=float(others.mean()),
  )


def sentence(kind: str, found: Spread) -> str:
  """One line for people."""
  return (
    f"GE2E of {found.speakers} {kind} voices: {found.same:.2f} within one,"
    f" {found.different:.2f} between two."
  )
