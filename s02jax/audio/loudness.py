"""Loudness of recordings: silence trimmed, levelled to one loudness.

Applied to corpora and to reference recordings of voices alike. Free of JAX, so
that the worker processes of the builders start quickly; an export has only
NumPy, so that other packages are imported where they are needed.
"""

import numpy as np

LOUDNESS = -23.0  # LUFS, the EBU R 128 programme level
CEILING = 0.95  # highest absolute sample value after levelling
KEPT = 0.08  # seconds of silence left at either end
_FADE = 0.02  # seconds in which a recording that was cut off fades out
SILENCE = 1e-3  # a wave that never exceeds this (-60 dBFS) is silence


def trim_and_level(wave: np.ndarray, rate: int, to_rate: int) -> np.ndarray:
  """Trims, resamples and levels a recording to -23 LUFS.

  A wave that is silent or not finite is not levelled.

  Args:
    wave: float32 [n].
    rate: of `wave`, Hz.
    to_rate: of the result, Hz.
  """
  wave = resample(trim(wave, rate), rate, to_rate)
  loud = np.max(np.abs(wave), initial=0.0) > SILENCE
  return level(wave, to_rate) if loud and np.isfinite(wave).all() else wave


def soften(wave: np.ndarray, rate: int) -> np.ndarray:
  """Clips clicks in float32 [n] to the peaks of the rest.

  A click is 10 ms whose peak exceeds four times (12 dB) the peak that a tenth
  of a second in total reaches. It would hold the level of the whole recording
  down. Speech holds none, and stays as it is.
  """
  hop = max(1, rate // 100)
  count = len(wave) // hop
  if not count:
    return wave
  frames = np.abs(wave[: count * hop].reshape(count, hop))
  peaks = np.append(
    frames.max(axis=1), np.abs(wave[count * hop :]).max(initial=0)
  )
  usual = np.sort(peaks)[-min(11, 1 + count // 3)]
  clicks = peaks > max(4 * usual, SILENCE)
  if not clicks.any():
    return wave
  # What rings before and after a click is part of it.
  near = np.convolve(clicks, (1, 1, 1), "same") > 0
  among = np.repeat(near, hop)[: len(wave)]
  limit = np.float32(max(usual, SILENCE))
  return np.where(among, np.clip(wave, -limit, limit), wave)


def trim(wave: np.ndarray, rate: int, keep: float = KEPT) -> np.ndarray:
  """Trims silence off both ends of float32 [n], leaving `keep` seconds of it.

  Silence is 40 dB below the loudest 10 ms, or below -60 dBFS.
  """
  begin, end = bounds(wave, rate, keep)
  return wave[begin:end]


def bounds(wave: np.ndarray, rate: int, keep: float = KEPT) -> tuple[int, int]:
  """First sample that `trim` leaves, and the one behind the last."""
  loud = _loud_samples(wave, rate)
  if loud is None:
    return 0, len(wave)
  margin = int(keep * rate)
  return max(0, loud[0] - margin), min(loud[1] + margin, len(wave))


def close(wave: np.ndarray, rate: int, keep: float = KEPT) -> np.ndarray:
  """Ends float32 [n] in `keep` seconds of silence, where it ends in less.

  A recording that is cut off while somebody speaks fades out first.
  """
  loud = _loud_samples(wave, rate)
  missing = 0 if loud is None else loud[1] + int(keep * rate) - len(wave)
  if missing <= 0:
    return wave
  faded = min(int(_FADE * rate), len(wave))
  end = wave[len(wave) - faded :] * np.linspace(1, 0, faded, dtype=np.float32)
  nothing = np.zeros(missing, np.float32)
  return np.concatenate([wave[: len(wave) - faded], end, nothing])


def _loud_samples(wave: np.ndarray, rate: int) -> tuple[int, int] | None:
  """First sample that is not silence and the one behind the last, or None."""
  hop = max(1, rate // 100)
  frames = wave[: len(wave) // hop * hop].reshape(-1, hop)
  if not len(frames):
    return None
  level = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1))
  loud = np.flatnonzero(level > max(level.max() * 1e-2, SILENCE))
  if not len(loud):
    return None
  return int(loud[0]) * hop, (int(loud[-1]) + 1) * hop


def level(wave: np.ndarray, rate: int) -> np.ndarray:
  """Scales float32 [n] to -23 LUFS, or as near as the peak ceiling allows.

  Waves shorter than the 0.4 s a loudness block needs are scaled by their RMS.
  """
  import pyloudnorm

  loudness = -np.inf
  if len(wave) >= 0.4 * rate:
    loudness = pyloudnorm.Meter(rate).integrated_loudness(wave)
  if not np.isfinite(loudness):
    power = np.mean(np.square(wave, dtype=np.float64))
    loudness = 10 * np.log10(power + 1e-12)
  gain = 10 ** ((LOUDNESS - loudness) / 20)
  peak = float(np.max(np.abs(wave)))
  return (wave * min(gain, CEILING / max(peak, 1e-9))).astype(np.float32)


def resample(wave: np.ndarray, rate: float, to_rate: int) -> np.ndarray:
  """Resamples float32 [n], band-limited; `rate` need not be whole."""
  if rate == to_rate:
    return wave
  import soxr

  return soxr.resample(wave, rate, to_rate)
