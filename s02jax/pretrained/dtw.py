"""Choice of the spoken text by dynamic time warping, for all espeak-ng speaks.

The cepstra of the audio are compared with those of espeak-ng's renderings of
candidate texts; the nearest rendering is the answer. With the true text and
nine others of like length chance is one in ten. Nothing is trained, so nothing
can have been trained on the corpus.

Shape letters: c candidates, t frames of the audio, s frames of a candidate,
k cepstra.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from s02jax.audio import espeak
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.pretrained import signal
from s02jax.pretrained.audio import SHORTEST, transcribe_each

CANDIDATES = 10  # texts among which a judge chooses
_HUGE = np.float32(1e30)  # cost of a cell that no path may enter


class ClosedSet:
  """Recogniser that chooses among the evaluation's own texts, without weights.

  It works in any language that espeak-ng speaks, but its error rates are far
  too low: it can only hear sentences of the set.
  """

  spec = "dtw"

  def __init__(self, texts: Mapping[str, Sequence[str]], *, batch: int = 16):
    """Keeps the candidates.

    Args:
      texts: all texts of the evaluation, by language code.
      batch: texts that are warped at a time; the answer does not depend on it.
    """
    self._texts = texts
    self._batch = batch

  def transcribe(
    self, paths: Sequence[pathlib.Path], language: str
  ) -> list[str]:
    """Chooses a text for each file. Raises UserError where there is none."""
    texts = list(dict.fromkeys(self._texts.get(language, ())))
    if not texts:
      raise UserError(f"the judge dtw was given no texts in {language!r}.")
    voice = languages.BY_CODE[language].espeak
    return transcribe_each(paths, lambda wave: self._one(wave, texts, voice))

  def _one(self, wave: np.ndarray, texts: Sequence[str], voice: str) -> str:
    """Text nearest to float32[n] at 16 kHz; empty for silence."""
    wave = signal.trim_silence(wave)
    if len(wave) < SHORTEST:
      return ""
    frames = signal.mfcc(wave)
    found = [
      distances(frames, [template(text, voice) for text in chunk])
      for chunk in (
        texts[i : i + self._batch] for i in range(0, len(texts), self._batch)
      )
    ]
    return texts[int(np.argmin(np.concatenate(found)))]


def choose(wave: np.ndarray, texts: Sequence[str], voice: str) -> int:
  """Index of the text the recording (16 kHz) is nearest to; -1 for silence.

  Args:
    wave: float32[n] at 16 kHz.
    texts: candidates, spoken by `voice` of espeak-ng.

  Raises:
    UserError: espeak-ng is not installed or has no such voice.
  """
  wave = signal.trim_silence(wave)
  if len(wave) < SHORTEST:
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
  """Computes the warped distance per frame of [t, k] to each [s, k].

  The cheapest path of steps (1, 1), (1, 0), (0, 1), a diagonal step counted
  twice, divided by t + s. An empty template is infinitely far.

  Returns:
    float32[c].
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
  """Sums the cheapest paths, one anti-diagonal of all candidates at a time.

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
