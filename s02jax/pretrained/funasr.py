"""FunASR recognisers, the judges of Chinese in seed-tts-eval."""

import pathlib
import re
from collections.abc import Sequence

import numpy as np

from s02jax.core.errors import UserError
from s02jax.pretrained.audio import each_clip, require


class FunAsr:
  """Paraformer-zh and SenseVoice, by FunASR's own loader."""

  def __init__(self, weights: str):
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
    return each_clip(paths, lambda wave: self._one(wave, language))

  def _one(self, wave: np.ndarray, language: str) -> str:
    (found,) = self._model.generate(input=wave, language=language)
    # SenseVoice puts tags such as <|zh|><|NEUTRAL|> before its words.
    return re.sub(r"<\|.*?\|>", "", found["text"]).strip()
