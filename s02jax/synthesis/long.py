"""Texts of any length in one voice, chunk after chunk.

Each chunk after the first continues the one before it, as one-shot cloning
continues a recording: voice and prosody carry over. Memory does not grow with
the text.

Shape letters: n samples.
"""

import dataclasses
import logging
import unicodedata
from collections.abc import Iterator

import numpy as np

from s02jax.bundle import Bundle
from s02jax.errors import UserError
from s02jax.synthesis import effects, language_id, text_chunks
from s02jax.synthesis.codec import TOKENS_PER_SECOND
from s02jax.synthesis.request import Request, Utterance, check_text
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.synthesis.text_chunks import Pause, Speech
from s02jax.synthesis.voice import LONGEST, SHORTEST, Voice


def trained_context(bundle: Bundle) -> float:
  """Seconds of speech that a row of the AR model's training holds.

  A row has two clips and their texts; what is longer it has never seen.
  """
  config = bundle.configs["ar"]
  tokens = config["data"]["row_tokens"] / (1 + config["model"]["text_rate"])
  return min(tokens / TOKENS_PER_SECOND, text_chunks.CONTEXT)


def speak(
  synthesizer: Synthesizer,
  text: str,
  *,
  language: str,
  voice: Voice,
  context: float = text_chunks.CONTEXT,
  settings: effects.Settings | None = None,
  **synthesis,
) -> Iterator[np.ndarray]:
  """Speaks `text`; blocks float32 [n], as they are made.

  Args:
    synthesizer: of the bundle that the voice was made with.
    text: of any length, with pauses such as <#1.5#>, which last so long at
      any speed.
    language: code or alias. A chunk without a letter of its script is spoken
      in the language that it is found to be in.
    voice: who speaks; with a prompt, which the first chunk continues.
    context: seconds of one pass, see `trained_context`.
    settings: speed, pitch, volume and rate; the rate is the synthesizer's
      where none is set.
    synthesis: seed, steps and so on, as of `Synthesizer.synthesize`.

  Raises:
    UserError: before anything is spoken, a text that cannot be.
  """
  settings = settings or effects.Settings()
  said = (p.text for p in text_chunks.parse(text) if isinstance(p, Speech))
  check_text("".join(said), language)
  # What is wrong anywhere in the text is said before its beginning is spoken.
  plan = _plan(text, language, context)
  total = sum(isinstance(part, Speech) for part, _ in plan)

  def parts() -> Iterator[Pause | list[np.ndarray]]:
    current, before, count = voice, None, 0
    for part, code in _plan(text, language, context):
      if isinstance(part, Pause):
        yield part
        continue
      count += 1
      if total > 1:
        logging.info("chunk %d of %d: %.60s", count, total, part.text)
      words = part.text.strip()
      request = Request(
        text=words,
        language=code,
        voice=current if code == before else voice,
      )
      (spoken,) = synthesizer.synthesize([request], **synthesis)
      changes = effects.Effects(settings, synthesizer.rate)
      yield [changes.push(spoken.wave), changes.finish()]
      current = _successor(synthesizer, voice, words, spoken)
      before = code

  return effects.join(parts(), settings.rate or synthesizer.rate)


def _successor(
  synthesizer: Synthesizer, voice: Voice, text: str, spoken: Utterance
) -> Voice:
  """`voice`, about to go on after `spoken`.

  As it was, where what was said can be no prompt.
  """
  seconds = len(spoken.wave) / synthesizer.rate
  if not spoken.ended:
    logging.warning(
      "stopped at the limit of %.1f s in %r: try another seed, or a shorter"
      " text",
      seconds,
      text[:40],
    )
    return voice
  if not SHORTEST <= seconds <= LONGEST:
    return voice
  try:
    (heard,) = synthesizer.voices([spoken.wave], [text])
  except UserError:  # silence
    return voice
  return dataclasses.replace(voice, prompt=heard.prompt)


def _speaks(text: str) -> bool:
  """Whether there is anything but marks and spaces to say."""
  return any(unicodedata.category(c)[0] in "LNS" for c in text)


def _plan(
  text: str, language: str, context: float
) -> Iterator[tuple[Speech | Pause, str]]:
  """Pauses and chunks with something to say, each with its language."""
  for part in text_chunks.chunks(text, language, context):
    if isinstance(part, Pause):
      yield part, language
    elif _speaks(part.text):
      yield part, _language(part.text, language)


def _language(text: str, language: str) -> str:
  """`language`, or another if `text` has no letter of its script."""
  try:
    check_text(text, language)
    return language
  except UserError:
    if not any(c.isalpha() for c in text):
      raise
    return language_id.detect(text)
