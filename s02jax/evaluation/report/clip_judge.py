"""Judges of single clips, run by worker processes.

Nothing here imports JAX, so that a worker starts fast.
"""

import dataclasses
import functools

import numpy as np

from s02jax.core import languages
from s02jax.pretrained import dnsmos, dtw, hama, pocketsphinx, signal
from s02jax.pretrained.whisper import recogniser as whisper


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaseTask:
  """One case in all its rows: the task of a worker."""

  candidates: tuple[str, ...]  # the true text first
  language: str  # code
  phonemes: bool  # ask hama
  quality: bool  # ask DNSMOS
  truth: np.ndarray  # float32[n] at 16 kHz
  waves: tuple[np.ndarray, ...]  # 16 kHz, one a row
  aligned: tuple[bool, ...]  # row is a copy of the truth, sample by sample


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
  """Verdict of all judges on one clip; None: not asked or not measurable."""

  dtw: bool  # the true text is the nearest
  choice: bool | None  # pocketsphinx chose the true text; English only
  phonemes: tuple[str, ...] | None  # that hama heard
  stoi: float | None
  pesq: float | None  # wide-band
  distance: float | None  # of logarithmic spectra, decades
  dnsmos: float | None  # overall, 1 to 5


def judge_case(task: CaseTask) -> list[Verdict]:
  """Judges every row of a case: one verdict a row, in the task's order."""
  return [
    _verdict(task, wave, aligned)
    for wave, aligned in zip(task.waves, task.aligned, strict=True)
  ]


def _verdict(task: CaseTask, wave: np.ndarray, aligned: bool) -> Verdict:
  """Asks all judges about one clip, float32[n] at 16 kHz."""
  voice = languages.BY_CODE[task.language].espeak
  english = task.language == pocketsphinx.LANGUAGE.code
  pair = (task.truth, wave)
  return Verdict(
    dtw=dtw.choose(wave, task.candidates, voice) == 0,
    choice=(
      pocketsphinx.choose(wave, task.candidates) == 0 if english else None
    ),
    phonemes=tuple(hama.hear(wave)) if task.phonemes else None,
    stoi=signal.stoi(*pair) if aligned else None,
    pesq=signal.wb_pesq(*pair) if aligned else None,
    distance=signal.spectral_distance(*pair) if aligned else None,
    dnsmos=_quality(wave) if task.quality else None,
  )


def hear(waves: tuple[np.ndarray, ...], language: str) -> list[str]:
  """Transcribes clips of one language, float32[n] at 16 kHz, by Whisper."""
  return _whisper().hear(waves, language)


@functools.cache
def _whisper() -> whisper.FasterWhisper:
  """Recogniser of this process, which has one core."""
  return whisper.FasterWhisper(whisper.OFFLINE.partition(":")[2], threads=1)


def _quality(wave: np.ndarray) -> float | None:
  """Overall DNSMOS of float32[n] at 16 kHz; None for silence."""
  score = _dnsmos().overall(wave) if len(wave) else np.nan
  return None if np.isnan(score) else score


@functools.cache
def _dnsmos() -> dnsmos.DnsMos:
  """Judge DNSMOS of this process, which has one core."""
  return dnsmos.DnsMos(threads=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copy:
  """Distance of a copy from its recording; None: not measurable."""

  nb_pesq: float | None
  wb_pesq: float | None
  stoi: float | None
  stft_loss: float | None


def judge_copy(truth: np.ndarray, wave: np.ndarray) -> Copy:
  """Compares two aligned waves, float32[n] at 16 kHz."""
  pair = (truth, wave)
  return Copy(
    nb_pesq=signal.nb_pesq(*pair),
    wb_pesq=signal.wb_pesq(*pair),
    stoi=signal.stoi(*pair),
    stft_loss=signal.stft_loss(*pair),
  )
