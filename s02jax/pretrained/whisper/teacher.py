"""Teacher of the audio tokenizer: a frozen multilingual encoder of speech.

A spec is `faster-whisper:WEIGHTS`, a name that is in the library's cache or a
folder: the encoder of Whisper, of which the decoder is not used.

Shape letters: n samples, s tokens, o features of a state.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND, whole_tokens
from s02jax.pretrained import signal
from s02jax.pretrained.audio import require
from s02jax.pretrained.whisper.recogniser import FasterWhisper

_STATES_PER_SECOND = 50  # of Whisper's encoder
_WINDOW = 30  # seconds that it takes at once


class Teacher(Protocol):
  """Encoder whose hidden states the tokens shall tell."""

  spec: str  # kind and weights
  size: int  # features of a state, o

  def states(self, waves: Sequence[np.ndarray], rate: int) -> list[np.ndarray]:
    """Returns hidden states float32 [s, o], 25 a second, of each wave.

    Args:
      waves: float32 [n].
      rate: Hz.
    """
    ...


def load(spec: str) -> Teacher:
  """Loads a teacher; raises UserError for an unknown one or missing weights."""
  kind, _, weights = spec.partition(":")
  if kind != "faster-whisper" or not weights:
    raise UserError(
      f"{spec!r} is no teacher; give faster-whisper:WEIGHTS, such as"
      " faster-whisper:base."
    )
  return WhisperTeacher(weights)


class WhisperTeacher:
  """Last states of Whisper's encoder, each the mean of two of its frames."""

  def __init__(self, weights: str):
    """Loads weights by name or folder; downloads nothing. Raises UserError."""
    self._model = FasterWhisper(weights).model
    self.spec = f"faster-whisper:{weights}"
    self.size = self._encode(np.zeros(signal.JUDGE_RATE, np.float32)).shape[1]

  def states(self, waves: Sequence[np.ndarray], rate: int) -> list[np.ndarray]:
    """Hidden states of each wave, in windows of 30 s one after the other."""
    return [self._states(whole_tokens(wave, rate), rate) for wave in waves]

  def _states(self, wave: np.ndarray, rate: int) -> np.ndarray:
    count = len(wave) * TOKENS_PER_SECOND // rate
    window = _WINDOW * rate
    parts = [
      self._encode(signal.to_judge_rate(wave[i : i + window], rate))
      for i in range(0, len(wave), window)
    ]
    frames = np.concatenate([*parts, np.zeros((0, self.size), np.float32)])
    group = _STATES_PER_SECOND // TOKENS_PER_SECOND
    padding = max(count * group - len(frames), 0)
    frames = np.pad(frames, ((0, padding), (0, 0)), mode="edge")
    frames = frames[: count * group].reshape(count, group, self.size)
    return frames.mean(axis=1)

  def _encode(self, wave: np.ndarray) -> np.ndarray:
    """States float32 [50 a second, o] of at most 30 s at 16 kHz."""
    (package,) = require("faster-whisper")
    features = self._model.feature_extractor(wave)
    frames = 2 * _STATES_PER_SECOND * _WINDOW  # of the log-mel, 100 a second
    features = package.audio.pad_or_trim(features, frames)
    states = np.asarray(self._model.encode(features), np.float32)[0]
    return states[: round(len(wave) / signal.JUDGE_RATE * _STATES_PER_SECOND)]
