"""Rate of the audio tokens; conversions of seconds, samples and tokens."""

import numpy as np

TOKENS_PER_SECOND = 25  # audio tokens of one second of speech


def samples(seconds: float, rate: int) -> int:
  """Samples at `rate` Hz of so many seconds, rounded to whole tokens."""
  return tokens(seconds) * (rate // TOKENS_PER_SECOND)


def tokens(seconds: float) -> int:
  """Audio tokens of so many seconds, rounded, at least one."""
  return max(round(seconds * TOKENS_PER_SECOND), 1)


def whole_tokens(wave: np.ndarray, rate: int) -> np.ndarray:
  """Waveform as float32 [n], cut to a whole number of tokens.

  Args:
    wave: samples [m].
    rate: sample rate in Hz.
  """
  samples = rate // TOKENS_PER_SECOND
  return np.asarray(wave[: len(wave) // samples * samples], np.float32)
