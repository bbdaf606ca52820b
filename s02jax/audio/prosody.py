"""Prosody of a recording, measured: pitch and its range, pace, loudness.

No network: the period of a frame is where its autocorrelation, divided by that
of the window (Boersma 1993), is largest. Good to about a semitone on clean
speech; octave errors are rare enough for medians.

Shape letters: n samples, t frames, k figures.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import soxr

RATE = 16_000  # Hz at which all is measured
LOWEST, HIGHEST = 60.0, 450.0  # Hz of a voice
_SILENT = 1e-3  # share of the loudest frame's power; below it nobody speaks
_WINDOW, _HOP = 800, 160  # samples at 16 kHz: 50 ms, 10 ms
_VOICED = 0.5  # least autocorrelation of a voiced frame
_AS_HIGH = 0.88  # least share of the highest peak that a period has
FIGURES = ("pitch", "width", "pace", "loudness")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prosody:
  """Figures of one recording."""

  pitch: float  # semitones above 55 Hz, median of the voiced frames
  width: float  # semitones between the 10th and the 90th percentile
  pace: float  # letters a second, of the recording without silent ends
  loudness: float  # dB of the voiced frames' mean power, full scale is 0

  @property
  def hertz(self) -> float:
    """Median pitch in Hz."""
    return 55.0 * 2 ** (self.pitch / 12)

  def figures(self) -> np.ndarray:
    """The figures float64 [k], in the order of FIGURES."""
    return np.array([getattr(self, name) for name in FIGURES])


def pitches(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Pitch in Hz, 0 where unvoiced, and mean power of frames, float64 [t] each.

  Args:
    wave: float32 [n] at 16 kHz.
  """
  if len(wave) < _WINDOW:
    return np.zeros(0), np.zeros(0)
  frames = np.lib.stride_tricks.sliding_window_view(wave, _WINDOW)[::_HOP]
  frames = frames.astype(np.float64)
  power = np.mean(frames**2, axis=1)
  hann = np.hanning(_WINDOW)
  frames = (frames - frames.mean(axis=1, keepdims=True)) * hann
  size = 2 * _WINDOW

  def correlation(x):
    return np.fft.irfft(np.abs(np.fft.rfft(x, size, axis=-1)) ** 2)

  found = correlation(frames)
  found = found / np.maximum(found[:, :1], 1e-12)
  window = correlation(hann)
  first, last = int(RATE / HIGHEST), int(RATE / LOWEST)
  lags = np.arange(first, last + 1)
  found = found[:, lags] / (window[lags] / window[0])
  # Of peaks about as high the shortest period is the voice's.
  highest = found.max(axis=1)
  peak = np.zeros(found.shape, bool)
  middle = found[:, 1:-1]
  peak[:, 1:-1] = (middle >= found[:, :-2]) & (middle > found[:, 2:])
  peak &= found > _AS_HIGH * highest[:, None]
  best = peak.argmax(axis=1)
  loud = power > power.max(initial=0.0) * _SILENT
  voiced = loud & (highest > _VOICED) & peak.any(axis=1)
  return np.where(voiced, RATE / lags[best], 0.0), power


def measure(wave: np.ndarray, rate: int, text: str) -> Prosody | None:
  """Prosody of a recording; None where almost nothing in it is voiced.

  Args:
    wave: float [n].
    rate: of the wave, Hz.
    text: what is said.
  """
  wave = np.asarray(wave, np.float32)
  if rate != RATE:
    wave = soxr.resample(wave, rate, RATE)
  hertz, power = pitches(wave)
  voiced = hertz > 0
  if voiced.sum() < 5:
    return None
  tones = 12 * np.log2(hertz[voiced] / 55.0)
  low, middle, high = np.percentile(tones, [10, 50, 90])
  letters = sum(c.isalnum() for c in text)
  spoken = np.flatnonzero(power > power.max() * _SILENT)
  frames = spoken[-1] - spoken[0] + 1
  return Prosody(
    pitch=float(middle),
    width=float(high - low),
    pace=letters / (frames * _HOP / RATE),
    loudness=float(10 * np.log10(power[voiced].mean() + 1e-12)),
  )


def centroids(
  measured: Sequence[np.ndarray], labels: Sequence[str]
) -> dict[str, np.ndarray]:
  """Mean figures float64 [k] of the recordings of every label."""
  return {
    label: np.mean([m for m, own in zip(measured, labels, strict=True)
                    if own == label], axis=0)
    for label in dict.fromkeys(labels)
  }  # fmt: skip


def nearest(
  figures: np.ndarray, means: dict[str, np.ndarray], spread: np.ndarray
) -> str:
  """Label whose centroid is nearest to figures [k], in units of the spread."""
  return min(
    means,
    key=lambda label: float(np.sum(((figures - means[label]) / spread) ** 2)),
  )
