"""Many requests at once, each heard as soon as it can be.

  engine = synthesizer.engine()
  ticket = engine.submit(Request(...))
  while engine.busy:
    for piece in engine.step():
      ...                               # sound of the request piece.ticket

No thread and no callback: `step` does a bounded piece of work and returns. A
request's tokens and sound depend on nothing but itself, up to rounding.

Shape letters: n samples, s tokens.
"""

import collections
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from s02jax.synthesis.decode.cache import BURST
from s02jax.synthesis.decode.runaway import Watch
from s02jax.synthesis.decode.slots import Draft, SlotDecoder
from s02jax.synthesis.render.streams import Models, Sounding, advance
from s02jax.synthesis.request import DEFAULTS, Request, Settings

FEWEST = 3  # tokens that are worth a call


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
  """A request that has been checked, with all that it needs."""

  draft: Draft
  sounding: Sounding
  second_seed: int  # of what is drawn in place of a runaway


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spoken:
  """How a request came out."""

  tokens: np.ndarray  # int32 [s]
  ended: bool  # by itself, not by the limit or as a runaway
  redrawn: bool  # a loop or a long silence was drawn anew


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
  """Sound of a request, to be played after its pieces before."""

  ticket: int
  wave: np.ndarray  # float32 [n]; the last may be empty
  spoken: Spoken | None  # with the last piece


class _Job:
  """A request under way."""

  def __init__(self, plan: Plan, end: int):
    self.draft, self.sounding = plan.draft, plan.sounding
    self._second_seed, self._end = plan.second_seed, end
    self._watch = Watch()
    self._passed = 0  # tokens that the sounding has
    self.tokens: list[int] = []
    self.spoken: Spoken | None = None
    self._redrawn = False

  @property
  def wanted(self) -> int:
    """Tokens until the first sound; 0 when it has been."""
    held = len(self.tokens) - self._passed
    return max(self.sounding.missing - held, 1) if self.sounding.silent else 0

  def take(self, drawn: Sequence[int]) -> int | None:
    """Takes what was drawn; the seed to draw on with where it ran away."""
    for token in drawn:
      if token == self._end:
        self._finish(ended=True)
        return None
      self.tokens.append(token)
      self._watch.push(token)
      if self._watch.ran_away:
        return self._cut()
      if len(self.tokens) >= self.draft.limit:
        self._finish(ended=False)
        return None
    self._pass(self._watch.sure)
    return None

  def _cut(self) -> int | None:
    del self.tokens[self._watch.sure :]
    self._pass(self._watch.sure)
    if self._redrawn:
      self._finish(ended=False)
      return None
    self._redrawn = True
    self._watch = Watch(len(self.tokens))
    return self._second_seed

  def _pass(self, count: int) -> None:
    fresh = self.tokens[self._passed : count]
    if fresh:
      self.sounding.append(np.array(fresh, np.int32))
      self._passed = count

  def _finish(self, *, ended: bool) -> None:
    self._pass(len(self.tokens))
    self.sounding.finish()
    self.spoken = Spoken(
      tokens=np.array(self.tokens, np.int32),
      ended=ended,
      redrawn=self._redrawn,
    )


class Engine:
  """Requests in, pieces of sound out."""

  def __init__(
    self,
    decoder: SlotDecoder,
    models: Models,
    end: int,
    plan: Callable[[Request, Settings], Plan],
  ):
    """Is made by `Synthesizer.engine`.

    Args:
      decoder: of tokens.
      models: that make sound of them.
      end: the class that ends an utterance.
      plan: checks a request; raises UserError.
    """
    self._decoder, self._models, self._plan = decoder, models, plan
    self._end = end
    self._jobs: dict[int, _Job] = {}
    self._waiting: collections.deque[int] = collections.deque()
    self._next = 0

  @property
  def busy(self) -> bool:
    """Whether any request is under way."""
    return bool(self._jobs)

  def submit(self, request: Request, settings: Settings = DEFAULTS) -> int:
    """Takes a request; its ticket.

    Raises:
      UserError: a request or setting that makes no sense; the engine goes on
        as if it had not been asked.
    """
    return self.add(self._plan(request, settings))

  def add(self, plan: Plan) -> int:
    """`submit` of what has been checked."""
    ticket, self._next = self._next, self._next + 1
    self._jobs[ticket] = _Job(plan, self._end)
    self._waiting.append(ticket)
    return ticket

  def cancel(self, ticket: int) -> None:
    """Forgets a request; nothing happens where it is over already."""
    if self._jobs.pop(ticket, None) is None:
      return
    if ticket in self._waiting:
      self._waiting.remove(ticket)
    elif ticket in self._decoder.tickets:
      self._decoder.release(ticket)

  def step(self) -> list[Piece]:
    """Goes on by some tokens and at most one piece of sound a request."""
    while self._waiting and self._decoder.room:
      ticket = self._waiting.popleft()
      self._decoder.admit(ticket, self._jobs[ticket].draft)
    self._speak()
    return self._sound()

  def _speak(self) -> None:
    tickets = self._decoder.tickets
    if not tickets:
      return
    wanted = [n for t in tickets if (n := self._jobs[t].wanted)]
    tokens = max(min(wanted), FEWEST) if wanted else BURST
    drawn = self._decoder.step(tokens, refill=bool(self._waiting))
    for ticket, row in drawn.items():
      job = self._jobs[ticket]
      seed = job.take(row.tolist())
      if seed is not None:
        self._decoder.rewind(ticket, job.tokens, seed)
      if job.spoken is not None:
        self._decoder.release(ticket)

  def _sound(self) -> list[Piece]:
    of = {id(job.sounding): t for t, job in self._jobs.items()}
    waves = {
      of[id(heard.owner)]: heard.wave
      for heard in advance(
        self._models, [job.sounding for job in self._jobs.values()]
      )
    }
    pieces = []
    for ticket, job in list(self._jobs.items()):
      over = job.sounding.exhausted
      if over:
        del self._jobs[ticket]
      if over or ticket in waves:
        pieces.append(
          Piece(
            ticket=ticket,
            wave=waves.get(ticket, np.zeros(0, np.float32)),
            spoken=job.spoken if over else None,
          )
        )
    return pieces
