"""The slots of `decoding` from the host: admission, growth, going back.

Shapes are few: a cache has one of SLOTS rows and UNIT · 2^i places, a prompt
one of `round_up`'s lengths.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from s02jax.synthesis.batching import pad, round_up
from s02jax.synthesis.decode import cache as state
from s02jax.synthesis.decode.cache import (
  BURST,
  NOTHING,
  WINDOW,
  Cache,
  CacheShape,
  Sampling,
  Slots,
)

SLOTS = (1, 2, 4, 8, 32)
UNIT = 256  # least places of a cache
PROMPT_UNIT = 64  # least padded length of a prompt
LONGEST = 8192  # places of one request, prompt and tokens together


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draft:
  """What a slot needs to know of a request."""

  ids: np.ndarray  # int32 [p], joint ids of the prompt
  cursor: np.ndarray  # float32 [p], see `s02jax.text.sequence`
  rate: float  # what a token adds to the cursor
  vector: np.ndarray  # float32 [o], the speaker's
  seed: int  # 32 bits
  limit: int  # most tokens, at least 1
  sampling: Sampling  # numbers
  least: int = 1  # END is not drawn before so many tokens


class Programs(Protocol):
  """The AR model, compiled here or in an export; see `decoder.py`."""

  text_size: int
  shape: CacheShape

  def prefill(
    self, cache: Cache, ids: Any, cursor: Any, length: Any, speaker: Any, slot
  ) -> Cache: ...

  def decode(
    self, cache: Cache, slots: Slots, steps: Any, enough: Any
  ) -> tuple[Cache, Slots, Any]: ...


def _free(rows: int) -> Slots:
  """So many free slots, in numpy arrays."""
  whole, real = jnp.zeros(rows, jnp.int32), jnp.zeros(rows, jnp.float32)
  slots = Slots(
    active=jnp.zeros(rows, bool),
    ids=whole,
    start=whole,
    count=whole,
    cursor=real,
    rate=real,
    history=jnp.full((rows, WINDOW), NOTHING, jnp.int32),
    seed=whole.astype(jnp.uint32),
    limit=whole,
    least=whole,
    sampling=Sampling(
      temperature=real,
      top_k=whole,
      top_p=real + 1,
      repetition_penalty=real + 1,
    ),
  )
  return jax.tree.map(np.array, slots)


def _places(need: int) -> int:
  return max(UNIT, 1 << (need - 1).bit_length())


def _rows(need: int) -> int:
  return next(n for n in SLOTS if n >= need)


class SlotDecoder:
  """Decodes many requests side by side; each is known by a ticket."""

  def __init__(self, programs: Programs):
    """Takes the AR model."""
    self._programs = programs
    self._rows: list[int | None] = [None] * SLOTS[0]  # ticket of each slot
    self._slots = _free(SLOTS[0])
    self._cache = programs.shape.empty(SLOTS[0], UNIT)

  @property
  def tickets(self) -> list[int]:
    """Of the requests that have a slot."""
    return [ticket for ticket in self._rows if ticket is not None]

  @property
  def room(self) -> int:
    """Slots that could be had."""
    return SLOTS[-1] - len(self.tickets)

  def admit(self, ticket: int, draft: Draft) -> None:
    """Gives a request a slot; there must be room."""
    length = round_up(len(draft.ids) - 1, PROMPT_UNIT)
    if None not in self._rows or length > self._cache.length:
      self._resize(len(self.tickets) + 1, length)
    row = self._rows.index(None)
    start = len(draft.ids) - 1
    self._cache = self._programs.prefill(
      self._cache,
      pad([draft.ids[:-1]], 1, length)[0],
      pad([draft.cursor[:-1]], 1, length)[0],
      np.int32(start),
      draft.vector,
      np.int32(row),
    )
    self._rows[row] = ticket
    self._set(
      row,
      active=draft.limit > 0,
      ids=draft.ids[-1],
      start=start,
      count=0,
      cursor=draft.cursor[-1],
      rate=draft.rate,
      history=NOTHING,
      seed=draft.seed,
      limit=draft.limit,
      least=draft.least,
      sampling=draft.sampling,
    )

  def rewind(self, ticket: int, tokens: Sequence[int], seed: int) -> None:
    """Lets a request go on behind its first `tokens`, under another seed."""
    history = np.full(WINDOW, NOTHING, np.int32)
    last = tokens[-WINDOW:]
    history[WINDOW - len(last) :] = last
    self._set(
      self._rows.index(ticket),
      active=True,
      ids=self._programs.text_size + tokens[-1],
      count=len(tokens),
      history=history,
      seed=seed,
    )

  def release(self, ticket: int) -> None:
    """Takes the slot back."""
    row = self._rows.index(ticket)
    self._rows[row] = None
    self._set(row, active=False)

  def step(self, tokens: int, refill: bool) -> dict[int, np.ndarray]:
    """What each request says next, END included.

    Args:
      tokens: most of each, up to BURST.
      refill: stop as soon as one request ends, since another waits.
    """
    tokens = min(tokens, BURST)
    active = int(self._slots.active.sum())
    if not active:
      return {}
    self._resize(len(self.tickets), 0, tokens)
    self._cache, slots, drawn = self._programs.decode(
      self._cache,
      self._slots,
      np.int32(tokens),
      np.int32(active if refill else 1),
    )
    self._slots = jax.tree.map(np.array, slots)
    return {
      ticket: row[row != NOTHING]
      for ticket, row in zip(self._rows, np.array(drawn), strict=True)
      if ticket is not None
    }

  def _set(self, row: int, **values) -> None:
    """Writes one slot's entries."""

    def write(array: np.ndarray, value) -> np.ndarray:
      array = np.array(array)
      array[row] = value
      return array

    entries = {
      name: jax.tree.map(write, getattr(self._slots, name), value)
      for name, value in values.items()
    }
    self._slots = dataclasses.replace(self._slots, **entries)

  def _resize(self, rows: int, length: int, tokens: int = 0) -> None:
    """Makes the cache fit: larger at once, smaller when far too large."""
    held = [i for i, ticket in enumerate(self._rows) if ticket is not None]
    ends = (self._slots.start + self._slots.count)[held]
    length = max(length, int(ends.max(initial=0)) + tokens)
    now, places = len(self._rows), self._cache.length
    if rows > now or _rows(min(rows + rows // 2, SLOTS[-1])) < now:
      now = _rows(rows)
    if length > places or _places(2 * length) < places:
      places = _places(length)
    if (now, places) == (len(self._rows), self._cache.length):
      return
    free = [i for i in range(len(self._rows)) if i not in held]
    order = (held + free + [0] * now)[:now]
    self._cache = state.resize(
      self._cache, np.array(order, np.int32), length=places
    )
    self._rows = ([self._rows[i] for i in held] + [None] * now)[:now]
    self._slots = jax.tree.map(lambda x: np.asarray(x)[order], self._slots)
    self._slots.active[len(held) :] = False
