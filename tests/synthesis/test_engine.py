"""Many requests at once, whole and streamed, with tiny random models."""

import dataclasses

import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.synthesis.decode.runaway import TOLERATED
from s02jax.synthesis.engine import Engine
from s02jax.synthesis.job import Spoken
from s02jax.synthesis.request import Request, Settings
from tests import tiny

SETTINGS = Settings(steps=2)


@pytest.fixture(scope="module")
def requests(voices):
  return [
    Request(text=text, language="en", voice=voices[i % 2])
    for i, text in enumerate(("Yes.", "Oh no!", "Why?", "So"))
  ]


def run(engine) -> dict[int, tuple[np.ndarray, Spoken]]:
  """Runs the engine; wave and outcome of every request, by ticket."""
  waves, spoken = {}, {}
  while engine.busy:
    for piece in engine.step():
      waves.setdefault(piece.ticket, []).append(piece.wave)
      if piece.spoken is not None:
        assert piece.ticket not in spoken
        spoken[piece.ticket] = piece.spoken
  return {i: (np.concatenate(waves[i]), spoken[i]) for i in spoken}


@pytest.fixture(scope="module")
def together(synthesizer, requests):
  engine = synthesizer.engine()
  tickets = [engine.submit(request, SETTINGS) for request in requests]
  made = run(engine)
  assert sorted(made) == tickets
  return [made[ticket] for ticket in tickets]


def test_streamed_is_the_same_windows_at_once(synthesizer, requests, together):
  """Rendering all tokens at once gives the sound of a stream; so do others."""
  fields = dataclasses.asdict(SETTINGS)
  for i in (0, 1):
    pieces = list(synthesizer.stream(requests[i], **fields))
    assert len(pieces) > 2
    streamed = np.concatenate(pieces)
    np.testing.assert_allclose(streamed, together[i][0], atol=2e-4)
    tokens = together[i][1].tokens
    assert len(streamed) == len(tokens) * tiny.SAMPLES
    (job,) = synthesizer.jobs([requests[i]], SETTINGS, whole=False)
    job.stream.append(tokens)
    job.stream.finish()
    parts = []
    while not job.stream.exhausted:
      parts += synthesizer.renderer.advance({0: job.stream}).values()
    np.testing.assert_allclose(streamed, np.concatenate(parts), atol=1e-5)


def test_a_whole_utterance_has_the_words_of_a_stream(
  synthesizer, requests, together
):
  """Alone or beside others it sounds alike, and ends with its latents."""
  many = synthesizer.synthesize(requests, **dataclasses.asdict(SETTINGS))
  for request, said, (_, spoken) in zip(requests, many, together, strict=True):
    np.testing.assert_array_equal(said.tokens, spoken.tokens)
    engine = synthesizer.engine(whole=True)
    engine.submit(request, SETTINGS)
    pieces = []
    while engine.busy:
      pieces += engine.step()
    *_, last = pieces
    wave = np.concatenate([piece.wave for piece in pieces])
    np.testing.assert_allclose(wave, said.wave, atol=2e-4)
    r = synthesizer.flow.config.latents_per_token
    assert len(last.latents) == len(spoken.tokens) * r


def test_a_cancelled_request_is_gone_and_the_others_do_not_notice(
  synthesizer, requests, together
):
  order = sorted(range(4), key=lambda i: len(together[i][1].tokens))
  waiting, *kept, longest = order
  engine = synthesizer.engine()
  tickets = [engine.submit(request, SETTINGS) for request in requests]
  engine.cancel(tickets[waiting])
  pieces = engine.step()
  while not any(piece.ticket == tickets[longest] for piece in pieces):
    pieces += engine.step()
  assert not any(p.spoken for p in pieces if p.ticket == tickets[longest])
  engine.cancel(tickets[longest])
  engine.cancel(tickets[longest])
  rest = []
  while engine.busy:
    rest += engine.step()
  assert tickets[longest] not in {piece.ticket for piece in rest}
  assert tickets[waiting] not in {piece.ticket for piece in pieces + rest}
  for i in kept:
    waves = [p.wave for p in pieces + rest if p.ticket == tickets[i]]
    np.testing.assert_allclose(np.concatenate(waves), together[i][0], atol=2e-4)


@pytest.mark.parametrize(
  "changes,settings",
  [
    ({"text": "?!"}, {}),
    ({"language": "xx"}, {}),
    ({"voice": None}, {}),
    ({"text": "no " * 9000}, {}),
    ({}, {"top_p": 2.0}),
  ],
)
def test_an_invalid_request_harms_nobody(
  synthesizer, requests, changes, settings
):
  engine = synthesizer.engine()
  with pytest.raises(UserError):
    engine.submit(
      dataclasses.replace(requests[0], **changes), Settings(**settings)
    )
  assert not engine.busy
  assert engine.step() == []


def test_a_voice_of_another_bundle_is_refused(synthesizer, requests):
  voice = dataclasses.replace(requests[0].voice, fingerprint="another")
  with pytest.raises(UserError, match="another bundle"):
    synthesizer.engine().submit(dataclasses.replace(requests[0], voice=voice))


class Scripted:
  """Decoder whose tokens are given beforehand, by seed."""

  def __init__(self, said: dict[int, list[int]], most: int):
    self.said, self.most = said, most
    self.at, self.tickets, self.room = {}, [], 1

  def admit(self, ticket, prompt):
    self.tickets, self.at[ticket] = [ticket], (prompt.seed, 0)

  def rewind(self, ticket, tokens, seed):
    self.kept, self.at[ticket] = len(tokens), (seed, 0)

  def release(self, ticket):
    self.tickets = []

  def step(self, tokens, refill):
    (ticket,) = self.tickets
    seed, at = self.at[ticket]
    tokens = min(tokens, self.most)
    self.at[ticket] = seed, at + tokens
    return {ticket: np.array(self.said[seed][at : at + tokens], np.int32)}


@pytest.mark.parametrize("then", ["speech", "loop", "end"])
@pytest.mark.parametrize("most", [1, 7, 32])
def test_a_loop_is_drawn_anew_once(synthesizer, requests, then, most):
  """Any number of tokens a call gives the same sound; sure tokens are heard."""
  end = synthesizer.generator.config.end
  request = dataclasses.replace(requests[0], text="Hello")
  (job,) = synthesizer.jobs([request], SETTINGS, whole=False)
  job.prompt = dataclasses.replace(job.prompt, limit=300)
  speech = np.random.default_rng(0).integers(0, 60, 30).tolist()
  loop = [5, 6, 7] * 40
  second = {"speech": [*speech, end], "loop": loop, "end": [end]}[then]
  first = speech + loop
  decoder = Scripted({job.prompt.seed: first, job.redraw_seed: second}, most)
  engine = Engine(decoder, synthesizer.renderer, None)
  ticket = engine.add(job)
  wave, spoken = run(engine)[ticket]
  # The n-gram itself, what passes without suspicion, and then it is cut.
  kept = len(speech) + 3 + TOLERATED
  assert decoder.kept == kept
  assert spoken.redrawn
  assert spoken.ended == (then != "loop")
  expected = (speech + loop)[:kept] + {
    "speech": speech,
    "loop": loop[: 3 + TOLERATED],
    "end": [],
  }[then]
  assert spoken.tokens.tolist() == expected
  assert len(wave) == len(expected) * tiny.SAMPLES
