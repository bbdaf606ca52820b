"""Measures of a clip: bandwidth, music behind the speech, traits of a voice.

Shape letters: n samples, t frames, f frequency bins.
"""

import numpy as np

from s02jax.audio import prosody
from s02jax.pretrained import signal

_QUIET = 1e-4  # power below the loudest frame's, at which nothing is measured
_RANGE = 1e-5  # power of the highest frequency, as a share of the strongest
_SECOND = signal.JUDGE_RATE
_LOUD_MUSIC = 10 ** (-30 / 10)  # power of music that is heard, beside speech
_MALE, _FEMALE = 145.0, 175.0  # Hz, between which a pitch tells no gender


def bandwidth(wave: np.ndarray, rate: int) -> float:
  """Highest frequency in Hz within 50 dB of the strongest third of an octave.

  A recording that came over a telephone has 3,400 Hz, whatever its rate.

  Args:
    wave: float32 [n].
    rate: of the wave, Hz.
  """
  size = 1024
  if len(wave) < size:
    return 0.0
  frames = np.lib.stride_tricks.sliding_window_view(wave, size)[:: size // 2]
  power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
  loud = power.sum(axis=1)
  mean = power[loud > loud.max() * _QUIET].mean(axis=0)
  mean = np.convolve(mean, np.ones(5) / 5, "same")
  above = np.flatnonzero(mean > mean.max() * _RANGE)
  return float(above[-1] * rate / size)


def music(background: np.ndarray, speech: np.ndarray) -> float:
  """Share of the background that consists of steady tones, 0 to 1.

  Noise of any colour has none, and is kept; what is too quiet to be heard
  beside the speech does not count.

  Args:
    background: float32 [n] at 16 kHz, where nobody speaks.
    speech: float32 [n] at 16 kHz.
  """
  size, hop = 2048, 1024
  if len(background) < _SECOND // 2 or not np.any(speech):
    return 0.0
  if np.mean(background**2) < _LOUD_MUSIC * np.mean(speech**2):
    return 0.0
  frames = np.lib.stride_tricks.sliding_window_view(background, size)[::hop]
  power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
  power = power[:, 13:513]  # 100 Hz to 4 kHz
  kernel = np.ones(25) / 25
  floor = np.apply_along_axis(np.convolve, 1, power, kernel, "same")
  tones = power > 6 * floor  # [t, f]
  steady = tones[1:] & tones[:-1]
  return float(np.mean(steady.sum(axis=1) >= 3)) if len(steady) else 0.0


def attributes(wave: np.ndarray, text: str) -> dict[str, float]:
  """Attributes of the voice in a clip, for text-to-voice.

  Args:
    wave: float32 [n] at 16 kHz, not levelled.
    text: what is said.

  Returns:
    pitch in Hz, pitch_range in semitones, rate in letters a second, loudness in
    dB below full scale, and gender: -1 male, 1 female, 0 where the pitch does
    not tell (an estimate from the pitch alone). Empty where nothing is voiced.
  """
  found = prosody.measure(wave, signal.JUDGE_RATE, text)
  if found is None:
    return {}
  hertz = found.hertz
  return {
    "pitch": round(hertz, 1),
    "pitch_range": round(found.width, 2),
    "rate": round(found.pace, 2),
    "loudness": round(found.loudness, 2),
    "gender": float((hertz > _FEMALE) - (hertz < _MALE)),
  }
