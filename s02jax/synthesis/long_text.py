"""Texts of any length in one voice, chunk after chunk.

  read(text) ─► LongText.parts(context) ─► speak(synthesizer, parts, voice=…)

Each chunk after the first continues the one before it, as one-shot cloning
continues a recording: voice and prosody carry over. Its tokens and latents are
the prompt, behind the voice's own prompt, which keeps the voice from drifting.
Memory does not grow with the sound.

Shape letters: n samples.
"""

import dataclasses
import logging
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from s02jax.audio import effects
from s02jax.audio.effects import Changes
from s02jax.bundle import Bundle
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.synthesis.emotion import Emotion
from s02jax.synthesis.engine import Piece
from s02jax.synthesis.pipeline import Pipeline
from s02jax.synthesis.request import DEFAULTS, Request, Settings
from s02jax.synthesis.voice import (
  LONGEST,
  SHORTEST,
  Prompt,
  Voice,
  check_reference,
)
from s02jax.text import chunks, front, language_id
from s02jax.text.checks import in_script
from s02jax.text.chunks import Pause
from s02jax.text.front import ANYBODY, Audience
from s02jax.text.pronunciation import Pronunciation

NO_CHANGES = Changes()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heard:
  """Passage that was spoken to its end, and where it is in the sound."""

  text: str  # in words
  language: str  # its code
  tokens: np.ndarray  # int32 [s], that say it
  begin: float  # seconds of the sound at which it begins
  speed: float  # by which it was made faster


# Pieces of one request, such as `Engine.play` makes.
Play = Callable[[Request, Settings], Iterator[Piece]]
Hear = Callable[[Heard], None]


# ----------------------------------------------------------------------- texts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Passage:
  """Chunk of a text, to be spoken in one pass."""

  text: str  # without spaces at its ends
  language: str  # code of its language
  emotion: Emotion = None  # that the text asks for; None is the request's


@dataclasses.dataclass(frozen=True, kw_only=True)
class LongText:
  """Text of any length that `read` has written in words and checked."""

  text: str  # with pauses, such as <#1.5#>
  language: str  # code of its language
  languages: tuple[str, ...]  # codes that a part of it may be in
  speed: float  # that the text asks for itself

  def parts(self, context: float = chunks.CONTEXT) -> list[Passage | Pause]:
    """Passages and pauses of the text, in order.

    A passage without a letter of the language's script gets the language that
    it is found to be in. What has no letter of any language's script is left
    out; a warning names it, unless it is punctuation.

    Args:
      context: expected seconds of one pass, see `trained_context`.
    """
    made: list[Passage | Pause] = []
    left_out: list[str] = []
    emotion = None
    for part in chunks.chunks(self.text, self.language, context):
      if isinstance(part, Pause):
        made.append(part)
        continue
      if isinstance(part, chunks.Emotion):
        emotion = part.written or None
        continue
      text, language = part.text.strip(), self._language(part.text)
      if language is not None:
        made.append(Passage(text=text, language=language, emotion=emotion))
      elif any(unicodedata.category(c)[0] not in "PZ" for c in text):
        left_out.append(text)
    if left_out:
      logging.warning(
        "not spoken, for no language of these models is written so: %s",
        " ".join(left_out),
      )
    return made

  def _language(self, text: str) -> str | None:
    """Language of a passage; None where it cannot be spoken."""
    if in_script(text, self.language):
      return self.language
    try:
      return language_id.detect(text, self.languages)
    except UserError:
      return None


def read(
  text: str,
  language: str | None,
  pronunciation: Pronunciation | None = None,
  *,
  audience: Audience = ANYBODY,
  markup: str = "none",
) -> LongText:
  """Writes a text in the words to be spoken, and checks it.

  What is not spoken is named in a warning, once.

  Args:
    text: of any length, with pauses such as <#1.5#>, which last so long at any
      speed.
    language: code or alias; None detects it.
    pronunciation: respells words.
    audience: models that are to speak it.
    markup: kind of its marks, one of `text.markup.reader.KINDS`.

  Raises:
    UserError: malformed marks, no letter of the language's script, an unknown
      language, or one that cannot be told.
  """
  found = front.read(
    text,
    language,
    audience=audience,
    pronunciation=pronunciation,
    markup=markup,
  )
  if language is None:
    name = languages.BY_CODE[found.language].name
    logging.info("the language is %s (%s)", name, found.language)
  for warning in found.warnings:
    logging.warning("%s", warning)
  return LongText(
    text=found.text,
    language=found.language,
    languages=audience.languages,
    speed=found.speed,
  )


def trained_context(bundle: Bundle) -> float:
  """Seconds of speech that a row of the AR model's training holds.

  A row has two clips and their texts; the model has never seen more.
  """
  config = bundle.configs["ar"]
  tokens = config["data"]["row_tokens"] / (1 + config["model"]["text_rate"])
  return min(tokens / TOKENS_PER_SECOND, chunks.CONTEXT)


def room(context: float, voice: Voice) -> float:
  """Seconds of one pass of `context` that are left beside the voice's prompt.

  A prompt that fills more than half of a pass is of the first chunk alone, and
  takes no room of the others.
  """
  seconds = _seconds(voice.prompt)
  return context - seconds if 2 * seconds <= context else context


def _seconds(prompt: Prompt | None) -> float:
  """Seconds of a prompt's speech; 0 of none."""
  return 0.0 if prompt is None else len(prompt.tokens) / TOKENS_PER_SECOND


# -------------------------------------------------------------------- speaking


def speak(
  synthesizer: Pipeline,
  parts: Sequence[Passage | Pause],
  *,
  voice: Voice,
  context: float = chunks.CONTEXT,
  settings: Settings = DEFAULTS,
  changes: Changes = NO_CHANGES,
  whole: bool = True,
  emotion: Emotion = None,
  play: Play | None = None,
  hear: Hear | None = None,
) -> Iterator[np.ndarray]:
  """Speaks passages one after the other; blocks float32 [n], as they are made.

  Args:
    synthesizer: of the bundle that the voice was made with.
    parts: of a text, by `LongText.parts` of the `room` beside the voice.
    voice: with a prompt, which the first passage continues, or without.
    context: expected seconds of one pass, see `trained_context`.
    settings: seed, steps and so on.
    changes: of speed, pitch, volume and rate; the rate is the synthesizer's
      where none is set.
    whole: each passage's sound is made in one piece, else as soon as its first
      tokens are there, which is a little worse. An engine of `play` decides.
    emotion: of the passages that have none of their own.
    play: of an engine that others use too; None takes one of its own.
    hear: is told of every passage once it is spoken.
  """
  play = play or synthesizer.engine(whole=whole).play
  anchored = room(context, voice) < context
  rate = changes.rate or synthesizer.rate
  place = _Place(rate)

  def joined() -> Iterator[float | Iterator[np.ndarray]]:
    current, before = voice, None
    for part in _announced(parts):
      if isinstance(part, Pause):
        place.pause(part.seconds)
        yield part.seconds
        continue
      felt = emotion if part.emotion is None else part.emotion
      # What goes on in another language or emotion begins anew.
      request = Request(
        text=part.text,
        language=part.language,
        in_words=True,
        voice=current if (part.language, felt) == before else voice,
        emotion=felt,
      )
      utterance = _Playback(request, play(request, settings))
      yield place.counted(_changed(utterance, changes, synthesizer.rate))
      if hear is not None:
        hear(utterance.heard(place.begin, changes.speed))
      current = _successor(
        synthesizer.rate, voice, utterance, anchored=anchored
      )
      before = part.language, felt

  return effects.join(joined(), rate)


def _announced(
  parts: Sequence[Passage | Pause],
) -> Iterator[Passage | Pause]:
  """Passes parts on; says which passage comes where there are several."""
  passages = [part for part in parts if isinstance(part, Passage)]
  count = 0
  for part in parts:
    if isinstance(part, Passage) and len(passages) > 1:
      count += 1
      logging.info("chunk %d of %d: %.60s", count, len(passages), part.text)
    yield part


class _Place:
  """Place in the sound at which a passage begins, in seconds.

  Attributes:
    begin: of the newest passage.
  """

  def __init__(self, rate: int):
    self.begin = 0.0
    self._rate, self._end, self._joined = rate, 0.0, False

  def pause(self, seconds: float) -> None:
    """Adds a pause."""
    self._end += seconds
    self._joined = False

  def counted(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Passes a passage's blocks on; it fades into the one before it."""
    self.begin = self._end - (effects.FADE if self._joined else 0.0)
    samples = 0
    for block in blocks:
      samples += len(block)
      yield block
    self._end = self.begin + samples / self._rate
    self._joined = True


class _Playback:
  """Sound of a request, block by block, and after it how it ended.

  Attributes:
    ended: by itself, not by the limit.
    prompt: of what was spoken, for what follows.
  """

  def __init__(self, request: Request, pieces: Iterator[Piece]):
    self.text, self.language = request.text, request.language
    self.ended = False
    self.prompt: Prompt | None = None
    self._tokens = np.zeros(0, np.int32)
    self._pieces, self._blocks = pieces, []

  def __iter__(self) -> Iterator[np.ndarray]:
    for piece in self._pieces:
      self._blocks.append(piece.wave)
      if piece.spoken is not None:
        self.ended = piece.spoken.ended
        self._tokens = piece.spoken.tokens
        if piece.latents is not None:
          self.prompt = Prompt(
            text=self.text,
            language=self.language,
            tokens=piece.spoken.tokens,
            latents=piece.latents,
          )
        if piece.spoken.redrawn:
          logging.info("a loop or a long silence was drawn anew")
      yield piece.wave

  @property
  def wave(self) -> np.ndarray:
    """Sound made so far, float32 [n]."""
    return np.concatenate(self._blocks)

  def heard(self, begin: float, speed: float) -> Heard:
    """Passage as it was spoken; arguments are fields of `Heard`."""
    return Heard(
      text=self.text,
      language=self.language,
      tokens=self._tokens,
      begin=begin,
      speed=speed,
    )


def _changed(
  blocks: Iterable[np.ndarray], changes: Changes, rate: int
) -> Iterator[np.ndarray]:
  """Blocks of sound with their speed, pitch, volume and rate changed."""
  chain = effects.Effects(changes, rate)
  for block in blocks:
    yield chain.push(block)
  yield chain.finish()


def _successor(
  rate: int, voice: Voice, utterance: _Playback, *, anchored: bool
) -> Voice:
  """Voice that continues an utterance; `voice` where that can be no prompt.

  Args:
    rate: of the utterance, Hz.
    voice: of the whole text.
    utterance: that has been spoken.
    anchored: the voice's own prompt stands before it.
  """
  seconds = len(utterance.wave) / rate
  if not utterance.ended:
    logging.warning(
      "stopped at the limit of %.1f s in %r: try another seed, or a shorter"
      " text",
      seconds,
      utterance.text[:40],
    )
    return voice
  if utterance.prompt is None or not SHORTEST <= seconds <= LONGEST:
    return voice
  try:
    check_reference(utterance.wave, rate)
  except UserError:  # silence
    return voice
  prompt, own = utterance.prompt, voice.prompt
  # A prompt is in one language.
  if anchored and own is not None and own.language == prompt.language:
    prompt = _join(own, prompt)
  return dataclasses.replace(voice, prompt=prompt)


def _join(first: Prompt, second: Prompt) -> Prompt:
  """Prompt of two, one after the other."""
  return Prompt(
    text=f"{first.text} {second.text}",
    language=second.language,
    tokens=np.concatenate([first.tokens, second.tokens]),
    latents=np.concatenate([first.latents, second.latents]),
  )
