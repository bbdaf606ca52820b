"""Load of a server: arrivals, figures, and a server that beeps under it."""

import dataclasses

import numpy as np
import pytest

from s02jax.bench import serving, soak
from s02jax.core.errors import UserError
from s02jax.serving.server.refusals import Refusal
from s02jax.serving.server.traffic import Limits
from tests.serving.fake_studio import BLOCK, FakeStudio, decode
from tests.serving.listening import listening

PLAN = serving.Plan(
  host="127.0.0.1",
  port=1,
  texts=["one two", "three"],
  voices=["anna"],
  per_minute=600.0,
  seconds=2.0,
  settings={"language": "en"},
)


def test_users_come_by_chance_and_as_often_as_said():
  plan = dataclasses.replace(PLAN, seconds=1e4, most=10**6, per_minute=6.0)
  times = serving.arrivals(plan, 4)
  assert len(times) == pytest.approx(4000, rel=0.1)
  gaps = np.diff(times)
  assert gaps.std() == pytest.approx(gaps.mean(), rel=0.1)  # exponential
  few = dataclasses.replace(plan, most=7)
  assert len(serving.arrivals(few, 4)) == 7


def test_figures_are_those_of_the_spoken():
  answers = [
    serving.Answer(
      body={}, kind="speech", status=200, first=i, whole=2 * i, sound=b"0" * 48
    )
    for i in range(1, 102)
  ]
  answers += [serving.Answer(body={}, kind="speech", status=429)]
  row = serving.figures(3, answers, 10.0)
  assert (row["spoken"], row["refused"]) == (101, 1)
  assert row["first_audio"] == {"p50": 51, "p95": 96, "p99": 100}
  assert row["whole"]["p50"] == 102
  assert row["audio_per_second"] == pytest.approx(101 * 24 / 24000 / 10)


def test_sounds_are_the_same_up_to_rounding():
  a = np.arange(100, dtype="<i2")
  assert serving.same(a.tobytes(), (a + 3).tobytes())
  assert not serving.same(a.tobytes(), (a + 300).tobytes())
  assert not serving.same(a.tobytes(), a[:50].tobytes())


def test_load_is_made_on_this_machine_alone():
  assert serving.check_local("http://127.0.0.1:8000") == ("127.0.0.1", 8000)
  for url in ("http://example.org", "https://127.0.0.1", "127.0.0.1:80"):
    with pytest.raises(UserError, match="this machine alone"):
      serving.check_local(url)
  with pytest.raises(UserError, match="nobody listens"):
    serving.voices(PLAN)


def test_a_server_is_measured_under_good_and_bad_clients():
  told = []
  studio = FakeStudio()
  with listening(studio, Limits(slots=2, queue=1)) as server:
    plan = dataclasses.replace(
      PLAN,
      port=int(server.address.rpartition(":")[2]),
      leaving=0.2,
      malformed=0.3,
    )
    assert serving.voices(plan) == ["anna", "ben"]
    (row,) = serving.measure(plan, [2], told.append)
  assert row["faults"] == [] and row["wrong"] == 0
  kinds = row["left"] + row["malformed"] + row["spoken"]
  assert 0 < row["spoken"] <= row["requests"] <= kinds + row["refused"]
  assert row["memory"] > 0
  assert row["audio_per_second"] * row["seconds"] >= BLOCK / 24000
  assert len(told) == 2
  assert not studio.slots_in_use


def test_a_soak_compares_every_sound_and_uploads_what_is_no_recording():
  told = []
  studio = FakeStudio()
  with listening(studio) as server:
    plan = dataclasses.replace(
      PLAN,
      port=int(server.address.rpartition(":")[2]),
      leaving=0.2,
      malformed=0.5,
    )
    found = soak.soak(plan, 4, 0.03, told.append, different=3)
    assert found["faults"] == [] and found["wrong"] == 0
    assert found["spoken"] and found["left"] and found["malformed"]
    assert set(studio.kept) == {"anna", "ben"}
    # What is spoken otherwise beside others is found.
    asked = soak.bodies(plan, 2)
    sounds = [b"\0" * len(sound) for sound in soak.alone(plan, asked)]
    row = soak.window(plan, 4, 1.0, asked, sounds)
  assert row["wrong"] == row["spoken"] > 0
  assert len(told) == 1 + len(found["windows"])


@pytest.mark.parametrize("kind", soak.UPLOADS)
def test_hostile_uploads_are_refused_by_the_decoder(kind):
  with pytest.raises(Refusal):
    decode(soak.UPLOADS[kind], 60.0)


def test_memory_that_rises_is_not_flat():
  assert soak.growth([50, 100, 101, 99, 100, 101, 100]) < 0.02
  assert soak.growth([50, 100, 110, 120, 130, 140, 150]) > soak.GROWTH
  assert soak.growth([100]) == 0
