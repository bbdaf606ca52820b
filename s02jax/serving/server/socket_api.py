"""WebSocket: text as it is written, sound as it is spoken.

  client ─► {"voice": "anna", "language": "en", …}        once, the settings
  client ─► {"text": "Good morn"}  {"text": "ing. How"}   as it is written
  client ─► {"flush": true}        speak what is there
  client ─► {"end": true}          the same, and no more text comes
  server ─► bytes of the sound, and {"type": "speech.timestamps", "words": …}
  server ─► {"type": "speech.done"}, or {"type": "error", …}; then it closes

A sentence is spoken once it is known to be whole: when the next one begins.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import anyio
import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from s02jax.audio.stream import StreamEncoder
from s02jax.serving.server import fields, speech_api
from s02jax.serving.server.fields import Field
from s02jax.serving.server.refusals import Refusal
from s02jax.serving.server.sending import House, explain
from s02jax.serving.server.studio import Listener, Order
from s02jax.serving.server.traffic import Turn
from s02jax.text.chunks import sentences

OPENING: dict[str, Field] = {
  name: field
  for name, field in speech_api.SPEECH.items()
  if name not in ("input", "stream_format", "markup")
} | {
  "response_format": dataclasses.replace(
    speech_api.SPEECH["response_format"], default="pcm"
  ),
  "language": Field(kind=str, about="code such as en", required=True),
}
MESSAGE: dict[str, Field] = {
  "text": Field(kind=str, about="more of the text"),
  "flush": Field(kind=bool, about="speak what is there", default=False),
  "end": Field(kind=bool, about="no more text comes", default=False),
}
_REFUSED = 1008  # code of the end: policy violation


class Writing:
  """Text that is being written, given out sentence by sentence."""

  def __init__(self, language: str):
    self._language, self._held = language, ""

  def add(self, text: str, *, flush: bool) -> str:
    """Adds text; the sentences that are whole now, "" for none."""
    self._held += text
    if flush:
      ready, self._held = self._held, ""
      return ready
    head, line, tail = self._held.rpartition("\n")
    parts = list(sentences(tail, self._language))
    self._held = parts[-1] if parts else ""
    return head + line + "".join(parts[:-1])


async def speech(socket: WebSocket) -> None:
  """Speaks what comes until it ends or the client leaves."""
  house: House = socket.app.state.house
  await socket.accept()
  try:
    async with house.gate.turn() as turn:
      await _Conversation(socket, house, turn).hold()
  except WebSocketDisconnect:
    return
  except Exception as error:
    refusal = explain(error, house.limits)
    if socket.application_state == WebSocketState.CONNECTED:
      await socket.send_json({"type": "error"} | refusal.body)
      await socket.close(_REFUSED)


class _Conversation:
  """One client's text and its sound."""

  def __init__(self, socket: WebSocket, house: House, turn: Turn):
    self._socket, self._house, self._turn = socket, house, turn
    self._session: Listener = house.studio.session(turn.deadline)
    self._written = 0  # characters
    self._begin = 0.0  # seconds of sound that were sent

  async def hold(self) -> None:
    """Hears and speaks until the text ends."""
    try:
      with anyio.fail_after(self._house.limits.seconds):
        opening = fields.check(await self._message(), OPENING)
        name = opening["response_format"]
        order = speech_api.order(
          self._house, opening | {"input": "", "markup": "none"}, name
        )
        rate = order.changes.rate or self._house.studio.rate
        encoder = StreamEncoder(name, rate)
        await self._converse(order, encoder, rate)
        await self._send(encoder.finish())
        await self._socket.send_json({"type": "speech.done"})
        await self._socket.close()
        self._turn.over()
    except TimeoutError:
      raise Refusal(
        "late",
        f"the conversation lasted over {self._house.limits.seconds:g} s.",
      ) from None
    finally:
      self._session.stop()

  async def _converse(self, order: Order, encoder, rate: int) -> None:
    """Speaks sentences in one task while another takes text in."""
    texts, waiting = anyio.create_memory_object_stream[str](100)
    faults: list[Exception] = []

    async def listen() -> None:
      try:
        await self._listen(order, texts)
      except Exception as error:
        # Nobody listens any more, or what was said makes no sense.
        faults.append(error)
        self._session.stop()
        group.cancel_scope.cancel()

    async with waiting, anyio.create_task_group() as group:
      group.start_soon(listen)
      async for text in waiting:
        try:
          await self._speak(
            dataclasses.replace(order, text=text), encoder, rate
          )
        except Exception as error:
          faults.append(error)
          group.cancel_scope.cancel()
          break
    if faults:
      raise faults[0]

  async def _listen(self, order: Order, texts) -> None:
    """Receives text and passes it on, sentence by sentence."""
    writing = Writing(order.language or "en")
    async with texts:
      while True:
        message = fields.check(await self._message(), MESSAGE)
        text = message["text"] or ""
        self._written += len(text)
        if self._written > self._house.limits.characters:
          speech_api.check_length(self._house, self._written * " ", "text")
        over = message["flush"] or message["end"]
        ready = writing.add(text, flush=over)
        if any(c.isalnum() for c in ready):
          await texts.send(ready)
        if message["end"]:
          return

  async def _message(self) -> Any:
    """Next message of the client as JSON."""
    text = await self._socket.receive_text()
    if len(text) > self._house.limits.body:
      raise Refusal("too_large", "the message is too long; send less at once.")
    return fields.parse(text.encode(errors="replace"))

  async def _speak(self, order: Order, encoder, rate: int) -> None:
    """Speaks one order."""
    house = self._house
    sayings = await house.run(house.studio.speak, order, self._session)
    samples = 0

    def parts() -> Iterator[bytes | list]:
      nonlocal samples
      for said in sayings:
        if isinstance(said, np.ndarray):
          samples += len(said)
          self._turn.heard(len(said) / rate)
          yield encoder.push(said)
        else:
          yield said

    made = parts()
    while (part := await house.run(next, made, None)) is not None:
      if isinstance(part, bytes):
        await self._send(part)
      else:
        await self._tell(part)
    self._begin += samples / rate

  async def _send(self, part: bytes) -> None:
    if part:
      await self._socket.send_bytes(part)

  async def _tell(self, words) -> None:
    """Tells words with their times in the whole sound."""
    moved = [
      {
        "text": word.text,
        "begin": word.begin + self._begin,
        "end": word.end + self._begin,
      }
      for word in words
    ]
    await self._socket.send_json({"type": "speech.timestamps", "words": moved})
