"""Bodies that MiniMax's clients send, and the answers that they read."""

import base64
import json

import numpy as np
import pytest
from starlette.testclient import TestClient

from s02jax.audio import recording
from s02jax.serving.server import app
from tests.serving.fake_studio import BLOCK, RATE, FakeStudio, decode

BODY = {
  "model": "speech-02-hd",
  "text": "one two three",
  "stream": False,
  "language_boost": "English",
  "voice_setting": {"voice_id": "anna", "speed": 1, "vol": 1, "pitch": 0},
}


@pytest.fixture
def studio():
  return FakeStudio()


@pytest.fixture
def client(studio):
  with TestClient(app.build(studio, decode=decode)) as client:
    yield client


def ask(client, **changes):
  return client.post("/v1/t2a_v2", json=BODY | changes)


def voice(**changes):
  return {"voice_setting": BODY["voice_setting"] | changes}


SHAPES = {
  "the least": {},
  "auto": {"language_boost": "auto", "text": "one two three"},
  "no language": {"language_boost": None},
  "a code": {"language_boost": "en"},
  "voice": voice(speed=1.5, vol=2.0, pitch=-3),
  "neutral": voice(emotion="neutral"),
  "calm": voice(emotion="calm"),
  "happy": voice(emotion="happy"),
  "normalized": voice(text_normalization=True, english_normalization=True),
  "mixture": {
    "voice_setting": {"voice_id": "", "speed": 1},
    "timbre_weights": [
      {"voice_id": "anna", "weight": 1},
      {"voice_id": "ben", "weight": 30},
    ],
  },
  "mixture, misspelt": {
    "timber_weights": [{"voice_id": "anna", "weight": 100}],
  },
  "mp3": {
    "audio_setting": {
      "sample_rate": 32000,
      "bitrate": 128000,
      "format": "mp3",
      "channel": 1,
    }
  },
  "two channels": {"audio_setting": {"format": "flac", "channel": 2}},
  "wav": {"audio_setting": {"format": "wav", "sample_rate": 24000}},
  "constant rate": {"audio_setting": {"force_cbr": True, "bitrate": 64000}},
  "pronunciation": {
    "pronunciation_dict": {"tone": ["omg/oh my god", "two/four"]}
  },
  "no pronunciation": {"pronunciation_dict": {"tone": []}},
  "pause": {"text": "one <#0.5#> two"},
  "hex": {"output_format": "hex"},
  "nothing modified": {
    "voice_modify": {"pitch": 0, "intensity": 0, "timbre": 0}
  },
  "joined": {"continuous_sound": True, "aigc_watermark": False},
  "sampling": {"seed": 3, "temperature": 0.5},
}


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_documented_bodies_are_answered(client, changes):
  body = ask(client, **changes).json()
  assert body["base_resp"] == {"status_code": 0, "status_msg": "success"}
  assert body["data"]["status"] == 2 and body["trace_id"]
  sound = bytes.fromhex(body["data"]["audio"])
  heard, rate = recording.read(sound)
  info = body["extra_info"]
  assert info["audio_size"] == len(sound)
  assert info["audio_sample_rate"] == rate
  assert info["audio_length"] <= 1000 * len(heard) / rate + 1
  assert info["usage_characters"] == len((BODY | changes)["text"])


def test_a_stream_is_the_same_sound_in_events(client):
  raw = {"audio_setting": {"format": "pcm"}}
  whole = bytes.fromhex(ask(client, **raw).json()["data"]["audio"])
  assert len(whole) == 2 * 3 * BLOCK
  for options in ({}, {"exclude_aggregated_audio": True}):
    response = ask(client, stream=True, stream_options=options, **raw)
    lines = response.text.strip().split("\n\n")
    *parts, last = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert [part["data"]["status"] for part in parts] == [1, 1, 1]
    sound = b"".join(bytes.fromhex(part["data"]["audio"]) for part in parts)
    assert sound == whole
    assert last["data"]["status"] == 2
    again = bytes.fromhex(last["data"]["audio"])
    assert again == (b"" if options else whole)
    assert last["extra_info"]["audio_size"] == len(whole)


def test_settings_reach_the_studio(client, studio):
  ask(client, **SHAPES["voice"], language_boost="Spanish", text="uno dos")
  order = studio.orders[-1]
  assert order.language == "es"
  changes = order.changes
  assert (changes.speed, changes.volume, changes.pitch) == (1.5, 2, -3)
  ask(client, **SHAPES["mixture"])
  assert studio.orders[-1].voices == {"anna": 1.0, "ben": 30.0}
  ask(client, **SHAPES["happy"])
  assert studio.orders[-1].emotion == "happy"
  studio.emotions = ("Fear",)
  ask(client, **voice(emotion="fearful"))
  assert studio.orders[-1].emotion == "fear"
  ask(client, **SHAPES["pronunciation"])
  respelt = studio.orders[-1].pronunciation.respell("omg Two", "en")
  assert respelt == "oh my god four"


@pytest.mark.parametrize("kind", ["sentence", "word"])
def test_subtitles_are_a_file_of_their_own(client, kind):
  reply = ask(client, subtitle_enable=True, subtitle_type=kind).json()
  url = reply["data"]["subtitle_file"]
  found = json.loads(base64.b64decode(url.partition(",")[2]))
  seconds = BLOCK / RATE
  if kind == "word":
    assert [one["text"] for one in found] == ["one", "two", "three"]
    assert found[1]["time_begin"] == 1000 * seconds
  else:
    (one,) = found
    assert one["text"] == "one two three"
    assert one["time_end"] == pytest.approx(3000 * seconds)


@pytest.mark.parametrize(
  ("changes", "status", "code", "match"),
  [
    ({"text": None}, 400, 2013, "text is missing"),
    ({"text": "?!"}, 400, 2013, "no letter"),
    (voice(voice_id="carl"), 404, 2054, "no voice"),
    ({"voice_setting": None}, 400, 2013, "voice_id is missing"),
    (voice(emotion="fearful"), 400, 2013, "no emotion 'fearful' here"),
    (voice(emotion="happy:9"), 400, 2013, "give at most 2"),
    (voice(latex_read=True), 400, 2013, "not in this bundle"),
    (voice(speed=3), 400, 2013, "speed"),
    ({"voice_modify": {"timbre": 5}}, 400, 2013, "not in this bundle"),
    ({"aigc_watermark": True}, 400, 2013, "not in this bundle"),
    ({"output_format": "url"}, 400, 2013, "hex"),
    ({"audio_setting": {"format": "mp4"}}, 400, 2013, "did you mean mp3"),
    ({"audio_setting": {"bitrate": 1}}, 400, 2013, "one of 32000"),
    ({"audio_setting": []}, 400, 2013, "audio_setting must be an object"),
    ({"timbre_weights": [{"weight": 1}]}, 400, 2013, r"weights[0].voice_id"),
    ({"timbre_weights": [5]}, 400, 2013, r"timbre_weights[0] must be"),
    ({"pronunciation_dict": {"tone": ["a"]}}, 400, 2013, "omg/oh my god"),
    ({"pronunciation_dict": {"tone": [1]}}, 400, 2013, "omg/oh my god"),
    (
      {"pronunciation_dict": {"tone": ["a/(chu3)"]}},
      400,
      2013,
      "not in this bundle",
    ),
    ({"language_boost": "Klingon"}, 400, 2013, "unknown"),
    ({"colour": 1}, 400, 2013, "not a field"),
  ],
)
def test_refusals_have_their_code(client, changes, status, code, match):
  response = ask(client, **changes)
  assert response.status_code == status
  base = response.json()["base_resp"]
  assert base["status_code"] == code
  assert match in base["status_msg"]


def test_words_are_told_in_events_of_the_other_api_too(client):
  body = {
    "input": "one two",
    "voice": "anna",
    "language": "en",
    "stream_format": "sse",
    "timestamps": True,
    "response_format": "pcm",
  }
  response = client.post("/v1/audio/speech", json=body)
  events = [json.loads(x[6:]) for x in response.text.strip().split("\n\n")]
  told = [w for e in events for w in e.get("words", [])]
  assert [word["text"] for word in told] == ["one", "two"]
  assert np.isclose(told[1]["begin"], BLOCK / 24000)
