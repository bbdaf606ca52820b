"""Engine for many requests at once, each heard as soon as it can be.

  engine = synthesizer.engine()
  ticket = engine.submit(Request(...))
  while engine.busy:
    for piece in engine.step():
      ...                               # sound of the request piece.ticket

No thread and no callback: `step` does a bounded piece of work and returns. A
request's tokens and sound depend on nothing but itself, up to rounding.

Shape letters: n samples, l latents, c latent channels.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from s02jax.synthesis.decode.cache import BURST
from s02jax.synthesis.decode.slots import SlotDecoder
from s02jax.synthesis.job import Spoken, UtteranceJob
from s02jax.synthesis.render.streams import Renderer
from s02jax.synthesis.request import DEFAULTS, Request, Settings

FEWEST = 3  # least tokens that a decode call is worth


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
  """Sound of a request, to be played after its pieces before."""

  ticket: int  # of the request
  wave: np.ndarray  # float32 [n]; the last may be empty
  spoken: Spoken | None  # outcome, with the last piece
  # Standardised, float32 [l, c], with the last piece of an utterance.
  latents: np.ndarray | None = None


class Engine:
  """Scheduler of requests: admits, decodes and renders them side by side."""

  def __init__(
    self,
    decoder: SlotDecoder,
    renderer: Renderer,
    prepare: Callable[[Request, Settings], UtteranceJob],
  ):
    """Starts without requests; `Pipeline.engine` is the usual way to get one.

    Args:
      decoder: of tokens, with no request.
      renderer: of sound.
      prepare: checks a request and makes its job; raises UserError.
    """
    self._decoder, self._renderer = decoder, renderer
    self._prepare = prepare
    self._jobs: dict[int, UtteranceJob] = {}
    self._waiting: collections.deque[int] = collections.deque()
    self._next_ticket = 0

  @property
  def busy(self) -> bool:
    """Whether any request is under way."""
    return bool(self._jobs)

  def submit(self, request: Request, settings: Settings = DEFAULTS) -> int:
    """Checks and queues a request; returns its ticket.

    Raises:
      UserError: a request or setting that makes no sense; the engine goes on
        as if it had not been asked.
    """
    return self.add(self._prepare(request, settings))

  def add(self, job: UtteranceJob) -> int:
    """Queues a fresh job; returns its ticket."""
    ticket, self._next_ticket = self._next_ticket, self._next_ticket + 1
    self._jobs[ticket] = job
    self._waiting.append(ticket)
    return ticket

  def cancel(self, ticket: int) -> None:
    """Drops a request; does nothing where it is over already."""
    if self._jobs.pop(ticket, None) is None:
      return
    if ticket in self._waiting:
      self._waiting.remove(ticket)
    elif ticket in self._decoder.tickets:
      self._decoder.release(ticket)

  def play(
    self, request: Request, settings: Settings = DEFAULTS
  ) -> Iterator[Piece]:
    """Submits a request; its pieces, each made when it is asked for.

    Raises:
      UserError: as by `submit`, at once.
    """
    return self._pieces_of(self.submit(request, settings))

  def _pieces_of(self, ticket: int) -> Iterator[Piece]:
    """Pieces of one request, while no other is under way."""
    while ticket in self._jobs:
      yield from self.step()

  def step(self) -> list[Piece]:
    """Draws some tokens and makes at most one piece of sound a request."""
    while self._waiting and self._decoder.room:
      ticket = self._waiting.popleft()
      self._decoder.admit(ticket, self._jobs[ticket].prompt)
    self._decode()
    return self._render()

  def _decode(self) -> None:
    """Draws tokens for the requests that have a slot."""
    tickets = self._decoder.tickets
    if not tickets:
      return
    wanted = [n for t in tickets if (n := self._jobs[t].wanted)]
    tokens = max(min(wanted), FEWEST) if wanted else BURST
    drawn = self._decoder.step(tokens, refill=bool(self._waiting))
    for ticket, row in drawn.items():
      job = self._jobs[ticket]
      seed = job.add(row.tolist())
      if seed is not None:
        self._decoder.rewind(ticket, job.tokens, seed)
      if job.spoken is not None:
        self._decoder.release(ticket)

  def _render(self) -> list[Piece]:
    """Makes sound of all requests; those that are over leave the engine."""
    waves = self._renderer.advance({t: j.stream for t, j in self._jobs.items()})
    pieces = []
    for ticket, job in list(self._jobs.items()):
      over = job.stream.exhausted
      if over:
        del self._jobs[ticket]
      if over or ticket in waves:
        pieces.append(
          Piece(
            ticket=ticket,
            wave=waves.get(ticket, np.zeros(0, np.float32)),
            spoken=job.spoken if over else None,
            latents=job.stream.made if over else None,
          )
        )
    return pieces
