"""The judges that hear one clip at a time: what a worker process runs.

Imports no JAX, so that a worker starts fast.
"""

import dataclasses

import numpy as np

from s02jax.core import languages
from s02jax.pretrained import dtw, pocketsphinx, signal


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaseTask:
  """One case in all its rows: what a worker gets."""

  candidates: tuple[str, ...]  # the true text first
  language: str
  transcribe: bool
  truth: np.ndarray  # float32[n] at 16 kHz
  waves: tuple[np.ndarray, ...]  # 16 kHz, one a row
  aligned: tuple[bool, ...]  # with the truth, sample by sample


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
  """What the judges of single clips say of one; None: not asked."""

  dtw: bool
  choice: bool | None  # English only
  heard: str | None  # English only, the first few
  stoi: float | None
  pesq: float | None
  distance: float | None


def judge_case(task: CaseTask) -> list[Verdict]:
  """One verdict a row."""
  return [
    _verdict(task, wave, aligned)
    for wave, aligned in zip(task.waves, task.aligned, strict=True)
  ]


def _verdict(task: CaseTask, wave: np.ndarray, aligned: bool) -> Verdict:
  voice = languages.BY_CODE[task.language].espeak
  english = task.language == pocketsphinx.LANGUAGE.code
  pair = (task.truth, wave)
  return Verdict(
    dtw=dtw.choose(wave, task.candidates, voice) == 0,
    choice=(
      pocketsphinx.choose(wave, task.candidates) == 0 if english else None
    ),
    heard=pocketsphinx.transcribe(wave) if task.transcribe else None,
    stoi=signal.stoi(*pair) if aligned else None,
    pesq=signal.wb_pesq(*pair) if aligned else None,
    distance=signal.spectral_distance(*pair) if aligned else None,
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copy:
  """How near a copy is to its recording; None: not measurable."""

  nb_pesq: float | None
  wb_pesq: float | None
  stoi: float | None
  stft_loss: float | None


def judge_copy(truth: np.ndarray, wave: np.ndarray) -> Copy:
  """Two waves at 16 kHz, sample by sample the same."""
  pair = (truth, wave)
  return Copy(
    nb_pesq=signal.nb_pesq(*pair),
    wb_pesq=signal.wb_pesq(*pair),
    stoi=signal.stoi(*pair),
    stft_loss=signal.stft_loss(*pair),
  )
