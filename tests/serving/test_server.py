"""The server's doors, with a studio that beeps: formats, limits, refusals."""

import base64
import io
import json
import threading
import time

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from s02jax.audio import recording
from s02jax.audio.stream import FORMATS
from s02jax.core.errors import UserError
from s02jax.serving.server import app, guard
from s02jax.serving.server.traffic import Limits
from tests.serving.fake_studio import BLOCK, RATE, FakeStudio, decode

WORDS = "one two three four five"
SAYING = {"input": WORDS, "voice": "anna", "language": "en"}


@pytest.fixture
def studio():
  return FakeStudio()


def served(studio, keys=(), **limits):
  """Client of a server of its own; nothing it raises is hidden."""
  application = app.build(studio, Limits(**limits), keys, decode=decode)
  return TestClient(application, base_url="http://s02.test")


@pytest.fixture
def client(studio):
  with served(studio) as client:
    yield client


def wav(seconds=1.0, rate=RATE):
  data = io.BytesIO()
  tone = 0.3 * np.sin(np.arange(int(seconds * rate)) * 0.1)
  soundfile.write(data, tone, rate, format="WAV")
  return data.getvalue()


def say(client, **changes):
  return client.post("/v1/audio/speech", json=SAYING | changes)


def refused(response, status):
  """Sentence of a refusal, which is one, in both APIs' forms."""
  assert response.status_code == status, response.text
  body = response.json()
  message = body["error"]["message"]
  assert body["base_resp"]["status_msg"] == message
  assert body["base_resp"]["status_code"] != 0
  assert message.endswith(".") and "\n" not in message
  return message


# -------------------------------------------------------------------- speech


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_that_format(client, name):
  response = say(client, response_format=name)
  assert response.headers["content-type"] == FORMATS[name].media_type
  rate = int(response.headers["x-sample-rate"])
  if name == "pcm":
    assert rate == 24000  # as OpenAI's clients count on
    heard = np.frombuffer(response.content, "<i2")
    assert len(heard) == 5 * BLOCK
  else:
    heard, found = recording.read(response.content)
    assert found == rate == RATE
    assert len(heard) >= 5 * BLOCK


def test_events_carry_the_same_bytes(client):
  whole = say(client, response_format="pcm").content
  response = say(client, response_format="pcm", stream_format="sse")
  assert response.headers["content-type"].startswith("text/event-stream")
  events = [
    json.loads(line.removeprefix("data: "))
    for line in response.text.split("\n\n")
    if line
  ]
  *deltas, done = events
  assert {e["type"] for e in deltas} == {"speech.audio.delta"}
  assert len(deltas) > 1 and done["type"] == "speech.audio.done"
  assert b"".join(base64.b64decode(e["audio"]) for e in deltas) == whole


def test_settings_and_changes_reach_the_studio(client, studio):
  assert say(
    client,
    seed=7,
    steps=4,
    temperature=0.5,
    speed=2,
    pitch=-3,
    volume=0.5,
    sample_rate=24000,
    voice={"anna": 0.7, "ben": 1},
    emotion={"sad": 0.5},
  ).is_success
  (order,) = studio.orders
  assert (order.settings.seed, order.settings.steps) == (7, 4)
  assert order.settings.temperature == 0.5
  changes = order.changes
  assert (changes.speed, changes.pitch, changes.rate) == (2, -3, 24000)
  assert order.voices == {"anna": 0.7, "ben": 1.0}
  assert order.emotion == {"sad": 0.5}
  assert say(client, voice={"id": "ben"}).is_success
  assert studio.orders[-1].voices == {"ben": 1.0}


def test_sound_is_sent_before_the_rest_is_made(studio):
  studio.held.clear()
  with served(studio) as client:
    first = threading.Event()

    def release():
      assert first.wait(60)
      studio.held.set()

    thread = threading.Thread(target=release)
    thread.start()
    body = SAYING | {"response_format": "pcm"}
    # The test's client hands a body over only when it is whole: a block that
    # was counted was sent.
    threading.Timer(0.05, first.set).start()
    with client.stream("POST", "/v1/audio/speech", json=body) as response:
      assert len(response.read()) == 2 * 5 * BLOCK
    thread.join()


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
  ("changes", "status", "match"),
  [
    ({"input": ""}, 400, "no letter"),
    ({"input": None}, 400, "input is missing"),
    ({"input": 5}, 400, "input must be a string"),
    ({"input": "\ud800"}, 400, ""),
    ({"input": "a" * 101}, 413, "at most 100"),
    ({"voice": "carl"}, 404, "no voice 'carl'"),
    ({"voice": "../../etc/passwd"}, 404, "no voice"),
    ({"voice": {}}, 400, "1 to 4 voices"),
    ({"voice": {"anna": "x"}}, 400, "voice.anna must be a number"),
    ({"voice": {"anna": -1, "ben": 2}}, 400, "0 or more"),
    ({"voice": ["anna"]}, 400, "a string or an object"),
    ({"response_format": "mp4"}, 400, "did you mean mp3"),
    ({"speed": 4}, 400, "speed"),
    ({"speed": True}, 400, "speed must be a number"),
    ({"sample_rate": 10**400}, 400, "sample_rate must be a whole number"),
    ({"temprature": 1}, 400, "did you mean temperature"),
    ({"steps": 0}, 400, "steps"),
    ({"language": "xx"}, 400, "unknown"),
    ({"markup": "ssml", "input": "<a"}, 400, "not XML"),
    ({"instructions": "whisper"}, 400, "not in this bundle"),
    ({"emotion": "sat"}, 400, "did you mean sad"),
    ({"emotion": "sad:x"}, 400, "'sad:x' is no emotion"),
    ({"emotion": {"sad": 10**400}}, 400, "is no emotion"),
    ({"emotion": ["sad"]}, 400, "a string or an object"),
  ],
)
def test_what_makes_no_sense_is_one_sentence(studio, changes, status, match):
  with served(studio, characters=100) as client:
    body = json.dumps(SAYING | changes)
    response = client.post(
      "/v1/audio/speech",
      content=body,
      headers={"content-type": "application/json"},
    )
    assert match in refused(response, status)
    assert not studio.slots_in_use


@pytest.mark.parametrize(
  "body", [b"", b"{", b"[]", b"nul", b"\xff", b"[" * 100_000, b'{"input": NaN}']
)
def test_a_body_that_is_no_object_is_refused(client, body):
  headers = {"content-type": "application/json"}
  for path in ("/v1/audio/speech", "/v1/voice_clone"):
    refused(client.post(path, content=body, headers=headers), 400)


def test_bodies_of_another_type_or_size_are_refused(studio):
  with served(studio, body=1000) as client:
    plain = client.post("/v1/audio/speech", content=json.dumps(SAYING))
    assert "application/json" in refused(plain, 415)
    refused(say(client, input="a" * 2000), 413)

    def parts():  # a body without a length
      for _ in range(100):
        yield b" " * 100

    headers = {"content-type": "application/json"}
    endless = client.post("/v1/audio/speech", content=parts(), headers=headers)
    refused(endless, 413)


def test_unknown_paths_and_methods_are_told(client):
  assert "/openapi.json" in refused(client.get("/v1/nothing"), 404)
  refused(client.get("/v1/audio/speech"), 405)
  refused(client.get("/../../etc/passwd"), 404)
  refused(client.delete("/v1/voices/..%2f..%2fetc"), 404)


def test_a_fault_in_the_middle_is_told_in_events(client, studio):
  studio.fail_after = 2
  response = say(client, stream_format="sse")
  last = json.loads(response.text.strip().split("\n\n")[-1][6:])
  assert last["type"] == "error"
  assert "its log says more" in last["error"]["message"]
  assert "nobody expected" not in response.text
  studio.fail_after = 0
  refused(say(client), 500)
  assert not studio.slots_in_use


# ------------------------------------------------------------------- traffic


def in_background(client, count, answers, **changes):
  """Threads that ask for speech; their answers come into a list."""
  threads = [
    threading.Thread(target=lambda: answers.append(say(client, **changes)))
    for _ in range(count)
  ]
  for thread in threads:
    thread.start()
  return threads


def until(condition):
  """Waits until a condition holds."""
  limit = time.monotonic() + 30
  while not condition():
    assert time.monotonic() < limit
    time.sleep(0.002)


def test_too_many_are_sent_away_and_the_others_served(studio):
  studio.held.clear()
  with served(studio, slots=2, queue=3) as client:
    answers = []
    threads = in_background(client, 5, answers)
    gate = client.app.state.house.gate
    until(lambda: (gate._active, gate._waiting) == (2, 3))
    response = say(client)
    assert "3 wait" in refused(response, 429)
    assert int(response.headers["retry-after"]) >= 1
    assert len(studio.sessions) == 2
    studio.held.set()
    for thread in threads:
      thread.join()
    assert [a.status_code for a in answers] == [200] * 5
    assert say(client).is_success


def test_a_deadline_ends_who_speaks_and_who_waits(studio):
  studio.held.clear()
  with served(studio, slots=1, seconds=0.3) as client:
    answers = []
    for thread in in_background(client, 2, answers, input="one two"):
      thread.join()
    # The one in the slot was heard in part, and is cut; the other never was.
    late = [a for a in answers if a.status_code == 504]
    assert late and "within 0.3 s" in refused(late[0], 504)
    until(lambda: not studio.slots_in_use)


def test_keys_open_the_door(studio, tmp_path):
  file = tmp_path / "keys.txt"
  file.write_text("# team\nfirst\n\n second \n")
  with served(studio, guard.read_keys(file)) as client:
    for headers in (
      {},
      {"authorization": "Bearer wrong"},
      {"authorization": "Basic first"},
      {"authorization": "Bearer \u00e9".encode("latin-1")},
    ):
      response = client.get("/v1/voices", headers=headers)
      refused(response, 401)
      assert response.headers["www-authenticate"] == "Bearer"
    for key in ("first", "second"):
      headers = {"authorization": f"bearer {key}"}
      assert client.get("/v1/voices", headers=headers).is_success
    refused(client.get("/metrics"), 401)
    assert client.get("/healthz").is_success
    assert client.get("/openapi.json").is_success
  file.write_text("# nothing\n")
  with pytest.raises(UserError, match="no key"):
    guard.read_keys(file)


def test_pages_of_other_sites_are_not_served(client):
  good = {"origin": "http://s02.test"}
  bad = {"origin": "http://evil.test"}
  assert client.get("/v1/voices", headers=good).is_success
  for headers in (bad, {"origin": "null"}):
    refused(client.get("/v1/voices", headers=headers), 403)


# -------------------------------------------------------------------- voices


def test_a_voice_is_cloned_listed_and_removed(client, studio):
  form = {"voice_id": "carl", "transcript": "one two"}
  file = {"file": ("a.wav", wav(2.0), "audio/wav")}
  response = client.post("/v1/voice_clone", data=form, files=file)
  voice = response.json()["voice"]
  assert voice["kind"] == "one-shot" and voice["seconds"] == 2.0
  assert "already" in refused(
    client.post("/v1/voice_clone", data=form, files=file), 409
  )
  again = form | {"replace": "true"}
  assert client.post("/v1/voice_clone", data=again, files=file).is_success
  names = [v["name"] for v in client.get("/v1/voices").json()["voices"]]
  assert names == ["anna", "ben", "carl"]
  assert client.delete("/v1/voices/carl").is_success
  refused(client.delete("/v1/voices/carl"), 404)


def test_a_voice_is_cloned_of_an_uploaded_file(client, studio):
  response = client.post(
    "/v1/files/upload",
    data={"purpose": "voice_clone"},
    files={"file": ("a.wav", wav(), "audio/wav")},
  )
  number = response.json()["file"]["file_id"]
  body = {"file_id": number, "voice_id": "carl"}
  assert client.post("/v1/voice_clone", json=body).is_success
  assert studio.kept["carl"]["kind"] == "zero-shot"
  prompt = {"prompt_audio": number, "prompt_text": "one"}
  body = {"voice_id": "dora", "clone_prompt": prompt}
  assert client.post("/v1/voice_clone", json=body).is_success
  assert studio.kept["dora"]["kind"] == "one-shot"
  body["clone_prompt"] = {"prompt_audio": 99}
  refused(client.post("/v1/voice_clone", json=body), 404)


@pytest.mark.parametrize(
  ("form", "file", "status", "match"),
  [
    ({"voice_id": "carl"}, b"", 400, "empty"),
    ({"voice_id": "carl"}, b"RIFF", 400, "the recording"),
    ({"voice_id": "../x"}, wav(), 400, "no name"),
    ({"voice_id": "x\0"}, wav(), 400, "no name"),
    ({}, wav(), 400, "voice_id"),
    ({"voice_id": "carl", "colour": "red"}, wav(), 400, "not a field"),
    ({"voice_id": "carl"}, wav(200.0), 413, "more than"),
  ],
)
def test_uploads_that_cannot_be_used_are_one_sentence(
  studio, form, file, status, match
):
  with served(studio, upload=1 << 20) as client:
    files = {"file": ("../../a.wav", file)}
    response = client.post("/v1/voice_clone", data=form, files=files)
    assert match in refused(response, status)
    assert len(studio.kept) == 2


def test_a_form_that_is_none_is_refused(client):
  for kind in (
    "multipart/form-data",
    "multipart/form-data; boundary=x; charset=none",
  ):
    headers = {"content-type": kind}
    response = client.post(
      "/v1/files/upload", content=b"--x\r\nnothing", headers=headers
    )
    refused(response, 400)
  refused(client.post("/v1/files/upload", content=b"x"), 415)


DESIGN = {"prompt": "a calm man", "preview_text": "one two"}


def test_candidates_are_heard_and_one_is_kept(client, studio):
  body = DESIGN | {"candidates": 3, "seed": 4}
  reply = client.post("/v1/voice_design", json=body).json()
  assert [one["seed"] for one in reply["candidates"]] == [4, 5, 6]
  sounds = [bytes.fromhex(one["trial_audio"]) for one in reply["candidates"]]
  assert len(set(sounds)) == 3
  for sound in sounds:
    heard, rate = recording.read(sound)
    assert rate == RATE and len(heard) >= 2 * BLOCK
  assert set(studio.kept) == {"anna", "ben"}
  body = DESIGN | {"voice_id": "carl", "seed": 5}
  reply = client.post("/v1/voice_design", json=body).json()
  assert reply["base_resp"]["status_code"] == 0
  assert reply["voice_id"] == "carl" and "carl" in studio.kept
  assert bytes.fromhex(reply["trial_audio"]) == sounds[1]
  assert "already" in refused(client.post("/v1/voice_design", json=body), 409)
  body |= {"replace": True}
  assert client.post("/v1/voice_design", json=body).is_success


def test_a_designed_voice_without_a_name_gets_one(client, studio):
  names = [
    client.post("/v1/voice_design", json=DESIGN).json()["voice_id"]
    for _ in range(2)
  ]
  assert len(set(names)) == 2 and set(names) <= set(studio.kept)


@pytest.mark.parametrize(
  ("changes", "match"),
  [
    ({"prompt": None}, "prompt is missing"),
    ({"prompt": " "}, "no words"),
    ({"preview_text": None}, "preview_text is missing"),
    ({"candidates": 9}, "1 to 8"),
    ({"candidates": 2, "voice_id": "carl"}, "either candidates"),
    ({"aigc_watermark": True}, "not in this bundle"),
    ({"promt": "x"}, "did you mean prompt"),
  ],
)
def test_bad_designs_are_one_sentence(client, studio, changes, match):
  response = client.post("/v1/voice_design", json=DESIGN | changes)
  assert match in refused(response, 400)
  assert set(studio.kept) == {"anna", "ben"}


def test_bundles_without_a_voice_prior_or_emotions_say_so(client, studio):
  studio.designs, studio.emotions = False, ()
  response = client.post("/v1/voice_design", json=DESIGN)
  assert "not in this bundle" in refused(response, 400)
  assert "none yet" in refused(say(client, emotion="sad"), 400)
  assert say(client, emotion="neutral").is_success
  (model,) = client.get("/v1/models").json()["data"]
  assert (model["emotions"], model["voice_design"]) == ([], False)


# ------------------------------------------------------------- small answers


def test_readiness_waits_for_the_warm_up(studio):
  done = threading.Event()
  studio.warm = lambda users: done.wait(60)
  with served(studio) as client:
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").is_success
    done.set()
    until(lambda: client.get("/readyz").is_success)
  assert studio.closed


def test_figures_count_what_happened(client):
  say(client)
  say(client, voice="carl")
  text = client.get("/metrics").text
  for line in (
    's02_requests_total{path="/v1/audio/speech",status="200"} 1.0',
    's02_requests_total{path="/v1/audio/speech",status="404"} 1.0',
    "s02_first_audio_seconds_count 1.0",
    "s02_request_seconds_count 1.0",
    f"s02_audio_seconds_total {5 * BLOCK / RATE}",
    "s02_real_time_factor_count 1.0",
    "s02_slots_in_use 0.0",
    "s02_queue 0.0",
  ):
    assert line in text.splitlines()


def test_the_description_has_every_path(client):
  found = client.get("/openapi.json").json()
  described = {
    (path, method.upper())
    for path, operations in found["paths"].items()
    for method in operations
  }
  served = {
    (route.path, method)
    for route in client.app.routes
    if route.path not in ("/", "/openapi.json") and "." not in route.path
    for method in getattr(route, "methods", {"GET"}) - {"HEAD"}
  }
  assert described == served
  body = found["paths"]["/v1/audio/speech"]["post"]["requestBody"]
  schema = body["content"]["application/json"]["schema"]
  assert schema["required"] == ["input", "voice"]
  assert schema["properties"]["seed"]["type"] == "integer"
