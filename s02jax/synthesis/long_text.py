"""Texts of any length in one voice, chunk after chunk.

  read(text) ─► LongText.parts(context) ─► speak(synthesizer, parts, voice=…)

Each chunk after the first continues the one before it, as one-shot cloning
continues a recording: voice and prosody carry over. Memory does not grow with
the sound.

Shape letters: n samples.
"""

import dataclasses
import logging
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from s02jax.audio import effects
from s02jax.audio.effects import Changes
from s02jax.bundle import Bundle
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.synthesis.engine import Engine
from s02jax.synthesis.request import DEFAULTS, Request, Settings
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.synthesis.voice import LONGEST, SHORTEST, Transcript, Voice
from s02jax.text import chunks, language_id
from s02jax.text.checks import check_text
from s02jax.text.chunks import Pause, Speech
from s02jax.text.pronunciation import Pronunciation
from s02jax.text.spoken import spoken

NO_CHANGES = Changes()


# ----------------------------------------------------------------------- texts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Passage:
  """Chunk of a text, to be spoken in one pass."""

  text: str  # without spaces at its ends
  language: str  # code of its language


@dataclasses.dataclass(frozen=True, kw_only=True)
class LongText:
  """Normalised text of any length that `read` has checked."""

  text: str  # with pauses, such as <#1.5#>
  language: str  # code of its language

  def parts(self, context: float = chunks.CONTEXT) -> list[Passage | Pause]:
    """Passages and pauses of the text, in order.

    A passage without a letter of the language's script gets the language that
    it is found to be in. What has no letter is left out.

    Args:
      context: expected seconds of one pass, see `trained_context`.

    Raises:
      UserError: a passage that cannot be spoken.
    """
    return [
      part
      if isinstance(part, Pause)
      else Passage(
        text=part.text.strip(), language=_language(part.text, self.language)
      )
      for part in chunks.chunks(self.text, self.language, context)
      if isinstance(part, Pause) or _speaks(part.text)
    ]


def read(
  text: str,
  language: str | None,
  pronunciation: Pronunciation | None = None,
) -> LongText:
  """Writes a text in the words to be spoken, and checks it.

  Words are respelt first; then numbers, signs and the like become words.

  Args:
    text: of any length, with pauses such as <#1.5#>, which last so long at any
      speed.
    language: code or alias; None detects it.
    pronunciation: respells words.

  Raises:
    UserError: a malformed pause, no letter of the language's script, an unknown
      language, or one that cannot be told.
  """
  text = chunks.normalise(text)
  if language is None:
    code = language_id.detect(text)
    logging.info("the language is %s (%s)", languages.BY_CODE[code].name, code)
  else:
    code = languages.resolve(language).code
  if pronunciation is not None:
    text = pronunciation.respell(text, code)
  text = chunks.normalise(spoken(text, code))
  _check(text, code)
  return LongText(text=text, language=code)


def _check(text: str, language: str) -> None:
  """Raises UserError for a text, pauses aside, that cannot be spoken."""
  said = (p.text for p in chunks.parse(text) if isinstance(p, Speech))
  check_text("".join(said), language)


def _speaks(text: str) -> bool:
  """Whether there is a letter to say; `read` has left no digits."""
  return any(unicodedata.category(c)[0] == "L" for c in text)


def _language(text: str, language: str) -> str:
  """Language of a passage: `language`, unless its script does not occur."""
  try:
    check_text(text, language)
    return language
  except UserError:
    if not any(c.isalpha() for c in text):
      raise
    return language_id.detect(text)


def trained_context(bundle: Bundle) -> float:
  """Seconds of speech that a row of the AR model's training holds.

  A row has two clips and their texts; the model has never seen more.
  """
  config = bundle.configs["ar"]
  tokens = config["data"]["row_tokens"] / (1 + config["model"]["text_rate"])
  return min(tokens / TOKENS_PER_SECOND, chunks.CONTEXT)


# -------------------------------------------------------------------- speaking


def speak(
  synthesizer: Synthesizer,
  parts: Sequence[Passage | Pause],
  *,
  voice: Voice,
  settings: Settings = DEFAULTS,
  changes: Changes = NO_CHANGES,
) -> Iterator[np.ndarray]:
  """Speaks passages one after the other; blocks float32 [n], as they are made.

  Args:
    synthesizer: of the bundle that the voice was made with.
    parts: of a text, by `LongText.parts`.
    voice: with a prompt, which the first passage continues, or without.
    settings: seed, steps and so on.
    changes: of speed, pitch, volume and rate; the rate is the synthesizer's
      where none is set.
  """
  total = sum(isinstance(part, Passage) for part in parts)
  engine = synthesizer.engine()

  def joined() -> Iterator[float | Iterator[np.ndarray]]:
    current, before, count = voice, None, 0
    for part in parts:
      if isinstance(part, Pause):
        yield part.seconds
        continue
      count += 1
      if total > 1:
        logging.info("chunk %d of %d: %.60s", count, total, part.text)
      request = Request(
        text=part.text,
        language=part.language,
        voice=current if part.language == before else voice,
      )
      utterance = _Utterance(engine, request, settings)
      yield _changed(utterance, changes, synthesizer.rate)
      current = _successor(synthesizer, voice, utterance)
      before = part.language

  return effects.join(joined(), changes.rate or synthesizer.rate)


class _Utterance:
  """Sound of a request, block by block, and after it how it ended."""

  def __init__(self, engine: Engine, request: Request, settings: Settings):
    self.text, self.language = request.text, request.language
    self.ended = False
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
    """Sound made so far, float32 [n]."""
    return np.concatenate(self._blocks)


def _changed(
  blocks: Iterable[np.ndarray], changes: Changes, rate: int
) -> Iterator[np.ndarray]:
  """Blocks of sound with their speed, pitch, volume and rate changed."""
  chain = effects.Effects(changes, rate)
  for block in blocks:
    yield chain.push(block)
  yield chain.finish()


def _successor(
  synthesizer: Synthesizer, voice: Voice, utterance: _Utterance
) -> Voice:
  """Voice that continues an utterance; `voice` where that can be no prompt."""
  seconds = len(utterance.wave) / synthesizer.rate
  if not utterance.ended:
    logging.warning(
      "stopped at the limit of %.1f s in %r: try another seed, or a shorter"
      " text",
      seconds,
      utterance.text[:40],
    )
    return voice
  if not SHORTEST <= seconds <= LONGEST:
    return voice
  try:
    said = Transcript(text=utterance.text, language=utterance.language)
    (heard,) = synthesizer.voices([utterance.wave], [said])
  except UserError:  # silence
    return voice
  return dataclasses.replace(voice, prompt=heard.prompt)
