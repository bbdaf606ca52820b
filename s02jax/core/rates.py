"""The token rate, and conversions between seconds, samples and tokens."""

import numpy as np

TOKENS_PER_SECOND = 25  # audio tokens of one second of speech


def samples(seconds: float, rate: int) -> int:
  """Seconds as samples at `rate` Hz, on the grid of tokens."""
  return tokens(seconds) * (rate // TOKENS_PER_SECOND)


def tokens(seconds: float) -> int:
  """Seconds as audio tokens, at least one."""
  return max(round(seconds * TOKENS_PER_SECOND), 1)


def whole_tokens(wave: np.ndarray, rate: int) -> np.ndarray:
  """float32 [n], cut to a whole number of tokens."""
  samples = rate // TOKENS_PER_SECOND
  return np.asarray(wave[: len(wave) // samples * samples], np.float32)
