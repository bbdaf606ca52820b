"""Judge pocketsphinx: which of a few English sentences was spoken.

Its model ships in its wheel. Asked what was spoken, it would be a weak
recogniser by today's measure.
"""

import functools
import importlib.util
from collections.abc import Sequence

import numpy as np

from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.pretrained import signal
from s02jax.text import edits

LANGUAGE = languages.BY_CODE["en"]
_PADDING = signal.JUDGE_RATE // 5  # samples of quiet at both ends
_PEAK = 0.5  # amplitude to which every clip is scaled
_NOISE = 1e-4  # amplitude of added noise: digital silence upsets the features


def choose(wave: np.ndarray, texts: Sequence[str]) -> int:
  """Index of the sentence that was spoken; -1 where none was found.

  Words that the dictionary lacks are left out of every sentence.

  Args:
    wave: float32[n] at 16 kHz.
    texts: candidates, which must not read the same.

  Raises:
    UserError: pocketsphinx is not installed.
  """
  decoder = _decoder()
  sentences = [known_words(text) for text in texts]
  spoken = [sentence for sentence in sentences if sentence]
  if not spoken:
    return -1
  grammar = "#JSGF V1.0; grammar s; public <s> = " + " | ".join(spoken) + ";"
  decoder.add_jsgf_string("s", grammar)
  decoder.activate_search("s")
  heard = _decode(decoder, wave)
  return sentences.index(heard) if heard in sentences and heard else -1


def known_words(text: str) -> str:
  """Drops from a normalised text the words that the dictionary lacks."""
  decoder = _decoder()
  words = edits.normalise(text, LANGUAGE).split()
  return " ".join(word for word in words if decoder.lookup_word(word))


def _decode(decoder, wave: np.ndarray) -> str:
  """Text of the best hypothesis; empty for a clip below 0.2 s."""
  wave = signal.trim_silence(wave)
  if len(wave) < signal.JUDGE_RATE // 5:
    return ""
  padded = np.pad(wave * (_PEAK / np.abs(wave).max()), _PADDING)
  noise = np.random.default_rng(0).normal(0.0, _NOISE, len(padded))
  samples = np.round((padded + noise) * 32767).astype("<i2")
  # Forget the cepstral means of the previous clip.
  decoder.reinit_feat()
  decoder.start_utt()
  decoder.process_raw(samples.tobytes(), full_utt=True)
  decoder.end_utt()
  found = decoder.hyp()
  return found.hypstr if found else ""


@functools.cache
def _decoder():
  """Loads the decoder once a process: it takes a second."""
  if importlib.util.find_spec("pocketsphinx") is None:
    raise UserError(
      "The English judge is not installed; run: pip install 's02jax[eval]'"
    )
  import pocketsphinx

  return pocketsphinx.Decoder(lm=None, cmn="batch", loglevel="FATAL")
