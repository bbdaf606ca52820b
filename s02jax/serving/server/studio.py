"""Studio: what the server asks of a voice system, and orders for it.

`bundle_studio.py` is the one of a bundle; tests have one without any models.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from s02jax.audio.effects import Changes
from s02jax.synthesis.alignment import Word
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
