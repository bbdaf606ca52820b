"""One engine for many threads: it runs in a thread of its own.

  shared = SharedEngine(synthesizer)
  with shared.session(deadline) as session:
    for block in long_text.speak(…, play=session.play):
      ...
  session.stop()                  # from any thread: its slot is free in a step

  async for block in session.heard(function, …):     # called in a thread
    ...

Texts are read, effects applied and sound encoded in the threads of those who
listen; only the steps of the engine share one.
"""

import asyncio
import concurrent.futures
import functools
import logging
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, TypeVar

from s02jax.synthesis.decode.slots import SLOTS
from s02jax.synthesis.engine import Engine, Piece
from s02jax.synthesis.job import UtteranceJob
from s02jax.synthesis.pipeline import Pipeline
from s02jax.synthesis.request import DEFAULTS, Request, Settings

Block = TypeVar("Block")


class Stopped(Exception):
  """Raised where a session that was stopped, or is late, asks for sound."""


class Late(Stopped):
  """Raised where the deadline of a session has passed."""


class EngineFault(Exception):
  """Raised in every session when a step of the engine failed."""


class SharedEngine:
  """Engine in a thread of its own, which starts with the first request.

  Attributes:
    steps: made so far.
    threads: of those who listen from asynchronous tasks.
  """

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
    self.threads = concurrent.futures.ThreadPoolExecutor(SLOTS[-1], "listener")
    self._lock = threading.Lock()
    self._started = self._closed = False
    self.steps = 0

  @property
  def slots_in_use(self) -> int:
    """Number of requests that are in the engine."""
    return len(self._listeners)

  def session(
    self, deadline: float | None = None, *, whole: bool = False
  ) -> "Session":
    """Session of one listener.

    Args:
      deadline: `time.monotonic()` at which its requests are dropped.
      whole: each request is heard when all of it is spoken, and better;
        otherwise as soon as it can be.
    """
    with self._lock:
      if not (self._closed or self._started):
        self._thread.start()
        self._started = True
    return Session(self, deadline, whole=whole)

  def close(self) -> None:
    """Stops the thread; sessions that are under way are stopped."""
    with self._lock:
      self._closed = True
      self._commands.put(None)
      started = self._started
    if started:
      self._thread.join()
    self.threads.shutdown(wait=False)

  # ------------------------------------------------------- for the sessions

  def add(
    self, request: Request, settings: Settings, whole: bool
  ) -> "Listening":
    """Checks a request and hands it to the thread; raises UserError."""
    (job,) = self._pipeline.jobs([request], settings, whole)
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
    """Runs the engine: obeys commands and makes steps until it is closed."""
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

  def __init__(
    self, engine: SharedEngine, deadline: float | None, *, whole: bool
  ):
    self._engine, self._deadline, self._whole = engine, deadline, whole
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
    listening = self._engine.add(request, settings, self._whole)
    self._listening = listening
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

  async def heard(
    self, speak: Callable[..., Iterator[Block]], *args: Any, **named: Any
  ) -> AsyncGenerator[Block]:
    """Calls a function and iterates over its blocks in threads.

    Args:
      speak: makes blocks, none of them None, by this session.
      *args: of it.
      **named: of it.

    Raises:
      Exception: whatever the function raises.
    """
    loop, threads = asyncio.get_running_loop(), self._engine.threads
    call = functools.partial(speak, *args, **named)
    try:
      blocks = await loop.run_in_executor(threads, call)
      while True:
        block = await loop.run_in_executor(threads, next, blocks, None)
        if block is None:
          return
        yield block
    finally:
      self.stop()

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
