"""Voice system of an export: what a bundle's can."""

import pathlib

from s02jax.core import startup
from s02jax.serving.card import read_card
from s02jax.serving.runtime import Runtime
from s02jax.synthesis.alignment import Aligner
from s02jax.synthesis.voice_system import VoiceSystem
from s02jax.text import chunks
from s02jax.text.front import Audience
from s02jax.text.tokenizer import TextModel


class ExportedSystem(VoiceSystem):
  """Voice system whose models are the functions of an export."""

  def __init__(self, folder):
    """Loads an export; raises UserError as `Runtime.load` does."""
    folder = pathlib.Path(folder)
    startup.use_compilation_cache()
    card = read_card(folder)
    text = TextModel.load(folder / "text.model")
    told = card.get("audience", {})  # exports of before have none
    audience = Audience(
      languages=tuple(told.get("languages", card["languages"])),
      folds=told.get("folds", True),
      sounds=tuple(told.get("sounds", ())),
      model=text,
    )
    context = card.get("context", chunks.CONTEXT)
    runtime, aligner = Runtime.load(folder), None
    if runtime.tells_times:
      aligner = Aligner(text, runtime.text_log_probs)
    self._set_up(folder, runtime, audience, context, aligner)
