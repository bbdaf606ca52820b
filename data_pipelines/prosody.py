"""Emotions of espeak-ng: pitch, range, pace, loudness and breath, no acting.

They are what such a synthesizer has of an emotion, and honest about being no
more: no voice quality, no stress, no pauses, no laughter. The directions are
those that acted speech shows (Juslin and Laukka 2003, tables 7 and 11): sad
low, narrow, slow and soft; happy and surprised high and wide; angry fast and
loud; fearful high, narrow and fast.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prosody:
  """Changes of a speaker's neutral speech."""

  pitch: int = 0  # added to espeak-ng's pitch, 0 to 99
  width: float = 1.0  # factor of espeak-ng's pitch range
  pace: float = 1.0  # factor of words a minute
  decibels: float = 0.0  # louder, after all clips are levelled alike
  breath: float = 0.0  # noise that follows the loudness, as a share of it


PROSODIES = {
  "neutral": Prosody(),
  "happy": Prosody(pitch=14, width=1.5, pace=1.1, decibels=1.5),
  "sad": Prosody(pitch=-12, width=0.35, pace=0.75, decibels=-5.0),
  "angry": Prosody(pitch=2, width=1.2, pace=1.3, decibels=4.0),
  "fearful": Prosody(pitch=24, width=0.4, pace=1.3, decibels=-3.0, breath=0.15),
  "disgusted": Prosody(pitch=-14, width=1.3, pace=0.85, decibels=1.0),
  "surprised": Prosody(pitch=26, width=1.9, pace=0.9, decibels=2.0),
}


def sound(wave: np.ndarray, prosody: Prosody, rate: int) -> np.ndarray:
  """Clip f32[n] at the prosody's loudness and with its breath.

  Args:
    wave: f32[n] in -1..1, levelled.
    prosody: of the clip.
    rate: of the wave, Hz.
  """
  if prosody.breath:
    noise = np.random.default_rng(len(wave)).normal(size=len(wave))
    smooth = np.ones(rate // 50) * 50 / rate
    loudness = np.sqrt(np.convolve(wave**2, smooth, "same").clip(0))
    wave = wave + prosody.breath * noise * loudness
  wave = wave * 10 ** (prosody.decibels / 20)
  return (wave / max(1.0, np.abs(wave).max(initial=0.0))).astype(np.float32)
