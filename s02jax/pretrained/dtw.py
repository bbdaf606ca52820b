"""Judge of the words, in any language that espeak-ng speaks.

The audio is compared by dynamic time warping of its cepstra with espeak-ng's
renderings of the true text and of nine others of like length; it is right
where the true text is the nearest. Chance is one in ten. Nothing is trained,
so nothing can have been trained on the corpus.

Shape letters: c candidates, t frames of the audio, s frames of a candidate,
k cepstra.
"""

import functools
from collections.abc import Sequence

import numpy as np

from s02jax.audio import espeak
from s02jax.pretrained import signal

CANDIDATES = 10
_HUGE = np.float32(1e30)


def choose(wave: np.ndarray, texts: Sequence[str], voice: str) -> int:
  """Index of the text the recording (16 kHz) is nearest to; -1 for silence.

  Args:
    wave: float32[n] at 16 kHz.
    texts: candidates, spoken by `voice` of espeak-ng.

  Raises:
    UserError: espeak-ng is not installed or has no such voice.
  """
  wave = signal.trim_silence(wave)
  if len(wave) < signal.JUDGE_RATE // 10:
    return -1
  templates = [template(text, voice) for text in texts]
  return int(np.argmin(distances(signal.mfcc(wave), templates)))


@functools.lru_cache(maxsize=4096)
def template(text: str, voice: str) -> np.ndarray:
  """Cepstra of espeak-ng's rendering, float32[s, k]; s = 0 if unspeakable."""
  wave, rate = espeak.render(text, voice)
  wave = signal.trim_silence(signal.to_judge_rate(wave, rate))
  if not len(wave):
    return np.zeros((0, 1), np.float32)
  return signal.mfcc(wave)


def distances(
  frames: np.ndarray, templates: Sequence[np.ndarray]
) -> np.ndarray:
  """Warped distance of [t, k] to each [s, k], a frame: float32[c].

  The cheapest path of steps (1, 1), (1, 0), (0, 1), a diagonal step counted
  twice, divided by t + s. An empty template is infinitely far.
  """
  lengths = np.array([len(x) for x in templates])
  result = np.full(len(templates), np.inf, np.float32)
  spoken = np.flatnonzero(lengths)
  if not len(spoken) or not len(frames):
    return result
  costs = _skewed_costs(frames, [templates[int(i)] for i in spoken])
  total = _warp(costs, len(frames), lengths[spoken])
  result[spoken] = total / (len(frames) + lengths[spoken])
  return result


def _skewed_costs(frames, templates) -> np.ndarray:
  """Frame distances by anti-diagonal: [d, t, c] with d = row + column.

  Cells beyond a template's end, or off the grid, are huge.
  """
  t, longest = len(frames), max(map(len, templates))
  skewed = np.full((t + longest - 1, t, len(templates)), _HUGE, np.float32)
  rows = np.arange(t)[:, None]
  norm = np.sum(frames**2, axis=1)[:, None]
  for c, other in enumerate(templates):
    squared = norm + np.sum(other**2, axis=1) - 2.0 * (frames @ other.T)
    columns = np.arange(len(other))[None, :]
    skewed[rows + columns, rows, c] = np.sqrt(np.maximum(squared, 0.0))
  return skewed


def _warp(costs: np.ndarray, t: int, lengths: np.ndarray) -> np.ndarray:
  """Totals of the cheapest paths, one anti-diagonal of all candidates at once.

  On diagonal d, row i is column d - i: so (i, j - 1) is row i of diagonal
  d - 1, (i - 1, j) its row i - 1, and (i - 1, j - 1) row i - 1 of d - 2.
  """
  diagonals, _, count = costs.shape
  # A leading row of huge values stands for row -1.
  older = np.full((t + 1, count), _HUGE, np.float32)
  newer = older.copy()
  total = np.empty(count, np.float32)
  ends = t - 1 + lengths - 1
  for d in range(diagonals):
    here = costs[d]
    step = np.minimum(newer[1:], newer[:-1]) + here
    np.minimum(step, older[:-1] + 2.0 * here, out=step)
    if d == 0:
      step[0] = here[0]
    older, newer = newer, older
    np.minimum(step, _HUGE, out=newer[1:])
    done = ends == d
    total[done] = step[t - 1, done]
  return total
