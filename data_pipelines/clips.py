"""Clips of a corpus: cut and encoded.

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
