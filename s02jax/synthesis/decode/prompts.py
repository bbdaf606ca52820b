"""Prompts of the AR Transformer, built from a text and a voice."""

from collections.abc import Callable

from s02jax.core.errors import UserError
from s02jax.synthesis.decode.cache import Sampling
from s02jax.synthesis.decode.slots import LONGEST, ARPrompt
from s02jax.synthesis.voice import Prompt, Voice
from s02jax.text import sequence
from s02jax.text.checks import token_limit
from s02jax.text.sequence import Part
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
    shortest: float = 0.0,
  ) -> ARPrompt:
    """Builds the prompt after which the AR model speaks `text` as `voice`.

    Args:
      text: to be spoken.
      language: its code.
      voice: zero-shot, or one-shot where it has a prompt.
      seed: 32 bits, of this request alone.
      sampling: numbers.
      shortest: share of the text's average length that is spoken at least.

    Raises:
      UserError: a text too long to be spoken in one pass.
    """
    said = Part(
      language=language,
      pieces=self._text_model.pieces(text),
      rate=self._rate(language),
    )
    before = [] if voice.prompt is None else [self._part(voice.prompt)]
    ids, cursor = sequence.sequence(self._text_model, [*before, said])
    limit = token_limit(text)
    least = int(shortest * len(said.pieces) / said.rate)
    if len(ids) + limit > LONGEST:
      raise UserError(
        f"the text {text[:40]!r} has {len(ids)} pieces, too many to be"
        " spoken in one go; give it sentence by sentence."
      )
    return ARPrompt(
      ids=ids,
      cursor=cursor,
      rate=said.rate,
      vector=voice.ar_vector,
      seed=seed,
      limit=limit,
      sampling=sampling,
      least=min(max(least, 1), limit),
    )

  def _part(self, prompt: Prompt) -> Part:
    """Text and audio of a prompt."""
    return Part(
      language=prompt.language,
      pieces=self._text_model.pieces(prompt.text),
      rate=self._rate(prompt.language),
      codes=prompt.tokens,
    )
