"""Recogniser Whisper, run by faster-whisper or by transformers."""

import pathlib
from collections.abc import Sequence

import numpy as np

from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.pretrained import signal
from s02jax.pretrained.audio import require, transcribe_each


class FasterWhisper:
  """Whisper by CTranslate2, decoded greedily as in seed-tts-eval's script.

  Deterministic; windows of 30 s are decoded one by one.

  Attributes:
    model: of faster-whisper.
  """

  def __init__(self, weights: str):
    """Loads weights by name or folder; downloads nothing. Raises UserError."""
    (faster_whisper,) = require("faster-whisper")
    self.spec = f"faster-whisper:{weights or 'large-v3'}"
    try:
      self.model = faster_whisper.WhisperModel(
        weights or "large-v3", local_files_only=True
      )
    except (OSError, RuntimeError, ValueError) as error:
      raise UserError(
        f"the weights of {self.spec} are not here; fetch them on a machine with"
        " the network: python -c \"import faster_whisper as f; f.WhisperModel('"
        f"{weights or 'large-v3'}')\", or give a folder ({error})."
      ) from error

  def transcribe(
    self, paths: Sequence[pathlib.Path], language: str
  ) -> list[str]:
    """Transcribes each file, told which language is spoken."""
    code = languages.BY_CODE[language].asr
    return transcribe_each(paths, lambda wave: self._one(wave, code))

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
      self._model = (
        transformers.WhisperForConditionalGeneration.from_pretrained(
          weights, local_files_only=True
        ).to(self._device)
      )
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
    found = self._model.generate(**features, language=code, task="transcribe")
    texts = self._processor.batch_decode(found, skip_special_tokens=True)
    return texts[0].strip()
