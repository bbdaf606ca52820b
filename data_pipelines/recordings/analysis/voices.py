"""Voices of recordings: whether one person speaks, and who speaks again.

Vectors are those of GE2E, of unit length, one a clip.

Shape letters: k clips, e features of a vector.
"""

from collections.abc import Sequence

import numpy as np

from s02jax.pretrained.judges import unit_vectors

_CERTAIN = 1.6  # seconds of a clip whose voice is worth a judgement


def groups(
  vectors: np.ndarray, weights: np.ndarray, least: float
) -> np.ndarray:
  """Groups vectors by average linkage, as long as means are this alike.

  Args:
    vectors: float32 [k, e], unit.
    weights: float [k], seconds of the clips.
    least: least cosine of the means of groups that are joined.

  Returns:
    int [k], number of each vector's group; group 0 has most seconds.
  """
  count = len(vectors)
  member = np.arange(count)
  sums = vectors * weights[:, None]
  alive = list(range(count))
  means = unit_vectors(sums)
  cosine = means @ means.T
  np.fill_diagonal(cosine, -2)
  while len(alive) > 1:
    part = cosine[np.ix_(alive, alive)]
    best = int(part.argmax())
    if part.flat[best] < least:
      break
    a, b = sorted((alive[best // len(alive)], alive[best % len(alive)]))
    member[member == b] = a
    sums[a] += sums[b]
    means[a] = unit_vectors(sums[a])
    cosine[a] = cosine[:, a] = means @ means[a]
    cosine[a, a] = -2
    alive.remove(b)
  seconds = {a: float(weights[member == a].sum()) for a in alive}
  order = sorted(alive, key=lambda a: (-seconds[a], a))
  return np.array([order.index(int(a)) for a in member])


def strangers(
  vectors: np.ndarray, seconds: Sequence[float], least: float
) -> tuple[np.ndarray, float]:
  """Finds the clips of a recording that its main voice did not speak.

  Clips too short for a judgement are no strangers.

  Args:
    vectors: float32 [k, e], unit; zero where nothing was heard.
    seconds: of the clips.
    least: least cosine of a clip with the main voice.

  Returns:
    bool [k], and the share of the seconds that the main voice speaks.
  """
  lengths = np.asarray(seconds, float)
  known = np.any(vectors, axis=1) & (lengths >= _CERTAIN)
  found = np.zeros(len(lengths), bool)
  if known.sum() < 2:
    return found, 1.0
  member = groups(vectors[known], lengths[known], least)
  main = unit_vectors(
    (vectors[known] * lengths[known, None])[member == 0].sum(axis=0)
  )
  found[known] = vectors[known] @ main < least
  share = 1 - lengths[found].sum() / lengths[known].sum()
  return found, float(share)


def people(
  names: Sequence[str], vectors: np.ndarray, least: float
) -> dict[str, str]:
  """Joins recordings of one person, among those of a folder.

  Args:
    names: of the recordings; their order does not matter.
    vectors: float32 [k, e], the mean voice of each.
    least: least cosine of the voices of one person.

  Returns:
    For each recording the name of the person: the first of their recordings'.
  """
  order = sorted(range(len(names)), key=lambda i: names[i])
  sorted_names = [names[i] for i in order]
  member = groups(vectors[order], np.ones(len(names)), least)
  first: dict[int, str] = {}
  return {
    name: first.setdefault(int(group), name)
    for name, group in zip(sorted_names, member, strict=True)
  }
