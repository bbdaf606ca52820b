"""Clips as builders make them: cut to whole tokens and encoded.

Shared by the builders and free of TensorFlow Datasets and JAX, so that the
worker processes start quickly.
"""

import dataclasses
import io

import numpy as np
import soundfile

from s02jax.core.rates import TOKENS_PER_SECOND


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
  """One record of a corpus, as the builders hand it to the writer."""

  id: str  # unique within the corpus
  audio: bytes  # FLAC, mono, 16 bit, at the corpus rate
  num_samples: int  # a multiple of rate // 25
  text: str  # NFC; empty where there is no transcript
  language: str  # code of `core/languages.py`
  speaker: str  # name of the person, or of the synthetic speaker
  source: str  # file or generator that the clip came from
  emotion: str = ""  # empty if unknown
  description: str = ""  # of the speaker's voice; empty if unknown


class Unusable(Exception):
  """Error of a clip that cannot be used; the message says why."""


def to_int16(wave: np.ndarray) -> np.ndarray:
  """Rounds a wave f32[n] in [-1, 1] to i16[n]."""
  return np.clip(np.rint(wave * 32767), -32768, 32767).astype(np.int16)


def encode(wave: np.ndarray, rate: int) -> tuple[bytes, int]:
  """Encodes a wave f32[n], cut to whole tokens, as FLAC.

  Returns:
    The bytes of the file, and how many samples it has.

  Raises:
    Unusable: not one token is left.
  """
  step = rate // TOKENS_PER_SECOND
  num_samples = len(wave) // step * step
  if not num_samples:
    raise Unusable("shorter than one token (0.04 s)")
  buffer = io.BytesIO()
  samples = to_int16(wave[:num_samples])
  soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
  return buffer.getvalue(), num_samples
