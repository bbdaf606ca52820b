"""Voice system of an export: what a bundle's can, but the times of words."""

import pathlib

from s02jax.core import startup
from s02jax.serving.card import read_card
from s02jax.serving.runtime import Runtime
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
    told = card.get("audience", {})  # exports of before have none
    audience = Audience(
      languages=tuple(told.get("languages", card["languages"])),
      folds=told.get("folds", True),
      sounds=tuple(told.get("sounds", ())),
      model=TextModel.load(folder / "text.model"),
    )
    context = card.get("context", chunks.CONTEXT)
    self._set_up(folder, Runtime.load(folder), audience, context, None)
