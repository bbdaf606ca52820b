"""WebSocket: text as it is written, sound as it is spoken."""

import json

import numpy as np
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from s02jax.serving.server import app
from s02jax.serving.server.socket_api import Writing
from s02jax.serving.server.traffic import Limits
from tests.serving.fake_studio import BLOCK, FakeStudio, decode

PATH = "/v1/audio/speech/ws"
OPENING = {"voice": "anna", "language": "en", "timestamps": True}


@pytest.fixture
def studio():
  return FakeStudio()


@pytest.fixture
def client(studio):
  limits = Limits(characters=100)
  with TestClient(app.build(studio, limits, decode=decode)) as client:
    yield client


def heard(socket):
  """Sound, words and last message until the server is done."""
  sound, words = b"", []
  while True:
    message = socket.receive()
    if message.get("bytes") is not None:
      sound += message["bytes"]
      continue
    told = json.loads(message["text"])
    if told["type"] != "speech.timestamps":
      return sound, words, told
    words += told["words"]


def test_sentences_are_whole_when_the_next_one_begins():
  writing = Writing("en")
  said = [
    writing.add(text, flush=False)
    for text in ("Good mor", "ning. How", " are you? I am", " fine.")
  ]
  assert said == ["", "Good morning. ", "How are you? ", ""]
  assert writing.add("", flush=True) == "I am fine."
  assert writing.add("one\ntwo", flush=False) == "one\n"


def test_a_sentence_is_spoken_while_the_next_is_written(client, studio):
  with client.websocket_connect(PATH) as socket:
    socket.send_json(OPENING)
    socket.send_json({"text": "One two. Th"})
    first = socket.receive()["bytes"]  # before the rest is written
    assert len(first) == 2 * BLOCK
    socket.send_json({"text": "ree four five."})
    socket.send_json({"end": True})
    sound, words, last = heard(socket)
  assert last == {"type": "speech.done"}
  assert len(first + sound) == 2 * 5 * BLOCK
  assert [order.text.strip() for order in studio.orders] == [
    "One two.",
    "Three four five.",
  ]
  times = [word["begin"] for word in words]
  assert np.allclose(np.diff(times), BLOCK / 24000)
  assert not studio.slots_in_use


@pytest.mark.parametrize(
  ("messages", "match"),
  [
    ([{"voice": "anna"}], "language is missing"),
    ([OPENING | {"voice": "carl"}, {"text": "one", "end": True}], "no voice"),
    ([OPENING, {"texte": "one"}], "did you mean text"),
    ([OPENING, {"text": "a" * 101}], "at most 100"),
    ([OPENING | {"speed": 9}], "speed"),
  ],
)
def test_refusals_are_one_sentence_and_the_end(client, messages, match):
  with client.websocket_connect(PATH) as socket:
    for message in messages:
      socket.send_json(message)
    _, _, last = heard(socket)
    assert last["type"] == "error" and match in last["error"]["message"]
    with pytest.raises(WebSocketDisconnect):
      socket.receive_json()


def test_a_client_that_leaves_frees_its_slot(client, studio):
  studio.held.clear()
  with client.websocket_connect(PATH) as socket:
    socket.send_json(OPENING)
    socket.send_json({"text": "one two three", "flush": True})
    socket.receive()
  assert studio.sessions[0].stopped.is_set()
  assert client.app.state.house.gate._active == 0


def test_keys_and_foreign_pages(studio):
  application = app.build(studio, keys=["secret"], decode=decode)
  with TestClient(application) as client:
    for path, headers in (
      (PATH, {}),
      (f"{PATH}?api_key=wrong", {}),
      (f"{PATH}?api_key=secret", {"origin": "http://evil.test"}),
    ):
      with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect(path, headers=headers),
      ):
        pass
    with client.websocket_connect(f"{PATH}?api_key=secret") as socket:
      socket.send_json(OPENING)
      socket.send_json({"text": "one", "end": True})
      assert heard(socket)[2] == {"type": "speech.done"}
