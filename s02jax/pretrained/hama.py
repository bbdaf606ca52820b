"""Judge hama: phonemes that were spoken, held against those of the text.

A small phoneme recogniser (Apache-2.0, 5 MB in its wheel) that knows no words,
and so repairs none: a second opinion beside Whisper, which does. English only.
The phonemes of a text are hama's own reading of its words; where that errs, it
errs for the recording too, so read the rate beside the ground truth's.
"""

import functools
import importlib.util
from collections.abc import Sequence

import numpy as np

from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.pretrained import signal
from s02jax.pretrained.audio import SHORTEST
from s02jax.text import edits

LANGUAGE = languages.BY_CODE["en"]
NOT_INSTALLED = (
  "hama's phonemes are left out, because it is not installed: pip install"
  " 's02jax[judges]'."
)


def installed() -> bool:
  """True where the package is installed."""
  return importlib.util.find_spec("hama") is not None


def hear(wave: np.ndarray) -> list[str]:
  """Phonemes of float32[n] at 16 kHz.

  Raises:
    UserError: the package is not installed.
  """
  if len(wave) < SHORTEST:
    return []
  recogniser, _ = _models()
  return recogniser(wave, signal.JUDGE_RATE).phonemes


def read(text: str) -> list[str]:
  """Phonemes of a text, word by word.

  Raises:
    UserError: the package is not installed.
  """
  words = edits.normalise(text, LANGUAGE).split()
  return [phoneme for word in words for phoneme in _read_word(word)]


def error_rate(texts: Sequence[str], heard: Sequence[Sequence[str]]):
  """Phoneme error rate of a set: all edits over all phonemes of the texts.

  Args:
    texts: that were to be spoken.
    heard: phonemes of each clip.

  Returns:
    `edits.ErrorRate`.
  """
  pairs = [(read(text), one) for text, one in zip(texts, heard, strict=True)]
  counts = [edits.edits(truth, one) for truth, one in pairs if truth]
  units = sum(count.units for count in counts)
  errors = sum(count.errors for count in counts)
  return edits.ErrorRate(value=errors / units if units else None, n=len(counts))


@functools.cache
def _read_word(word: str) -> tuple[str, ...]:
  """Phonemes of one word."""
  _, reader = _models()
  return tuple(
    part.phoneme
    for part in reader.predict(word).alignments
    if part.phoneme.strip()
  )


@functools.cache
def _models():
  """Recogniser and reader of this process. Raises UserError."""
  if not installed():
    raise UserError(NOT_INSTALLED)
  import hama

  return hama.ASRModel(), hama.G2PModel()
