"""Prompts of the AR Transformer, built from a text and a voice."""

from collections.abc import Callable

import numpy as np

from s02jax.core.errors import UserError
from s02jax.synthesis.decode.cache import Sampling
from s02jax.synthesis.decode.slots import LONGEST, ARPrompt
from s02jax.synthesis.voice import Voice
from s02jax.text import sequence
from s02jax.text.checks import token_limit
from s02jax.text.tokenizer import TextModel


class PromptBuilder:
  """Builder of AR prompts with one text model."""

  def __init__(self, text_model: TextModel, rate: Callable[[str], float]):
    """Stores the tokenizer and the pace of speech.

    Args:
      text_model: splits texts into pieces.
      rate: language code -> text pieces that one audio token speaks.
    """
    self._text_model, self._rate = text_model, rate

  def __call__(
    self,
    text: str,
    language: str,
    voice: Voice,
    *,
    seed: int,
    sampling: Sampling,
  ) -> ARPrompt:
    """Builds the prompt after which the AR model speaks `text` as `voice`.

    Args:
      text: to be spoken.
      language: its code.
      voice: zero-shot, or one-shot where it has a prompt.
      seed: 32 bits, of this request alone.
      sampling: numbers.

    Raises:
      UserError: a text too long to be spoken in one pass.
    """
    ids, cursor = self._sequence(text, language, voice)
    limit = token_limit(text)
    if len(ids) + limit > LONGEST:
      raise UserError(
        f"the text {text[:40]!r} has {len(ids)} pieces, too many to be"
        " spoken in one go; give it sentence by sentence."
      )
    return ARPrompt(
      ids=ids,
      cursor=cursor,
      rate=self._rate(language),
      vector=voice.ar_vector,
      seed=seed,
      limit=limit,
      sampling=sampling,
    )

  def _sequence(
    self, text: str, language: str, voice: Voice
  ) -> tuple[np.ndarray, np.ndarray]:
    """Ids int32 [p] and cursor float32 [p] in front of the drawn tokens."""
    pieces, codes = [self._text_model.pieces(text)], []
    if voice.prompt is not None:
      pieces.insert(0, self._text_model.pieces(voice.prompt.text))
      codes = [voice.prompt.tokens]
    return sequence.sequence(
      self._text_model, language, pieces, codes, self._rate(language)
    )
