"""Studio of a tiny bundle with emotions and a voice prior, and its refusals."""

import numpy as np
import pytest
from starlette.testclient import TestClient

from s02jax.serving.server import app
from s02jax.serving.server.bundle_studio import BundleStudio
from s02jax.serving.server.traffic import Limits
from s02jax.synthesis.store import adapter_store, voice_store
from s02jax.synthesis.voice_system import VoiceSystem
from tests import tiny
from tests.serving.fake_studio import decode

SAYING = {
  "input": "Yes, good dog.",
  "voice": "anna",
  "language": "en",
  "steps": 1,
  "response_format": "pcm",
}
DESIGN = {"prompt": "good dog", "preview_text": "Yes.", "language": "en"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tiny.write_with_voices(tmp_path_factory.mktemp("studio"))


def served(folder):
  """Client of a server of the bundle in a folder."""
  studio = BundleStudio(VoiceSystem.load(folder / "bundle"))
  limits = Limits(seconds=3600)  # programs are compiled meanwhile
  application = app.build(studio, limits, decode=decode, warm=False)
  return TestClient(application)


def test_a_bundle_speaks_in_its_emotions_and_designs_voices(folder):
  bundle = folder / "bundle"
  adapter_store.add(bundle, tiny.adapter("sad", 1))
  tiny.add_voice_prior(bundle)

  with served(folder) as client:

    def say(**changes):
      reply = client.post("/v1/audio/speech", json=SAYING | changes)
      assert reply.status_code == 200, reply.text
      return np.frombuffer(reply.content, "<i2")

    (model,) = client.get("/v1/models").json()["data"]
    assert (model["emotions"], model["voice_design"]) == (["sad"], True)
    plain, sad = say(), say(emotion="sad")
    assert len(plain) != len(sad) or np.any(plain != sad)
    np.testing.assert_allclose(say(emotion="neutral"), plain, atol=2)
    marked = say(input='<emotion name="sad">Yes, good dog.</emotion>')
    np.testing.assert_allclose(marked, sad, atol=2)
    wrong = say_no(client, input='<emotion name="glad">Yes.</emotion>')
    assert "no emotion 'glad'" in wrong

    reply = client.post("/v1/voice_design", json=DESIGN | {"candidates": 2})
    first, second = reply.json()["candidates"]
    assert first["trial_audio"] != second["trial_audio"]
    kept = client.post(
      "/v1/voice_design",
      json=DESIGN | {"voice_id": "carl", "seed": second["seed"]},
    ).json()
    assert kept["trial_audio"] == second["trial_audio"]
    assert "carl" in voice_store.names(bundle)
    assert len(say(voice="carl"))


def say_no(client, **changes):
  """Sentence in which a request is refused."""
  reply = client.post("/v1/audio/speech", json=SAYING | changes)
  assert reply.status_code == 400
  return reply.json()["error"]["message"]
