"""Studio of a bundle: its models, its kept voices, one engine for all."""

import dataclasses
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from s02jax.audio.effects import Changes
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.core.inputs import hint
from s02jax.serving.server.refusals import Refusal, absent
from s02jax.serving.server.studio import Design, Order, Said
from s02jax.synthesis.alignment import Word
from s02jax.synthesis.long_text import LongText, Passage
from s02jax.synthesis.request import Request, Settings
from s02jax.synthesis.shared_engine import Session, SharedEngine
from s02jax.synthesis.store import voice_store
from s02jax.synthesis.voice import Voice
from s02jax.synthesis.voice_system import VoiceSystem
from s02jax.text import language_id

_SHORT = 12  # words of the shortest text of the warm-up
# A word that every language's front end lets through, by script.
_WORDS = {"Hans": "你好", "Jpan": "こんにちは", "Kore": "안녕", "Thai": "สวัสดี",
          "Arab": "مرحبا", "Cyrl": "да", "Deva": "नमस्ते", "Grek": "ναι",
          "Hant": "你好"}  # fmt: skip


class BundleStudio:
  """Studio of a voice system; see `studio.Studio`.

  Attributes:
    system: that speaks.
  """

  def __init__(self, system: VoiceSystem):
    """Starts without requests."""
    self.system = system
    self.rate, self.languages = system.rate, system.languages
    self.tells_times, self.emotions = system.tells_times, system.emotions
    self._engine = SharedEngine(system.synthesizer)
    self._keeping = threading.Lock()  # of the folder of voices

  @property
  def slots_in_use(self) -> int:
    """Number of requests in the engine."""
    return self._engine.slots_in_use

  @property
  def designs(self) -> bool:
    """Whether voices can be described: `s02 voice prior` may run meanwhile."""
    return self.system.designs

  # ------------------------------------------------------------------ speech

  def session(self, deadline: float | None) -> Session:
    """Session of one client."""
    return self._engine.session(deadline)

  def speak(self, order: Order, session: Session) -> Iterator[Said]:
    """Speaks an order."""
    words: list[Word] = []
    known = self.system.voices
    for name in order.voices:
      if name not in known:
        raise _no_voice(name, known)
    read = self.system.read(
      order.text, order.language, order.pronunciation, order.markup
    )
    blocks = self.system.speak(
      read,
      self.system.voice(order.voices),
      settings=order.settings,
      changes=order.changes,
      play=session.play,
      timed=words.extend if order.timestamps else None,
      emotion=order.emotion,
    )
    return self._interleaved(blocks, words)

  def design(self, order: Design, session: Session) -> Iterator[int | Said]:
    """Makes voices that fit a description, and lets each of them speak."""
    if not self.designs:
      raise absent("the design of voices by a description")
    if order.keep is not None:
      voice_store.path(self.system.path, order.keep)  # is it a name at all
      self._check_free(order.keep, order.replace)
    read = self.system.read(order.text, order.language)
    made = self.system.design(
      order.description,
      tags=order.tags,
      seed=order.seed,
      candidates=order.candidates,
    )
    return self._speaking(order, read, made, session)

  def _speaking(
    self,
    order: Design,
    read: LongText,
    voices: Sequence[Voice],
    session: Session,
  ) -> Iterator[int | Said]:
    """Seeds and blocks of candidates; keeps the one that is to be kept."""
    for seed, voice in enumerate(voices, order.seed):
      yield seed
      yield from self.system.speak(
        read, voice, changes=Changes(rate=order.rate), play=session.play
      )
      if order.keep is not None:
        self._keep(order.keep, voice, 0.0, order.replace)

  def _interleaved(
    self, blocks: Iterator[np.ndarray], words: list[Word]
  ) -> Iterator[Said]:
    """Blocks of sound, and words as soon as they are known."""
    for block in blocks:
      yield block
      if words:
        yield list(words)
        words.clear()
    if words:
      yield list(words)

  def warm(self, users: int) -> None:
    """Speaks 1, 2, 4 … requests at once, so that later ones find programs."""
    code = self.languages[0]
    word = _WORDS.get(languages.BY_CODE[code].script, "a")
    language_id.detect(word, self.languages)  # it reads its tables
    random = np.random.default_rng(0)
    noise = 0.1 * random.normal(size=2 * self.rate).astype(np.float32)
    (voice,) = self.system.synthesizer.voices([noise], [None])

    def request(words: int) -> Request:
      text = " ".join([word] * words)
      return Request(text=text, language=code, voice=voice, in_words=True)

    # Programs stay in memory, some megabytes each: those for longer texts are
    # made now as well, or a server would grow for hours.
    for words in self._lengths(word, code):
      self._try(request(words), 0)
    count = 1
    while count <= users:
      self._try_together(request(_SHORT), count)
      count *= 2

  def _lengths(self, word: str, code: str) -> Iterator[int]:
    """Numbers of words of a short text, of longer ones, of a whole pass."""
    text = f"{' '.join([word] * _SHORT)}. " * 100
    parts = self.system.read(text, code).parts(self.system.context)
    passes = [p.text.split() for p in parts if isinstance(p, Passage)]
    most = max(map(len, passes), default=_SHORT)
    words = _SHORT
    while words < most:
      yield words
      words = words * 3 // 2
    yield most

  def _try_together(self, request: Request, count: int) -> None:
    """Speaks a request to nobody so many times at once."""
    threads = [
      threading.Thread(target=self._try, args=(request, seed))
      for seed in range(count)
    ]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()

  def _try(self, request: Request, seed: int) -> None:
    """Speaks a request to nobody, and aligns it."""
    with self._engine.session() as session:
      pieces = list(session.play(request, Settings(seed=seed)))
    spoken, aligner = pieces[-1].spoken, self.system.aligner
    if aligner is not None and spoken is not None:
      aligner.words(request.text, request.language, spoken.tokens)

  # ------------------------------------------------------------------ voices

  def voices(self) -> list[dict[str, Any]]:
    """Descriptions of the kept voices; damaged files are left out."""
    found = []
    for name in self.system.voices:
      try:
        found.append(self._entry(name))
      except UserError as error:
        logging.warning("%s", error)
    return found

  def _entry(self, name: str) -> dict[str, Any]:
    """Description of a kept voice."""
    entry = voice_store.entry(self.system.path, name)
    return {k: v for k, v in dataclasses.asdict(entry).items() if k != "bundle"}

  def clone(
    self,
    name: str,
    recordings: Sequence[tuple[np.ndarray, int]],
    transcript: str | None,
    *,
    replace: bool,
  ) -> dict[str, Any]:
    """Keeps a voice made of recordings of one speaker."""
    path = self.system.path
    voice_store.path(path, name)  # is it a name at all
    self._check_free(name, replace)
    voice, seconds = self.system.clone(list(recordings), transcript)
    self._keep(name, voice, seconds, replace)
    return self._entry(name)

  def _keep(
    self, name: str, voice: Voice, seconds: float, replace: bool
  ) -> None:
    """Keeps a voice of so many seconds of recordings."""
    with self._keeping:
      self._check_free(name, replace)
      voice_store.add(self.system.path, name, voice, seconds, replace)

  def _check_free(self, name: str, replace: bool) -> None:
    """Raises Refusal where a voice has that name and is to stay."""
    if name in self.system.voices and not replace:
      raise Refusal(
        "voice_exists",
        f"there is a voice {name!r} already; choose another name, or send"
        " replace: true.",
      )

  def remove(self, name: str) -> None:
    """Forgets a voice; raises Refusal where there is none."""
    with self._keeping:
      known = self.system.voices
      if name not in known:
        raise _no_voice(name, known)
      voice_store.remove(self.system.path, name)

  def close(self) -> None:
    """Ends the engine."""
    self._engine.close()


def _no_voice(name: str, known: Sequence[str]) -> Refusal:
  """Refusal of a voice that is not kept."""
  name = name[:64]
  return Refusal(
    "voice_not_found",
    f"there is no voice {name!r}{hint(name, known)}; there are"
    f" {', '.join(known) or 'none yet'}.",
    param="voice",
  )
