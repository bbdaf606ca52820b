"""Recognisers of FunASR, with which seed-tts-eval judges Chinese."""

import pathlib
import re
from collections.abc import Sequence

import numpy as np

from s02jax.core.errors import UserError
from s02jax.pretrained.audio import require, transcribe_each


class FunAsr:
  """Recogniser Paraformer-zh or SenseVoice, by FunASR's own loader."""

  def __init__(self, weights: str):
    """Loads a model by its name in the hub or its folder. Raises UserError."""
    *_, funasr = require("torch", "torchaudio", "funasr")
    weights = weights or "paraformer-zh"
    self.spec = f"funasr:{weights}"
    try:
      self._model = funasr.AutoModel(
        model=weights, disable_update=True, disable_pbar=True
      )
    except Exception as error:  # whatever its hub's client raises
      raise UserError(
        f"{self.spec} cannot be loaded; fetch it on a machine with the network:"
        f" python -c \"import funasr; funasr.AutoModel(model='{weights}')\", or"
        f" give a folder ({error})."
      ) from error

  def transcribe(
    self, paths: Sequence[pathlib.Path], language: str
  ) -> list[str]:
    """Transcribes each file, without SenseVoice's tags."""
    return transcribe_each(paths, lambda wave: self._one(wave, language))

  def _one(self, wave: np.ndarray, language: str) -> str:
    """Transcribes float32[n] at 16 kHz."""
    (found,) = self._model.generate(input=wave, language=language)
    # SenseVoice puts tags such as <|zh|><|NEUTRAL|> before its words.
    return re.sub(r"<\|.*?\|>", "", found["text"]).strip()
