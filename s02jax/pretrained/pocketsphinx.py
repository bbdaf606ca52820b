"""Judge of English words: pocketsphinx, with the model that ships in its wheel.

Asked which of ten sentences was spoken it is reliable; asked what was spoken
it is a weak recogniser by today's measure, so read its word error rate only
beside that of the ground truth.
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
_PEAK = 0.5
_NOISE = 1e-4  # digital silence upsets the features


def choose(wave: np.ndarray, texts: Sequence[str]) -> int:
  """Index of the sentence that was spoken; -1 where none was found.

  Words that the dictionary lacks are left out of every sentence.

  Args:
    wave: float32[n] at 16 kHz.
    texts: candidates, which must not read the same.

  Raises:
    UserError: pocketsphinx is not installed.
  """
  decoder = _decoder("choice")
  sentences = [known_words(text) for text in texts]
  spoken = [sentence for sentence in sentences if sentence]
  if not spoken:
    return -1
  grammar = "#JSGF V1.0; grammar s; public <s> = " + " | ".join(spoken) + ";"
  decoder.add_jsgf_string("s", grammar)
  decoder.activate_search("s")
  heard = _decode(decoder, wave)
  return sentences.index(heard) if heard in sentences and heard else -1


def transcribe(wave: np.ndarray) -> str:
  """What the recogniser hears, from its whole dictionary."""
  return _decode(_decoder("open"), wave)


def known_words(text: str) -> str:
  """The words of a text, normalised, that the dictionary has."""
  decoder = _decoder("choice")
  words = edits.normalise(text, LANGUAGE).split()
  return " ".join(word for word in words if decoder.lookup_word(word))


def _decode(decoder, wave: np.ndarray) -> str:
  wave = signal.trim_silence(wave)
  if len(wave) < signal.JUDGE_RATE // 5:
    return ""
  padded = np.pad(wave * (_PEAK / np.abs(wave).max()), _PADDING)
  noise = np.random.default_rng(0).normal(0.0, _NOISE, len(padded))
  samples = np.round((padded + noise) * 32767).astype("<i2")
  # Else the running means of what was heard before colour what is heard now.
  decoder.reinit_feat()
  decoder.start_utt()
  decoder.process_raw(samples.tobytes(), full_utt=True)
  decoder.end_utt()
  found = decoder.hyp()
  return found.hypstr if found else ""


@functools.cache
def _decoder(kind: str):
  """One decoder of each kind for a process; they take a second to load."""
  if importlib.util.find_spec("pocketsphinx") is None:
    raise UserError(
      "The English judge is not installed; run: pip install 's02jax[eval]'"
    )
  import pocketsphinx

  if kind == "choice":
    return pocketsphinx.Decoder(lm=None, cmn="batch", loglevel="FATAL")
  # One pass of three, and narrow: a fifth of the time, hardly worse.
  return pocketsphinx.Decoder(
    cmn="batch",
    fwdflat=False,
    bestpath=False,
    maxhmmpf=2000,
    beam=1e-40,
    wbeam=1e-24,
    pbeam=1e-40,
    loglevel="FATAL",
  )
