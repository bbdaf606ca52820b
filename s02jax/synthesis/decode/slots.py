"""Continuous batching on the host: admits, resizes, rewinds.

Compiled shapes are few: a cache has one of SLOTS slots and `round_places`,
a prompt one of `round_up`'s lengths.

Shape letters: p prompt positions, o speaker vector, e adapters.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import numpy as np

from s02jax.synthesis.batching import pad, round_up
from s02jax.synthesis.decode.cache import (
  BURST,
  NOTHING,
  WINDOW,
  Cache,
  CacheShape,
  Sampling,
  Slots,
  resize,
  round_places,
)

SLOTS = (1, 2, 4, 8, 32)  # allowed numbers of slots of a cache
PROMPT_UNIT = 64  # least padded length of a prompt
LONGEST = 8192  # places of one request, prompt and tokens together


@dataclasses.dataclass(frozen=True, kw_only=True)
class ARPrompt:
  """Prompt of the AR model, with the limits and settings of its decoding."""

  ids: np.ndarray  # int32 [p], joint ids of the prompt
  cursor: np.ndarray  # float32 [p], see `s02jax.text.sequence`
  rate: float  # by how much each token moves the cursor
  vector: np.ndarray  # float32 [o], the speaker's
  seed: int  # 32 bits, of the draws
  limit: int  # most tokens, at least 1
  sampling: Sampling  # numbers
  least: int = 1  # END is not drawn before so many tokens
  # float [e], of the adapters; none: the base alone
  strengths: np.ndarray | Sequence[float] = ()


class DecodeFunctions(Protocol):
  """AR decoding, compiled from a model or read from an export.

  `decode/decoder.py` and `serving/runtime.py` implement it.
  """

  text_size: int  # joint ids below it are text pieces
  shape: CacheShape  # of the caches that the functions take
  adapters: int  # that a slot may mix, e

  def prefill(
    self,
    cache: Cache,
    ids: Any,
    cursor: Any,
    length: Any,
    speaker: Any,
    strengths: Any,
    slot: Any,
  ) -> Cache: ...

  def decode(
    self, cache: Cache, slots: Slots, steps: Any, enough: Any
  ) -> tuple[Cache, Slots, Any]: ...


def _round_slots(need: int) -> int:
  """Slots of the least allowed cache with at least `need` of them."""
  return next(n for n in SLOTS if n >= need)


class SlotDecoder:
  """Decoder of many requests side by side, each known by a ticket."""

  def __init__(self, functions: DecodeFunctions):
    """Starts with one free slot.

    Args:
      functions: of the AR model.
    """
    self._functions = functions
    self._owners: list[int | None] = [None] * SLOTS[0]  # ticket of each slot
    self._slots = Slots.free(SLOTS[0], functions.adapters)
    self._cache = functions.shape.empty(SLOTS[0], round_places(1))

  @property
  def tickets(self) -> list[int]:
    """Tickets of the requests that have a slot."""
    return [ticket for ticket in self._owners if ticket is not None]

  @property
  def room(self) -> int:
    """Number of requests that could still be admitted."""
    return SLOTS[-1] - len(self.tickets)

  def admit(self, ticket: int, prompt: ARPrompt) -> None:
    """Gives a request a slot and reads its prompt; there must be room."""
    start = len(prompt.ids) - 1
    length = round_up(start, PROMPT_UNIT)
    if None not in self._owners or length > self._cache.length:
      self._resize(len(self.tickets) + 1, length)
    slot = self._owners.index(None)
    strengths = np.zeros(self._functions.adapters, np.float32)
    strengths[: len(prompt.strengths)] = prompt.strengths
    self._cache = self._functions.prefill(
      self._cache,
      pad([prompt.ids[:-1]], 1, length)[0],
      pad([prompt.cursor[:-1]], 1, length)[0],
      np.int32(start),
      prompt.vector,
      strengths,
      np.int32(slot),
    )
    self._owners[slot] = ticket
    self._set(
      slot,
      active=prompt.limit > 0,
      ids=prompt.ids[-1],
      start=start,
      count=0,
      cursor=prompt.cursor[-1],
      rate=prompt.rate,
      history=NOTHING,
      seed=prompt.seed,
      limit=prompt.limit,
      least=prompt.least,
      strengths=strengths,
      sampling=prompt.sampling,
    )

  def rewind(self, ticket: int, tokens: Sequence[int], seed: int) -> None:
    """Continues a request after its first `tokens`, with another seed."""
    history = np.full(WINDOW, NOTHING, np.int32)
    last = tokens[-WINDOW:]
    history[WINDOW - len(last) :] = last
    self._set(
      self._owners.index(ticket),
      active=True,
      ids=self._functions.text_size + tokens[-1],
      count=len(tokens),
      history=history,
      seed=seed,
    )

  def release(self, ticket: int) -> None:
    """Frees the slot of a request."""
    slot = self._owners.index(ticket)
    self._owners[slot] = None
    self._set(slot, active=False)

  def step(self, tokens: int, refill: bool) -> dict[int, np.ndarray]:
    """Draws the next tokens int32 of every request, END included, by ticket.

    Args:
      tokens: most of each request, up to BURST.
      refill: stop as soon as one request ends, since another waits.
    """
    tokens = min(tokens, BURST)
    active = int(self._slots.active.sum())
    if not active:
      return {}
    self._resize(len(self.tickets), 0, tokens)
    self._cache, slots, drawn = self._functions.decode(
      self._cache,
      self._slots,
      np.int32(tokens),
      np.int32(active if refill else 1),
    )
    self._slots = jax.tree.map(np.array, slots)
    return {
      ticket: row[row != NOTHING]
      for ticket, row in zip(self._owners, np.array(drawn), strict=True)
      if ticket is not None
    }

  def _set(self, slot: int, **values) -> None:
    """Writes the given entries of one slot."""

    def write(array: np.ndarray, value) -> np.ndarray:
      array = np.array(array)
      array[slot] = value
      return array

    entries = {
      name: jax.tree.map(write, getattr(self._slots, name), value)
      for name, value in values.items()
    }
    self._slots = dataclasses.replace(self._slots, **entries)

  def _resize(self, slots: int, length: int, tokens: int = 0) -> None:
    """Makes the cache fit: larger at once, smaller when far too large.

    Args:
      slots: least number of slots.
      length: least number of places.
      tokens: places needed behind what the requests have filled.
    """
    held = [i for i, ticket in enumerate(self._owners) if ticket is not None]
    ends = (self._slots.start + self._slots.count)[held]
    length = max(length, int(ends.max(initial=0)) + tokens)
    count, places = len(self._owners), self._cache.length
    if (
      slots > count or _round_slots(min(slots + slots // 2, SLOTS[-1])) < count
    ):
      count = _round_slots(slots)
    if length > places or round_places(2 * length) < places:
      places = round_places(length)
    if (count, places) == (len(self._owners), self._cache.length):
      return
    free = [i for i in range(len(self._owners)) if i not in held]
    order = (held + free + [0] * count)[:count]
    self._cache = resize(self._cache, np.array(order, np.int32), length=places)
    owners = [self._owners[i] for i in held]
    self._owners = (owners + [None] * count)[:count]
    self._slots = jax.tree.map(lambda x: np.asarray(x)[order], self._slots)
    self._slots.active[len(held) :] = False
