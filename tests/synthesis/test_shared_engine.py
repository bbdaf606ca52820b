"""One engine for many threads: equal sound, stops, deadlines, faults."""

import threading
import time

import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.synthesis.engine import Engine
from s02jax.synthesis.request import Request, Settings
from s02jax.synthesis.shared_engine import (
  EngineFault,
  Late,
  SharedEngine,
  Stopped,
)

SETTINGS = Settings(steps=2)


@pytest.fixture
def shared(synthesizer):
  engine = SharedEngine(synthesizer)
  yield engine
  engine.close()


@pytest.fixture(scope="module")
def requests(voices):
  return [
    Request(text=text, language="en", voice=voices[i % 2])
    for i, text in enumerate(("Yes.", "Oh no!", "Why?"))
  ]


def heard(session, request):
  return np.concatenate([p.wave for p in session.play(request, SETTINGS)])


def wait_until_empty(shared):
  """Waits until no request has a slot."""
  limit = time.monotonic() + 60
  while shared.slots_in_use:
    assert time.monotonic() < limit
    time.sleep(0.01)


def test_threads_hear_what_each_would_hear_alone(synthesizer, shared, requests):
  alone = [
    np.concatenate(list(synthesizer.stream(request, steps=2)))
    for request in requests
  ]
  made = [None] * len(requests)

  def listen(i):
    with shared.session() as session:
      made[i] = heard(session, requests[i])

  threads = [
    threading.Thread(target=listen, args=(i,)) for i in range(len(requests))
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  for one, whole in zip(made, alone, strict=True):
    np.testing.assert_allclose(one, whole, atol=2e-4)
  assert not shared.slots_in_use


def test_a_stopped_session_frees_its_slot_within_a_step(shared, requests):
  session = shared.session()
  pieces = session.play(requests[0], SETTINGS)
  next(pieces)
  steps = shared.steps
  session.stop()
  wait_until_empty(shared)
  assert shared.steps <= steps + 2  # the one under way, and one before it
  with pytest.raises(Stopped):
    for _ in pieces:
      pass


def test_a_stop_wakes_whoever_waits(shared, requests):
  session, failed = shared.session(), []

  def listen():
    with pytest.raises(Stopped):
      heard(session, requests[0])
    failed.append(True)

  thread = threading.Thread(target=listen)
  thread.start()
  session.stop()
  thread.join(60)
  assert failed
  wait_until_empty(shared)


def test_a_passed_deadline_ends_the_request(shared, requests):
  session = shared.session(time.monotonic())
  with pytest.raises(Late):
    heard(session, requests[0])
  wait_until_empty(shared)


def test_a_request_without_sense_is_refused_at_once(shared, requests):
  with shared.session() as session:
    with pytest.raises(UserError):
      session.play(requests[0], Settings(steps=0))
    assert len(heard(session, requests[0]))


def test_a_failed_step_is_told_and_the_engine_goes_on(
  shared, requests, monkeypatch
):
  def fail(self):
    raise RuntimeError("out of memory")

  with shared.session() as session:
    with monkeypatch.context() as patch:
      patch.setattr(Engine, "step", fail)
      with pytest.raises(EngineFault, match="out of memory"):
        heard(session, requests[0])
    assert len(heard(session, requests[0]))


def test_closing_ends_what_is_under_way(synthesizer, requests):
  shared = SharedEngine(synthesizer)
  session = shared.session()
  pieces = session.play(requests[0], SETTINGS)
  shared.close()
  with pytest.raises(Stopped):
    list(pieces)
  with pytest.raises(Stopped):
    session.play(requests[0], SETTINGS)
