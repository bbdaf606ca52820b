"""Texts of any length in one voice, chunk after chunk.

Each chunk after the first continues the one before it, as one-shot cloning
continues a recording: voice and prosody carry over. Memory does not grow with
the text.

Shape letters: n samples.
"""

import dataclasses
import logging
import unicodedata
from collections.abc import Iterable, Iterator

import numpy as np

from s02jax.audio import effects
from s02jax.audio.effects import Changes
from s02jax.bundle import Bundle
from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.synthesis.engine import Engine
from s02jax.synthesis.request import DEFAULTS, Request, Settings
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.synthesis.voice import LONGEST, SHORTEST, Voice
from s02jax.text import chunks, language_id
from s02jax.text.checks import check_text
from s02jax.text.chunks import Pause, Speech

NO_CHANGES = Changes()


def trained_context(bundle: Bundle) -> float:
  """Seconds of speech that a row of the AR model's training holds.

  A row has two clips and their texts; what is longer it has never seen.
  """
  config = bundle.configs["ar"]
  tokens = config["data"]["row_tokens"] / (1 + config["model"]["text_rate"])
  return min(tokens / TOKENS_PER_SECOND, chunks.CONTEXT)


def speak(
  synthesizer: Synthesizer,
  text: str,
  *,
  language: str,
  voice: Voice,
  context: float = chunks.CONTEXT,
  settings: Settings = DEFAULTS,
  changes: Changes = NO_CHANGES,
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
    settings: seed, steps and so on.
    changes: of speed, pitch, volume and rate; the rate is the synthesizer's
      where none is set.

  Raises:
    UserError: before anything is spoken, a text that cannot be.
  """
  said = (p.text for p in chunks.parse(text) if isinstance(p, Speech))
  check_text("".join(said), language)
  # What is wrong anywhere in the text is said before its beginning is spoken.
  plan = _plan(text, language, context)
  total = sum(isinstance(part, Speech) for part, _ in plan)

  engine = synthesizer.engine()

  def parts() -> Iterator[Pause | Iterator[np.ndarray]]:
    current, before, count = voice, None, 0
    for part, code in _plan(text, language, context):
      if isinstance(part, Pause):
        yield part
        continue
      count += 1
      if total > 1:
        logging.info("chunk %d of %d: %.60s", count, total, part.text)
      request = Request(
        text=part.text.strip(),
        language=code,
        voice=current if code == before else voice,
      )
      said = _Said(engine, request, settings)
      yield _changed(said, changes, synthesizer.rate)
      current = _successor(synthesizer, voice, said)
      before = code

  return effects.join(parts(), changes.rate or synthesizer.rate)


class _Said:
  """A request's sound, block by block, and after it how it came out."""

  def __init__(self, engine: Engine, request: Request, settings: Settings):
    self.text, self.ended = request.text, False
    self._engine, self._blocks = engine, []
    engine.submit(request, settings)

  def __iter__(self) -> Iterator[np.ndarray]:
    while self._engine.busy:
      for piece in self._engine.step():
        self._blocks.append(piece.wave)
        if piece.spoken is not None:
          self.ended = piece.spoken.ended
          if piece.spoken.redrawn:
            logging.info("a loop or a long silence was drawn anew")
        yield piece.wave

  @property
  def wave(self) -> np.ndarray:
    return np.concatenate(self._blocks)


def _changed(
  blocks: Iterable[np.ndarray], changes: Changes, rate: int
) -> Iterator[np.ndarray]:
  through = effects.Effects(changes, rate)
  for block in blocks:
    yield through.push(block)
  yield through.finish()


def _successor(synthesizer: Synthesizer, voice: Voice, said: _Said) -> Voice:
  """`voice`, about to go on after what was said.

  As it was, where that can be no prompt.
  """
  seconds = len(said.wave) / synthesizer.rate
  if not said.ended:
    logging.warning(
      "stopped at the limit of %.1f s in %r: try another seed, or a shorter"
      " text",
      seconds,
      said.text[:40],
    )
    return voice
  if not SHORTEST <= seconds <= LONGEST:
    return voice
  try:
    (heard,) = synthesizer.voices([said.wave], [said.text])
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
  for part in chunks.chunks(text, language, context):
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
