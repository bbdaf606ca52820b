"""Voices made of a voice: resampling, and a spectral envelope that moves.

Played `factor` times faster, a voice has `factor` times the pitch and the
formants; the engine speaks so much slower before. Then the envelope of the
spectrum alone is moved, so that pitch and formants are chosen apart:

  Y(t, f) = X(t, f) exp(E(t, f / shift) - E(t, f) + tone(f))        (1)

E is the log magnitude, smoothed by leaving out its cepstrum above `_CUT`, which
is below the period of any pitch here.

Shape letters: n samples, t frames, f frequency bins, w window.
"""

import dataclasses

import numpy as np

from s02jax.audio import loudness

_WINDOW = 0.04  # seconds, w
_OVERLAP = 4  # windows over a sample
_CUT = 0.002  # seconds of the cepstrum that are the envelope
_FLOOR = 1e-5  # magnitude that counts as silence
_MOST = 2.3  # nats by which a bin may change: 20 dB
_BUMPS = (300.0, 800.0, 2000.0, 5000.0)  # Hz, centres of the tone's four hills


@dataclasses.dataclass(frozen=True, kw_only=True)
class Colour:
  """Change of a voice into another one."""

  factor: float  # of pitch and formants together, by resampling
  shift: float  # of the formants alone, after it
  tone: tuple[float, ...]  # dB at 300, 800, 2000 and 5000 Hz


def recolour(
  wave: np.ndarray, rate: int, colour: Colour, to_rate: int
) -> np.ndarray:
  """Changes a voice.

  Args:
    wave: float32 [n].
    rate: of `wave`, Hz.
    colour: the change.
    to_rate: Hz of what is returned.

  Returns:
    float32 [about n * to_rate / rate / factor].
  """
  wave = loudness.resample(wave, rate * colour.factor, to_rate)
  return _move_envelope(wave, to_rate, colour)


def _move_envelope(wave: np.ndarray, rate: int, colour: Colour) -> np.ndarray:
  """Applies equation (1) to float32 [n]."""
  hop = round(_WINDOW * rate) // _OVERLAP
  size = hop * _OVERLAP
  window = np.hanning(size + 1)[:-1].astype(np.float32)
  padded = np.pad(wave, (size, size + hop))
  frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
  spectrum = np.fft.rfft(frames * window, axis=1)
  gain = _gain(np.abs(spectrum), rate, colour)
  made = np.fft.irfft(spectrum * np.exp(gain), size, axis=1) * window
  out = np.zeros(len(padded) + size, np.float32)
  blocks = out[: (len(made) + _OVERLAP - 1) * hop].reshape(-1, hop)
  parts = made.reshape(len(made), _OVERLAP, hop)
  for i in range(_OVERLAP):
    blocks[i : i + len(made)] += parts[:, i]
  # Squared Hann windows at a quarter of their length sum to 3/2.
  return out[size : size + len(wave)] / np.float32(1.5)


def _gain(magnitude: np.ndarray, rate: int, colour: Colour) -> np.ndarray:
  """Log gain of (1), float [t, f], for magnitudes [t, f]."""
  log = np.log(magnitude + _FLOOR)
  cepstrum = np.fft.irfft(log, axis=1)
  cut = int(_CUT * rate)
  lifter = np.zeros(cepstrum.shape[1])
  lifter[: cut + 1] = 0.5 + 0.5 * np.cos(np.pi * np.arange(cut + 1) / cut)
  lifter[-cut:] = lifter[1 : cut + 1][::-1]
  envelope = np.fft.rfft(cepstrum * lifter, axis=1).real
  bins = np.arange(log.shape[1])
  source = np.minimum(bins / colour.shift, bins[-1])
  below = np.minimum(source.astype(int), bins[-1] - 1)
  part = source - below
  moved = envelope[:, below] * (1 - part) + envelope[:, below + 1] * part
  return np.clip(moved - envelope, -_MOST, _MOST) + _tone(
    len(bins), rate, colour
  )


def _tone(count: int, rate: int, colour: Colour) -> np.ndarray:
  """Log gain of the tone at `count` bins, float [f]."""
  hertz = np.maximum(np.arange(count) * rate / 2 / (count - 1), 50.0)
  octaves, centres = np.log2(hertz), np.log2(_BUMPS)
  decibels = np.interp(octaves, centres, colour.tone)
  return decibels * (np.log(10) / 20)
