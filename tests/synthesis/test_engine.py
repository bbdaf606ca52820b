"""Many requests at once, whole and streamed, with tiny random models."""

import dataclasses

import jax
import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.synthesis import engine as engines
from s02jax.synthesis.decode.runaway import HELD, LOOP, SILENCE, SPAN, Watch
from s02jax.synthesis.render import chunks
from s02jax.synthesis.render.streams import Sounding, Tail, advance
from s02jax.synthesis.request import Request, Settings
from s02jax.synthesis.synthesizer import Synthesizer
from tests import tiny

SETTINGS = Settings(steps=2)


@pytest.fixture(scope="module")
def synthesizer():
  return Synthesizer(tiny.bundle())


@pytest.fixture(scope="module")
def voices(synthesizer):
  """One without and one with a prompt."""
  waves = [tiny.wave(0.8, seed) for seed in (3, 4)]
  return synthesizer.voices(waves, [None, "Good morning"])


@pytest.fixture(scope="module")
def requests(voices):
  return [
    Request(text=text, language="en", voice=voices[i % 2])
    for i, text in enumerate(("Yes.", "Oh no!", "Why?", "So"))
  ]


def run(engine) -> dict[int, tuple[np.ndarray, engines.Spoken]]:
  """Wave and outcome of every request that the engine has."""
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


# ------------------------------------------------------------------- engine


def test_streamed_is_whole(synthesizer, requests, together):
  fields = dataclasses.asdict(SETTINGS)
  for i in (0, 1):
    pieces = list(synthesizer.stream(requests[i], **fields))
    assert len(pieces) > 2
    streamed = np.concatenate(pieces)
    (whole,) = synthesizer.synthesize([requests[i]], **fields)
    np.testing.assert_allclose(streamed, whole.wave, atol=1e-5)
    np.testing.assert_array_equal(whole.tokens, together[i][1].tokens)
    np.testing.assert_allclose(whole.wave, together[i][0], atol=2e-4)
    assert len(streamed) == len(whole.tokens) * tiny.SAMPLES


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
  """A decoder that says what it is told to, by seed."""

  def __init__(self, said: dict[int, list[int]], most: int):
    self.said, self.most = said, most
    self.at, self.tickets, self.room = {}, [], 1

  def admit(self, ticket, draft):
    self.tickets, self.at[ticket] = [ticket], (draft.seed, 0)

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
  """However many tokens a call gives, and what is sure is heard."""
  end = synthesizer.generator.config.end
  plan = synthesizer._plan("Hello", "en", requests[0].voice, SETTINGS)
  plan = dataclasses.replace(
    plan, draft=dataclasses.replace(plan.draft, limit=300)
  )
  speech = np.random.default_rng(0).integers(0, 60, 30).tolist()
  loop = [5, 6, 7] * 40
  second = {"speech": [*speech, end], "loop": loop, "end": [end]}[then]
  first = speech + loop
  decoder = Scripted({plan.draft.seed: first, plan.second_seed: second}, most)
  engine = engines.Engine(decoder, synthesizer._models, end, None)
  ticket = engine.add(plan)
  wave, spoken = run(engine)[ticket]
  # The n-gram itself, what passes without suspicion, and then it is cut.
  kept = len(speech) + 3 + HELD
  assert decoder.kept == kept
  assert spoken.redrawn
  assert spoken.ended == (then != "loop")
  expected = (speech + loop)[:kept] + {
    "speech": speech,
    "loop": loop[: 3 + HELD],
    "end": [],
  }[then]
  assert spoken.tokens.tolist() == expected
  assert len(wave) == len(expected) * tiny.SAMPLES


def watched(tokens) -> Watch:
  watch, sure = Watch(), 0
  for token in tokens:
    watch.push(token)
    assert watch.sure >= sure  # nothing is taken back
    sure = watch.sure
    if watch.ran_away:
      break
  return watch


def test_speech_is_sure_at_once_and_short_repetitions_pass():
  random = np.random.default_rng(0)
  speech = random.integers(0, 60, 400).tolist()
  assert watched(speech).sure == 400
  stutter = speech[:50] + [3] * (LOOP - 1) + speech[50:90]
  watch = watched(stutter)
  assert not watch.ran_away
  assert watch.sure == len(stutter)
  assert watched(speech[:50] + [3] * 40).sure == 51 + HELD


@pytest.mark.parametrize("period", [1, 2, 7, 16])
def test_loops_run_away_wherever_they_begin(period):
  speech = np.random.default_rng(1).integers(50, 99, 33).tolist()
  watch = watched(speech + list(range(period)) * 99)
  assert watch.ran_away
  assert watch.sure <= 33 + max(period + HELD, SPAN)


def test_a_silence_of_few_tokens_runs_away():
  random = np.random.default_rng(2)
  speech = random.integers(0, 60, 40).tolist()
  silence = random.integers(70, 73, 200).tolist()
  watch = watched(speech + silence)
  assert watch.ran_away
  assert watch.sure < 40 + SPAN
  assert watch.sure > 40
  pause = speech + silence[: SPAN + SILENCE - 5] + speech
  assert not watched(pause).ran_away


# ------------------------------------------------------------------- chunks


def test_a_tail_knows_its_rows_by_number():
  tail = Tail(np.arange(3))
  tail.append(np.arange(3, 9))
  tail.forget(5)
  tail.forget(2)
  assert (tail.begin, tail.end) == (5, 9)
  np.testing.assert_array_equal(tail[slice(6, 9)], [6, 7, 8])


def sounding_of(synthesizer, voice, tokens=None) -> Sounding:
  sounding = Sounding(synthesizer._models, voice, seed=3, steps=2, guidance=2.0)
  if tokens is not None:
    sounding.append(tokens)
    sounding.finish()
  return sounding


TOKENS = np.random.default_rng(0).integers(0, 64, 120).astype(np.int32)


@pytest.mark.parametrize("which", [0, 1])
def test_sound_is_the_same_however_tokens_come(synthesizer, voices, which):
  """And equals the decoded whole of its latents, borders included."""
  latents = []
  flow = synthesizer.flow.solver

  class Spy(type(flow)):
    def __call__(self, chunks):
      solved = super().__call__(chunks)
      latents.extend(solved)
      return solved

  spy = Spy(**{f.name: getattr(flow, f.name) for f in dataclasses.fields(flow)})
  models = dataclasses.replace(synthesizer._models, flow=spy)

  def made(burst):
    latents.clear()
    sounding, parts = sounding_of(synthesizer, voices[which]), []
    for i in range(0, len(TOKENS), burst):
      sounding.append(TOKENS[i : i + burst])
      parts += [heard.wave for heard in advance(models, [sounding])]
    sounding.finish()
    while not sounding.exhausted:
      parts += [heard.wave for heard in advance(models, [sounding])]
    return np.concatenate(parts)

  one, all_at_once = made(5), made(len(TOKENS))
  np.testing.assert_array_equal(one, all_at_once)
  prompt = voices[which].prompt
  before = [] if prompt is None else [prompt.latents]
  whole = np.concatenate(before + latents)
  m = synthesizer._models
  (wave,) = synthesizer.vae.decode([whole * m.std + m.mean])
  np.testing.assert_allclose(one, wave[-len(one) :], atol=1e-5)
  assert len(one) == len(TOKENS) * tiny.SAMPLES


def test_memory_does_not_grow_with_the_text(synthesizer, voices):
  sounding, sizes = sounding_of(synthesizer, voices[0]), []
  flow = synthesizer.flow.config
  for _ in range(40):
    sounding.append(TOKENS[:25])
    if (chunk := sounding.due()) is not None:
      shape = (chunk.size * flow.latents_per_token, flow.channels)
      sounding.solved(np.zeros(shape, np.float32))
    if (chunk := sounding.audible()) is not None:
      sounding.heard(chunk)
    tails = sounding._tokens, sounding._latents
    sizes.append(sum(tail.end - tail.begin for tail in tails))
  assert max(sizes[20:]) <= max(sizes[:20])


def test_conditions_of_a_chunk_are_those_of_the_whole(synthesizer):
  """Look-ahead and left reach suffice, and the left reach is needed."""
  flow = synthesizer.flow
  (left, right), r = flow.config.reach, flow.config.latents_per_token

  @jax.jit
  def condition(tokens):
    return flow.model.apply(
      flow.variables,
      tokens[None],
      np.ones((1, len(tokens)), bool),
      np.ones((1, flow.config.speaker_dim), np.float32),
      method="condition",
    )[0]

  whole = np.array(condition(TOKENS))[40 * r : 60 * r]
  part = condition(TOKENS[40 - left : 60 + right])
  np.testing.assert_allclose(part[left * r : (left + 20) * r], whole, atol=1e-5)
  less = condition(TOKENS[44 - left : 60 + right])
  less = less[(left - 4) * r : (left + 16) * r]
  assert np.abs(less - whole).max() > 1e-4


def test_a_first_chunk_is_the_whole_solve_of_its_window(synthesizer, voices):
  """Window size and batch do not matter; guidance and prompt do."""
  chunk = sounding_of(synthesizer, voices[1], TOKENS[:3]).due()
  assert chunk.size == 3
  flow = synthesizer.flow.solver
  (alone,) = flow([chunk])
  many = flow([chunk] * 5)
  for other in many:
    np.testing.assert_allclose(other, alone, atol=1e-5)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(chunks, "WINDOWS", (75,))
    (wide,) = flow([chunk])
  np.testing.assert_allclose(wide, alone, atol=1e-5)
  for change in (
    {"guidance": 1.0},
    {"known": chunk.known + 0.1},
    {"seed": 4},
    {"first": 2},
  ):
    (other,) = flow([dataclasses.replace(chunk, **change)])
    assert np.abs(other - alone).max() > 1e-3


def test_guidance_of_one_ignores_the_unconditional_branch(synthesizer, voices):
  """Between guidance 0 and 2 lies 1, in a single step."""
  chunk = sounding_of(synthesizer, voices[0], TOKENS[:6]).due()
  none, one, two = synthesizer.flow.solver(
    [
      dataclasses.replace(chunk, steps=1, guidance=guidance)
      for guidance in (0.0, 1.0, 2.0)
    ]
  )
  np.testing.assert_allclose(one, (none + two) / 2, atol=1e-4)
  assert np.abs(one - none).max() > 1e-2
