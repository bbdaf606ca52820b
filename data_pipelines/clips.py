"""From a decoded wave to a clip of the corpus: trim, level, cut, encode.

Shared by the builders and free of TensorFlow Datasets and JAX, so that the
worker processes start quickly.
"""

import dataclasses
import io

import numpy as np
import pyloudnorm
import soundfile
import soxr

LOUDNESS = -23.0  # LUFS, the EBU R 128 programme level
CEILING = 0.95  # highest absolute sample value after levelling
SILENCE = 1e-3  # a wave that never exceeds this (-60 dBFS) is silence
TOKENS_PER_SECOND = 25  # clips are cut to a whole number of tokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
  """One record of a corpus, as the builders hand it to the writer."""

  id: str
  audio: bytes  # FLAC, mono, 16 bit, at the corpus rate
  num_samples: int  # a multiple of rate // 25
  text: str  # NFC; empty where there is no transcript
  language: str
  speaker: str
  source: str  # the file or the generator it came from
  emotion: str = ""
  description: str = ""


class Unusable(Exception):
  """This clip cannot be used. The message is the reason, for a person."""


def trim(wave: np.ndarray, rate: int, keep: float = 0.08) -> np.ndarray:
  """Cuts silence off both ends of f32[n], leaving `keep` seconds of it.

  Silence is 40 dB below the loudest 10 ms, or below -60 dBFS.
  """
  hop = max(1, rate // 100)
  frames = wave[: len(wave) // hop * hop].reshape(-1, hop)
  if not len(frames):
    return wave
  level = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1))
  loud = np.flatnonzero(level > max(level.max() * 1e-2, SILENCE))
  if not len(loud):
    return wave
  margin = int(keep * rate)
  start = max(0, loud[0] * hop - margin)
  return wave[start : (loud[-1] + 1) * hop + margin]


def level(wave: np.ndarray, rate: int) -> np.ndarray:
  """Scales f32[n] to -23 LUFS, or as near as the peak ceiling allows.

  Waves shorter than the 0.4 s a loudness block needs are scaled by their RMS.
  """
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
  """Band-limited resampling of f32[n]; the rates need not be whole."""
  return wave if rate == to_rate else soxr.resample(wave, rate, to_rate)


def to_int16(wave: np.ndarray) -> np.ndarray:
  """f32[n] in [-1, 1] -> i16[n], rounded to nearest."""
  return np.clip(np.rint(wave * 32767), -32768, 32767).astype(np.int16)


def encode(wave: np.ndarray, rate: int) -> tuple[bytes, int]:
  """f32[n] -> (FLAC bytes, samples), cut to whole tokens.

  Raises Unusable when not one token is left.
  """
  step = rate // TOKENS_PER_SECOND
  num_samples = len(wave) // step * step
  if not num_samples:
    raise Unusable("shorter than one token (0.04 s)")
  buffer = io.BytesIO()
  samples = to_int16(wave[:num_samples])
  soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
  return buffer.getvalue(), num_samples
