"""2,000 malformed requests: a sentence each, nothing else, nothing written."""

import json
import logging
import os

import pytest
from starlette.testclient import TestClient

from s02jax.serving.server import app
from s02jax.serving.server.traffic import Limits
from tests.serving.fake_studio import FakeStudio, decode

COUNT = 2000
STRANGE = [
  None, True, -1, 0, 2.5, 1e308, -(10**30), 10**400, "", " ", "anna", "\0",
  "\ud800", "../../etc/passwd", "%2e%2e/", "a" * 3000, "<#1#>", "<#x#>", "en",
  "mp3", "<speak>", "\u202e\u200b", "你好", "🎉", [], {}, [[]], ["a", 1],
  {"id": 1}, {"anna": 1}, {"anna": -1}, {"__proto__": {}}, [{"voice_id": 1}],
]  # fmt: skip
GOOD = {
  "/v1/audio/speech": {
    "input": "one two",
    "voice": "anna",
    "response_format": "wav",
    "language": "en",
  },
  "/v1/t2a_v2": {
    "text": "one two",
    "voice_setting": {"voice_id": "anna"},
    "audio_setting": {"format": "pcm"},
    "language_boost": "English",
  },
  "/v1/voice_clone": {"voice_id": "carl", "file_id": 1},
  "/v1/voice_design": {"prompt": "a deep voice", "preview_text": "one"},
}


def properties(client):
  """Names of the fields that each path knows."""
  paths = client.get("/openapi.json").json()["paths"]
  found = {}
  for path in GOOD:
    body = paths[path]["post"].get("requestBody", {"content": {}})["content"]
    schema = body.get("application/json", {"schema": {}})["schema"]
    found[path] = list(schema.get("properties", {})) + ["unknown"]
  return found


def broken(random, body, names):
  """Body with a few fields that make no sense."""
  body = dict(body)
  for _ in range(random.integers(1, 4)):
    value = STRANGE[random.integers(len(STRANGE))]
    if random.random() < 0.1:
      value = {"a": value, "id": [value]}
    body[names[random.integers(len(names))]] = value
  if random.random() < 0.1:
    body.pop(next(iter(body)))
  return body


def damaged(random, data):
  """Bytes of a body, some of them cut off or replaced."""
  kind = random.integers(8)
  if kind == 0:
    return data[: random.integers(len(data))]
  if kind == 1:
    return data + data
  if kind == 2:
    changed = bytearray(data)
    for _ in range(5):
      changed[random.integers(len(data))] = random.integers(256)
    return bytes(changed)
  if kind == 3:
    return random.bytes(random.integers(200))
  return data


def form(random):
  """Form with a file, damaged in most cases, and its header."""
  name = ["file", "voice_id", "x\0", 'a"b', "../../a"][random.integers(5)]
  data = (
    (
      f'--b\r\nContent-Disposition: form-data; name="{name}"; '
      'filename="../../x.wav"\r\n\r\n'
    ).encode()
    + random.bytes(random.integers(3000))
    + b"\r\n--b--\r\n"
  )
  boundary = ["b", "b", "c", "", "b; charset=none"][random.integers(5)]
  return damaged(random, data), f"multipart/form-data; boundary={boundary}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("TMPDIR", str(tmp_path))
  return tmp_path


def test_malformed_requests_are_one_sentence_each(folder, random, caplog):
  studio = FakeStudio()
  limits = Limits(body=20_000, upload=20_000, characters=500, voices=20)
  application = app.build(studio, limits, decode=decode)
  statuses = {}
  with TestClient(application) as client, caplog.at_level(logging.WARNING):
    names = properties(client)
    for _ in range(COUNT):
      path = list(GOOD)[random.integers(len(GOOD))]
      data = json.dumps(broken(random, GOOD[path], names[path])).encode()
      data, kind = damaged(random, data), "application/json"
      if random.random() < 0.2:
        path = ["/v1/voice_clone", "/v1/files/upload"][random.integers(2)]
        data, kind = form(random)
      response = client.post(path, content=data, headers={"content-type": kind})
      statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
      assert response.status_code < 500, (data, response.text)
      assert "Traceback" not in response.text
      if response.status_code >= 400:
        message = response.json()["error"]["message"]
        assert message and "\n" not in message and len(message) < 1000
  assert statuses[400] > COUNT / 2
  assert not [r for r in caplog.records if r.levelno >= logging.ERROR]
  assert not studio.slots_in_use
  assert os.listdir(folder) == []


def test_paths_of_requests_reach_no_file(folder):
  (folder / "secret.txt").write_text("secret")
  with TestClient(app.build(FakeStudio(), decode=decode)) as client:
    for path in (
      "/secret.txt", "/../secret.txt", "/..%2fsecret.txt", "//etc/passwd",
      "/web/index.html", "/%2e%2e/%2e%2e/etc/passwd", "/index.html/../app.py",
      "/v1/voices/..%2fanna", "/app.py", "/%00",
    ):  # fmt: skip
      response = client.get(path)
      assert response.status_code in (404, 405), path
      assert "secret" not in response.text.replace("secret.txt", "")
