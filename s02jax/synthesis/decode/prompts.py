"""Texts and voices as prompts of the AR Transformer."""

import dataclasses
from collections.abc import Callable

import numpy as np

from s02jax.core.errors import UserError
from s02jax.synthesis.decode.cache import Sampling
from s02jax.synthesis.decode.slots import LONGEST, Draft
from s02jax.synthesis.voice import Voice
from s02jax.text import sequence
from s02jax.text.checks import token_limit
from s02jax.text.tokenizer import TextModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Script:
  """A text for a voice to speak."""

  text: str
  language: str
  voice: Voice
  seed: int  # 32 bits, of this request alone
  sampling: Sampling  # numbers


class Drafter:
  """Writes the prompts."""

  def __init__(self, text: TextModel, rate: Callable[[str], float]):
    """Takes the text model, and the pieces a token speaks by language."""
    self._text, self._rate = text, rate

  def __call__(self, script: Script) -> Draft:
    """What a slot needs to know of a script.

    Raises:
      UserError: a text too long to be spoken in one go.
    """
    ids, cursor = self._prompt(script)
    limit = token_limit(script.text)
    if len(ids) + limit > LONGEST:
      raise UserError(
        f"the text {script.text[:40]!r} has {len(ids)} pieces, too many to be"
        " spoken in one go; give it sentence by sentence."
      )
    return Draft(
      ids=ids,
      cursor=cursor,
      rate=self._rate(script.language),
      vector=script.voice.ar_vector,
      seed=script.seed,
      limit=limit,
      sampling=script.sampling,
    )

  def _prompt(self, script: Script) -> tuple[np.ndarray, np.ndarray]:
    """Ids and cursor of what the tokens are to follow."""
    pieces, codes = [self._text.pieces(script.text)], []
    if script.voice.prompt is not None:
      pieces.insert(0, self._text.pieces(script.voice.prompt.text))
      codes = [script.voice.prompt.tokens]
    return sequence.sequence(
      self._text,
      script.language,
      pieces,
      codes,
      self._rate(script.language),
    )
