"""Voices in the codes: how well a histogram of codes tells the speaker.

Codes that carry what is said and not who says it tell no speaker, whatever is
counted. A clip's histogram, the roots of its shares (so that the cosine of two
is Bhattacharyya's coefficient), is held against the mean histogram of every
speaker of its language, its own left out of its speaker's mean.

Shape letters: k clips, s tokens, u different codes, p speakers.
"""

from collections.abc import Sequence

import numpy as np

from s02jax.evaluation.figure import Figure, mean, share


def told_by_codes(
  codes: Sequence[np.ndarray], speaker: Sequence, language: Sequence
) -> tuple[Figure, Figure]:
  """Share of clips whose speaker is the nearest of their language, and chance.

  Args:
    codes: [s] of each of k clips.
    speaker: name of each clip's speaker.
    language: language of each clip.

  Returns:
    Share and what guessing would give, over the clips that have another clip of
    their speaker and another speaker of their language; no value where none
    has.
  """
  hits, chances = [], []
  for own in _groups(language):
    groups = [g for g in _groups([speaker[i] for i in own]) if len(g) > 1]
    if len(groups) < 2:
      continue
    numbers = np.concatenate([np.full(len(g), p) for p, g in enumerate(groups)])
    chosen = [codes[own[i]] for g in groups for i in g]
    hits += list(_nearest(_histograms(chosen), numbers) == numbers)
    chances += [1 / len(groups)] * len(chosen)
  return share(hits), mean(chances)


def _groups(names: Sequence) -> list[list[int]]:
  """Places of equal names, group by group."""
  return [
    [i for i, other in enumerate(names) if other == name]
    for name in dict.fromkeys(names)
  ]


def _histograms(codes: Sequence[np.ndarray]) -> np.ndarray:
  """Roots of the codes' shares in each clip, float64[k, u]."""
  _, number = np.unique(np.concatenate(codes), return_inverse=True)
  ends = np.cumsum([len(c) for c in codes])[:-1]
  counts = np.stack(
    [np.bincount(x, minlength=number.max() + 1) for x in np.split(number, ends)]
  )
  return np.sqrt(counts / np.maximum(counts.sum(1, keepdims=True), 1))


def _nearest(histograms: np.ndarray, speaker: np.ndarray) -> np.ndarray:
  """Number of the nearest speaker of each clip, int[k].

  Args:
    histograms: float64[k, u].
    speaker: int[k] in [0, p), the clips' own.
  """
  sums = np.stack(
    [histograms[speaker == p].sum(0) for p in range(speaker.max() + 1)]
  )
  found = []
  for clip, own in zip(histograms, speaker, strict=True):
    others = sums.copy()
    others[own] -= clip
    norms = np.linalg.norm(others, axis=1)
    found.append(np.argmax(others @ clip / np.maximum(norms, 1e-9)))
  return np.array(found)
