"""Real clients at a real port: OpenAI's own package, and clients that leave."""

import http.client
import json
import threading
import time

import numpy as np
import openai
import pytest

from s02jax.audio import recording
from s02jax.audio.stream import FORMATS
from s02jax.serving.server.bundle_studio import BundleStudio
from s02jax.serving.server.traffic import Limits
from s02jax.synthesis.voice_system import VoiceSystem
from tests import tiny
from tests.serving.fake_studio import BLOCK, FakeStudio
from tests.serving.listening import listening

FIVE = "one two three four five"


def until(condition):
  """Waits until a condition holds."""
  limit = time.monotonic() + 30
  while not condition():
    assert time.monotonic() < limit
    time.sleep(0.002)


def opened(server, body):
  """Connection that has asked for speech, and its response's head."""
  connection = http.client.HTTPConnection(server.address[7:], timeout=60)
  connection.request(
    "POST",
    "/v1/audio/speech",
    json.dumps(body),
    {"Content-Type": "application/json"},
  )
  return connection


def speech(**changes):
  return {
    "input": FIVE,
    "voice": "anna",
    "language": "en",
    "response_format": "pcm",
  } | changes


# ------------------------------------------------------------ OpenAI's client


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tiny.write_with_voices(tmp_path_factory.mktemp("clients"))


def test_the_official_client_works_as_it_is(folder):
  system = VoiceSystem.load(folder / "bundle")
  fast = {"steps": 1, "language": "en"}
  blocks = list(system.stream("Yes, yes, yes.", "anna", **fast))
  alone = np.concatenate(blocks)
  with (
    listening(BundleStudio(system), keys=["secret"], warm=False) as server,
    openai.OpenAI(
      base_url=f"{server.address}/v1", api_key="secret", max_retries=0
    ) as client,
  ):
    asked = {
      "model": "tts-1",
      "voice": "anna",
      "input": "Yes, yes, yes.",
      "extra_body": fast,
    }
    create = client.audio.speech.create
    for name in FORMATS:
      if name == "pcm":
        continue
      heard, _ = recording.read(create(response_format=name, **asked).content)
      assert len(heard) >= len(alone)
      if name == "wav":  # 16 bits
        np.testing.assert_allclose(heard, alone, atol=2e-3)
    streaming = client.audio.speech.with_streaming_response
    with streaming.create(response_format="pcm", **asked) as response:
      pieces = list(response.iter_bytes())
    assert len(pieces) > 1
    pcm = b"".join(pieces)
    assert pcm == create(response_format="pcm", **asked).content
    seconds = len(alone) / system.rate
    assert len(pcm) / 2 / 24000 == pytest.approx(seconds, abs=0.01)
    with pytest.raises(openai.NotFoundError, match="no voice 'alloy'"):
      create(**asked | {"voice": "alloy"})
    with pytest.raises(openai.BadRequestError, match="speed"):
      create(speed=4.0, **asked)
    with (
      pytest.raises(openai.AuthenticationError, match="API key"),
    ):
      client.with_options(api_key="wrong").audio.speech.create(**asked)
    assert [m.id for m in client.models.list()] == ["s02"]


# -------------------------------------------------------- clients that leave


def test_sound_comes_before_the_rest_is_made():
  studio = FakeStudio()
  studio.held.clear()
  with listening(studio) as server:
    connection = opened(server, speech())
    response = connection.getresponse()
    assert len(response.read(2 * BLOCK)) == 2 * BLOCK  # the rest is held
    studio.held.set()
    assert len(response.read()) == 2 * 4 * BLOCK
    connection.close()


@pytest.mark.parametrize("changes", [{}, {"stream_format": "sse"}])
def test_a_client_that_leaves_frees_its_slot(changes):
  studio = FakeStudio()
  studio.held.clear()
  with listening(studio) as server:
    connection = opened(server, speech(**changes))
    response = connection.getresponse()
    response.read(10)
    assert studio.slots_in_use == 1
    response.close()
    connection.close()
    until(lambda: not studio.slots_in_use)
    assert studio.sessions[0].stopped.is_set()


def test_a_client_that_leaves_the_queue_is_never_served():
  studio = FakeStudio()
  studio.held.clear()
  with listening(studio, Limits(slots=1)) as server:
    first = opened(server, speech())
    first.getresponse().read(10)
    second = opened(server, speech())
    gate = server.config.app.state.house.gate
    until(lambda: gate._waiting == 1)
    second.close()
    until(lambda: gate._waiting == 0)
    assert len(studio.sessions) == 1
    first.close()
    until(lambda: gate._active == 0)


def test_a_fault_in_the_middle_cuts_the_connection():
  studio = FakeStudio()
  studio.fail_after = 2
  with listening(studio) as server:
    connection = opened(server, speech())
    response = connection.getresponse()
    with pytest.raises(http.client.IncompleteRead):
      response.read()
    connection.close()


def test_the_server_ends_after_what_is_under_way():
  studio = FakeStudio()
  studio.held.clear()
  heard = []
  with listening(studio) as server:
    connection = opened(server, speech())
    response = connection.getresponse()
    thread = threading.Thread(target=lambda: heard.append(response.read()))
    thread.start()
    server.should_exit = True
    time.sleep(0.2)
    assert thread.is_alive() and not studio.closed
    studio.held.set()
    thread.join(30)
    connection.close()
  assert len(heard[0]) == 2 * 5 * BLOCK
  assert studio.closed
