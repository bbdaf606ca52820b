"""Protocols of the judges: recogniser, speaker and quality judge, detector.

Every judge takes paths of audio files of any sample rate and has a `spec`, the
name by which tables and ledgers know it. A detector of speech takes waves, for
it is asked about recordings before they are written.
"""

import pathlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Recogniser(Protocol):
  """Speech recogniser: audio files to texts."""

  spec: str  # kind, or "kind:weights"

  def transcribe(
    self, paths: Sequence[pathlib.Path], language: str
  ) -> list[str]:
    """Returns one text for each file.

    Args:
      paths: audio files.
      language: code of the language that is spoken in all of them.

    Raises:
      UserError: a file cannot be read, or the language is not supported.
    """
    ...


class SpeakerJudge(Protocol):
  """Speaker encoder: audio files to vectors that are compared by cosine."""

  spec: str  # kind, or "kind:weights"

  def embed(self, paths: Sequence[pathlib.Path]) -> np.ndarray:
    """Returns float32[n, e] for n files; zero where nobody speaks.

    Raises:
      UserError: a file cannot be read.
    """
    ...


class QualityJudge(Protocol):
  """Predictor of listening quality: audio files to scores."""

  spec: str  # kind, or "kind:weights"

  def score(self, paths: Sequence[pathlib.Path]) -> dict[str, np.ndarray]:
    """Returns float32[n] by measure; NaN where there is nothing to hear.

    Raises:
      UserError: a file cannot be read.
    """
    ...


class SpeechDetector(Protocol):
  """Detector of speech: a wave to the times at which somebody speaks."""

  spec: str  # kind

  def probabilities(self, wave: np.ndarray) -> np.ndarray:
    """Returns the probability of speech in each frame, float32[t].

    Args:
      wave: float32[n] at 16 kHz.
    """
    ...

  def segments(self, wave: np.ndarray) -> list[tuple[float, float]]:
    """Returns the seconds at which speech begins and ends, in order.

    Args:
      wave: float32[n] at 16 kHz.
    """
    ...


def unit_vectors(x: np.ndarray) -> np.ndarray:
  """Vectors [.., e] at length 1: products are cosines, zero stays zero."""
  return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
