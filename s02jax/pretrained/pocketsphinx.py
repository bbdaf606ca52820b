"""Recogniser pocketsphinx: English, with the model that ships in its wheel.

Asked which of ten sentences was spoken it is reliable; asked what was spoken
it is a weak recogniser by today's measure, so read its word error rate only
beside that of the ground truth.
"""

import functools
import importlib.util
import pathlib
from collections.abc import Sequence

import numpy as np

from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.pretrained import signal
from s02jax.pretrained.audio import transcribe_each
from s02jax.text import edits

LANGUAGE = languages.BY_CODE["en"]
_PADDING = signal.JUDGE_RATE // 5  # samples of quiet at both ends
_PEAK = 0.5  # amplitude to which every clip is scaled
_NOISE = 1e-4  # amplitude of added noise: digital silence upsets the features


class PocketSphinx:
  """Recogniser of English by pocketsphinx: weak by today's measure."""

  spec = "pocketsphinx"

  def transcribe(
    self, paths: Sequence[pathlib.Path], language: str
  ) -> list[str]:
    """Transcribes each file. Raises UserError for a language but English."""
    if language != LANGUAGE.code:
      raise UserError(f"pocketsphinx hears English only, not {language!r}.")
    return transcribe_each(paths, transcribe)


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
  """Transcribes float32[n] at 16 kHz with the whole dictionary."""
  return _decode(_decoder("open"), wave)


def known_words(text: str) -> str:
  """Drops from a normalised text the words that the dictionary lacks."""
  decoder = _decoder("choice")
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
def _decoder(kind: str):
  """Loads the decoder "choice" or "open" once a process: it takes a second."""
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
