"""Fingerprints of sound: near-duplicates found without comparing all pairs.

A frame's print is the signs of how its band energies change over time and
frequency (Haitsma and Kalker, 2002), which level, coding and a little noise
leave alone. The prints of a clip are a set; its sketch is the set's smallest
hashes (Broder, 1997), whose overlap estimates that of the sets whatever the
clips' ends are. Clips that share one of their few smallest hashes are compared.

Shape letters: n samples, t frames, m bands.
"""

from collections.abc import Sequence

import numpy as np
import scipy.fft

from s02jax.pretrained import signal

SKETCH = 96  # hashes of a clip
KEYS = 32  # hashes by which clips are brought together
_WINDOW, _HOP = 6144, 256  # samples at 16 kHz: 384 ms, 16 ms
_LOWEST, _HIGHEST = 300.0, 3000.0  # Hz, as Haitsma and Kalker
_BANDS = 9  # 8 bits a frame
_STEP = 8  # frames between those that are compared
_JOINED = (0, 12, 24)  # frames whose bits make a print


def sketch(wave: np.ndarray) -> tuple[int, ...]:
  """Smallest hashes of the prints of a clip, in order.

  Args:
    wave: float32 [n] at 16 kHz; below a second there is none.
  """
  hashed = _prints(wave)
  # A fixed bijection of 64 bits: small prints must not be favoured.
  hashed = hashed * np.uint64(0x9E3779B97F4A7C15)
  hashed ^= hashed >> np.uint64(29)
  hashed *= np.uint64(0xBF58476D1CE4E5B9)
  hashed ^= hashed >> np.uint64(32)
  return tuple(int(x) for x in np.unique(hashed)[:SKETCH])


def overlap(a: Sequence[int], b: Sequence[int]) -> float:
  """Estimated share that the prints of two clips have in common, 0 to 1."""
  if not a or not b:
    return 0.0
  smallest = sorted({*a, *b})[:SKETCH]
  both = set(a) & set(b)
  return sum(x in both for x in smallest) / len(smallest)


def _prints(wave: np.ndarray) -> np.ndarray:
  """Prints of 24 bits, uint64 [t], of float32 [n] at 16 kHz."""
  if len(wave) < _WINDOW + (_STEP + _JOINED[-1] + 2) * _HOP:
    return np.zeros(0, np.uint64)
  frames = np.lib.stride_tricks.sliding_window_view(wave, _WINDOW)[::_HOP]
  hann = np.hanning(_WINDOW).astype(np.float32)
  power = np.concatenate(
    [
      np.abs(scipy.fft.rfft(frames[i : i + 256] * hann, axis=1)) ** 2
      for i in range(0, len(frames), 256)
    ]
  )
  hertz = np.fft.rfftfreq(_WINDOW, 1 / signal.JUDGE_RATE)
  edges = np.geomspace(_LOWEST, _HIGHEST, _BANDS + 1)
  places = np.searchsorted(hertz, edges)
  bands = np.add.reduceat(power, places[:-1], axis=1)
  across = np.diff(np.log(bands + 1e-9), axis=1)
  signs = across[_STEP:] > across[:-_STEP]  # [t, m - 1]
  bits = (signs @ (1 << np.arange(_BANDS - 1))).astype(np.uint64)
  count = len(bits) - _JOINED[-1]
  joined = np.zeros(count, np.uint64)
  for place in _JOINED:
    joined = joined << np.uint64(_BANDS - 1) | bits[place : place + count]
  loud = power.sum(axis=1)[_STEP : _STEP + count]
  return joined[loud > 1e-4 * loud.max(initial=0.0)]
