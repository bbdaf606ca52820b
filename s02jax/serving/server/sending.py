"""Responses that carry speech: made in threads, sent while it is made.

  gate ─► session of the studio ─► blocks of sound ─► bytes ─► client

A client that leaves is noticed at once, in the queue or while it listens: its
session is stopped, and the slot is free before the engine's next step.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
from starlette.types import Receive, Scope, Send

from s02jax.core.errors import UserError
from s02jax.serving.server.refusals import Refusal
from s02jax.serving.server.studio import Listener, Said, Studio
from s02jax.serving.server.traffic import Figures, Gate, Limits, Turn, late
from s02jax.synthesis.shared_engine import EngineFault, Late, Stopped

Sayings = Iterator[Said]
# What is to be spoken, by a session: `Studio.speak` of an order, for instance.
Speak = Callable[[Any], Iterator[Any]]


@dataclasses.dataclass
class House:
  """Parts of the server that all requests share."""

  studio: Studio
  limits: Limits
  figures: Figures
  gate: Gate
  # Decodes an upload, see `uploads.decode`.
  decode: Callable[[bytes, float], tuple[np.ndarray, int]]
  threads: anyio.CapacityLimiter
  decoders: anyio.CapacityLimiter
  warm: bool = False  # programs are compiled

  async def run(self, function: Callable[..., Any], *args: Any) -> Any:
    """Calls a function in a thread."""
    return await anyio.to_thread.run_sync(function, *args, limiter=self.threads)


def explain(error: Exception, limits: Limits) -> Refusal:
  """Refusal that tells of an error of a request; logs what nobody expected."""
  if isinstance(error, Refusal):
    return error
  if isinstance(error, UserError):
    return Refusal("invalid_request", str(error))
  if isinstance(error, Late):
    return late(limits.seconds)
  if isinstance(error, Stopped):
    return Refusal("closing", "the server ended while it spoke; ask again.")
  if not isinstance(error, EngineFault):
    logging.error("a request failed", exc_info=error)
  return Refusal(
    "internal", "the server failed at this request; its log says more."
  )


class SpeechResponse:
  """Response of speech; an ASGI application, as responses of Starlette are."""

  def __init__(
    self,
    house: House,
    speak: Speak,
    rate: int,
    encode: Callable[[Iterator[Any]], Iterator[bytes]],
    media_type: str,
    *,
    fail: Callable[[Refusal], bytes] | None = None,
    headers: Mapping[str, str] | None = None,
  ):
    """Prepares a response; nothing is done before it is called.

    Args:
      house: of the server.
      speak: gives what the studio says in a session.
      rate: of its blocks, Hz.
      encode: makes the body of blocks of sound, in a thread.
      media_type: of the body.
      fail: last bytes of a body that was begun and cannot go on; None: the
        connection is cut, so that nobody takes half of it for the whole.
      headers: further ones.
    """
    self._house, self._speak, self._rate = house, speak, rate
    self._encode, self._fail = encode, fail
    headers = {"content-type": media_type, "cache-control": "no-store"} | dict(
      headers or {}
    )
    self._headers = [(k.encode(), v.encode()) for k, v in headers.items()]
    self._session: Listener | None = None
    self._begun = False

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Serves the request until it is over or its client leaves."""
    async with anyio.create_task_group() as group:

      async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
          pass
        if self._session is not None:
          self._session.stop()
        group.cancel_scope.cancel()

      group.start_soon(watch)
      try:
        async with self._house.gate.turn() as turn:
          await self._serve(turn, send)
      except Exception as error:
        refusal = explain(error, self._house.limits)
        if not self._begun:
          await refusal.response()(scope, receive, send)
        elif self._fail is not None:
          await _send(send, self._fail(refusal), more=False)
      group.cancel_scope.cancel()

  async def _serve(self, turn: Turn, send: Send) -> None:
    """Sends the body, piece by piece."""
    house = self._house
    self._session = session = house.studio.session(turn.deadline)
    try:
      pieces = await house.run(self._pieces, session, turn)
      while (piece := await house.run(next, pieces, None)) is not None:
        if not self._begun:
          self._begun = True
          await send(
            {
              "type": "http.response.start",
              "status": 200,
              "headers": self._headers,
            }
          )
        await _send(send, piece, more=True)
      await _send(send, b"", more=False)
      turn.over()
    finally:
      session.stop()

  def _pieces(self, session: Any, turn: Turn) -> Iterator[bytes]:
    """Pieces of the body, none empty; errors in what is asked come at once."""
    sayings = self._speak(session)

    def counted() -> Iterator[Any]:
      for said in sayings:
        if isinstance(said, np.ndarray):
          turn.heard(len(said) / self._rate)
        yield said

    return (piece for piece in self._encode(counted()) if piece)


async def _send(send: Send, body: bytes, *, more: bool) -> None:
  """Sends a piece of a body."""
  await send({"type": "http.response.body", "body": body, "more_body": more})
