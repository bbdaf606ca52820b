"""Studio: what the server asks of a voice system, and orders for it.

`bundle_studio.py` is the one of a bundle; tests have one without any models.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from s02jax.audio.effects import Changes
from s02jax.core.errors import UserError
from s02jax.serving.server.refusals import Refusal
from s02jax.synthesis import emotion as emotions
from s02jax.synthesis.alignment import Word
from s02jax.synthesis.emotion import Emotion
from s02jax.synthesis.request import DEFAULTS, Settings
from s02jax.text.pronunciation import Pronunciation

NO_CHANGES = Changes()
# What a speaking studio gives: a block of sound, float32 [n], or the words of a
# passage, whose sound was given before.
Said = np.ndarray | list[Word]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
  """Text that a client wants to hear, and how."""

  text: str
  voices: Mapping[str, float]  # name -> weight, one to four
  language: str | None = None  # code or alias; None detects it
  settings: Settings = DEFAULTS
  changes: Changes = NO_CHANGES
  pronunciation: Pronunciation | None = None
  markup: str = "none"
  timestamps: bool = False  # of words, too
  emotion: Emotion = None  # of the sentences to which the text gives none


@dataclasses.dataclass(frozen=True, kw_only=True)
class Design:
  """Voices that a client describes, and what they say to be known by."""

  description: str
  text: str
  language: str | None = None  # code or alias of the text; None detects it
  tags: str = ""  # such as gender=male,pitch=1
  seed: int = 0  # of the first candidate; each one after it has the next
  candidates: int = 1
  rate: int | None = None  # Hz of the sound, if not the studio's
  keep: str | None = None  # name that the one candidate is kept under
  replace: bool = False  # a voice of this name


class Listener(Protocol):
  """Use of the studio by one client; see `shared_engine.Session`."""

  def stop(self) -> None: ...


class Studio(Protocol):
  """Voice system as the server uses it; its methods are called by threads."""

  @property
  def rate(self) -> int:
    """Sample rate of the sound, Hz."""
    ...

  @property
  def languages(self) -> Sequence[str]:
    """Codes of the languages."""
    ...

  @property
  def tells_times(self) -> bool:
    """Whether orders may ask for timestamps."""
    ...

  @property
  def emotions(self) -> Sequence[str]:
    """Names of the emotions that orders may ask for."""
    ...

  @property
  def designs(self) -> bool:
    """Whether voices can be described."""
    ...

  @property
  def slots_in_use(self) -> int: ...

  def voices(self) -> list[dict[str, Any]]:
    """Descriptions of the kept voices, each with its `name`."""
    ...

  def session(self, deadline: float | None) -> Listener: ...

  def speak(self, order: Order, session: Any) -> Iterator[Said]:
    """Speaks an order; blocks are at `order.changes.rate`, or at `rate`.

    Raises:
      UserError: an order that makes no sense, at once.
      Stopped, EngineFault: see `shared_engine.Session.play`.
    """
    ...

  def design(self, order: Design, session: Any) -> Iterator[int | Said]:
    """Makes voices that fit a description, and lets each of them speak.

    The seed of a candidate comes in front of its blocks, which are at
    `order.rate`, or at `rate`. One that is to be kept is kept when it has
    spoken.

    Raises:
      UserError, Refusal: an order that makes no sense, at once.
      Stopped, EngineFault: see `shared_engine.Session.play`.
    """
    ...

  def clone(
    self,
    name: str,
    recordings: Sequence[tuple[np.ndarray, int]],
    transcript: str | None,
    *,
    replace: bool,
  ) -> dict[str, Any]:
    """Keeps a voice of recordings (samples, rate); returns its description."""
    ...

  def remove(self, name: str) -> None: ...

  def warm(self, users: int) -> None:
    """Compiles what up to `users` requests at once need."""
    ...

  def close(self) -> None: ...


def check_emotion(studio: Studio, emotion: Emotion, field: str) -> Emotion:
  """Checks that a bundle can speak in an emotion; returns it.

  Args:
    studio: of the bundle.
    emotion: as a client gave it.
    field: of the body, for the message.

  Raises:
    UserError: it is none.
    Refusal: the bundle has no such emotion.
  """
  emotions.parse(emotion)
  try:
    emotions.strengths(emotion, studio.emotions)
  except UserError as error:
    raise Refusal("not_in_this_bundle", str(error), param=field) from error
  return emotion
