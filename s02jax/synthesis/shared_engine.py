"""One engine for many threads: it runs in a thread of its own.

  shared = SharedEngine(synthesizer)
  with shared.session(deadline) as session:
    for block in long_text.speak(…, play=session.play):
      ...
  session.stop()                  # from any thread: its slot is free in a step

Texts are read, effects applied and sound encoded in the threads of those who
listen; only the steps of the engine share one.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator

from s02jax.synthesis.engine import Engine, Piece
from s02jax.synthesis.job import UtteranceJob
from s02jax.synthesis.pipeline import Pipeline
from s02jax.synthesis.request import DEFAULTS, Request, Settings


class Stopped(Exception):
  """Raised where a session that was stopped, or is late, asks for sound."""


class Late(Stopped):
  """Raised where the deadline of a session has passed."""


class EngineFault(Exception):
  """Raised in every session when a step of the engine failed."""


class SharedEngine:
  """Engine in a thread of its own, which starts with the first request."""

  def __init__(self, pipeline: Pipeline):
    """Makes an engine without requests.

    Args:
      pipeline: of the models.
    """
    self._pipeline = pipeline
    self._commands: queue.SimpleQueue[Callable[[Engine], None] | None] = (
      queue.SimpleQueue()
    )
    self._listeners: dict[int, queue.SimpleQueue] = {}  # by ticket
    self._thread = threading.Thread(
      target=self._run, name="engine", daemon=True
    )
    self._lock = threading.Lock()
    self._started = self._closed = False
    self.steps = 0  # made so far

  @property
  def slots_in_use(self) -> int:
    """Number of requests that are in the engine."""
    return len(self._listeners)

  def session(self, deadline: float | None = None) -> "Session":
    """Session of one listener.

    Args:
      deadline: `time.monotonic()` at which its requests are dropped.
    """
    with self._lock:
      if not (self._closed or self._started):
        self._thread.start()
        self._started = True
    return Session(self, deadline)

  def close(self) -> None:
    """Stops the thread; sessions that are under way are stopped."""
    with self._lock:
      self._closed = True
      self._commands.put(None)
      started = self._started
    if started:
      self._thread.join()

  # ------------------------------------------------------- for the sessions

  def add(self, request: Request, settings: Settings) -> "Listening":
    """Checks a request and hands it to the thread; raises UserError."""
    (job,) = self._pipeline.jobs([request], settings, whole=False)
    listening = Listening()
    with self._lock:
      if self._closed:
        raise Stopped("the engine was closed.")
      self._commands.put(lambda engine: self._admit(engine, job, listening))
    return listening

  def drop(self, listening: "Listening") -> None:
    """Drops a request before the next step."""
    self._commands.put(lambda engine: self._cancel(engine, listening))

  # ------------------------------------------------------------- the thread

  def _admit(
    self, engine: Engine, job: UtteranceJob, listening: "Listening"
  ) -> None:
    listening.ticket = engine.add(job)
    self._listeners[listening.ticket] = listening.pieces

  def _cancel(self, engine: Engine, listening: "Listening") -> None:
    if listening.ticket is not None:
      engine.cancel(listening.ticket)
      self._listeners.pop(listening.ticket, None)

  def _run(self) -> None:
    """Takes commands and makes steps until it is closed."""
    engine = self._pipeline.engine()
    while True:
      commands = self._waiting(block=not engine.busy)
      try:
        for command in commands:
          if command is None:
            return self._fail(Stopped("the engine was closed."))
          command(engine)
        if engine.busy:
          self._step(engine)
      except Exception as error:  # whatever it is, other requests go on
        logging.exception("a step of the engine failed")
        self._fail(EngineFault(str(error)))
        engine = self._pipeline.engine()

  def _waiting(self, *, block: bool) -> list:
    """Commands that wait; waits for one where `block`."""
    found = [self._commands.get()] if block else []
    try:
      while True:
        found.append(self._commands.get_nowait())
    except queue.Empty:
      return found

  def _step(self, engine: Engine) -> None:
    """Makes a step and hands its pieces out."""
    for piece in engine.step():
      pieces = self._listeners.get(piece.ticket)
      if piece.spoken is not None:
        self._listeners.pop(piece.ticket, None)
      if pieces is not None:
        pieces.put(piece)
    self.steps += 1

  def _fail(self, error: Exception) -> None:
    """Ends every session that listens with an error."""
    for pieces in self._listeners.values():
      pieces.put(error)
    self._listeners.clear()


class Listening:
  """One request in the engine, and the pieces of it that wait to be heard."""

  def __init__(self):
    self.pieces: queue.SimpleQueue = queue.SimpleQueue()  # Piece, Exception
    self.ticket: int | None = None  # set by the thread

  def next(self, deadline: float | None) -> Piece:
    """Next piece; raises what was put in place of one, and Late."""
    left = None if deadline is None else max(deadline - time.monotonic(), 0)
    try:
      found = self.pieces.get(timeout=left)
    except queue.Empty:
      raise Late("the deadline has passed.") from None
    if isinstance(found, Exception):
      raise found
    return found


class Session:
  """Use of the engine by one listener, a request at a time."""

  def __init__(self, engine: SharedEngine, deadline: float | None):
    self._engine, self._deadline = engine, deadline
    self._listening: Listening | None = None
    self._stopped = False

  def play(
    self, request: Request, settings: Settings = DEFAULTS
  ) -> Iterator[Piece]:
    """Submits a request; its pieces as they come, see `Engine.play`.

    Raises:
      UserError: a request that makes no sense, at once.
      Stopped: when `stop` was called, the deadline passed or the engine was
        closed; by the iterator or at once.
      EngineFault: by the iterator, when a step failed.
    """
    self._listening = listening = self._engine.add(request, settings)
    return self._heard(listening)

  def _heard(self, listening: Listening) -> Iterator[Piece]:
    over = False
    try:
      while not over:
        if self._stopped:
          raise Stopped("the session was stopped.")
        piece = listening.next(self._deadline)
        over = piece.spoken is not None
        yield piece
    finally:
      if not over:
        self._engine.drop(listening)

  def __enter__(self) -> "Session":
    return self

  def __exit__(self, *_) -> None:
    self.stop()

  def stop(self) -> None:
    """Drops what is under way; whoever waits for sound gets `Stopped`."""
    self._stopped = True
    listening = self._listening
    if listening is not None:
      self._engine.drop(listening)
      listening.pieces.put(Stopped("the session was stopped."))
