"""Decoding with a cache: slots, company, limits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s02jax.models import ar
from s02jax.models.layers.transformer import TransformerConfig
from s02jax.synthesis.decode import cache, decoder, sampling
from s02jax.synthesis.decode.cache import WINDOW, CacheShape, Sampling
from s02jax.synthesis.decode.decoder import (
  CompiledDecodeFunctions,
  decode_weights,
)
from s02jax.synthesis.decode.slots import ARPrompt, SlotDecoder

TEXT, CODES = 20, 12
MODEL = ar.ARTransformer(
  ar.ARConfig(
    text_size=TEXT,
    num_codes=CODES,
    speaker_id=1,
    text_rate=0.5,
    mel_bins=8,
    transformer=TransformerConfig(
      width=16, layers=2, heads=2, kv_heads=1, hidden=24
    ),
    speaker=ar.SpeakerConfig(width=16, layers=1, out=8),
  )
)
GREEDY = Sampling(temperature=0.0)
PROMPTS = [
  [1, 3, 7, 8, 2],
  [1, 4, 9, 2],
  [1, 3, 7, 8, 11, 13, 2, TEXT + 5, TEXT + 1, TEXT + 5],
  [1, 4, 5, 2],
]
N = 10


@pytest.fixture(scope="module")
def variables():
  variables = jax.jit(functools.partial(ar.init, MODEL))(jax.random.PRNGKey(0))
  # A fresh head is nearly flat; sharpen it so that greedy has no ties, and let
  # some of the requests end.
  head = variables["params"]["head"]
  head["kernel"] *= 3
  head["bias"] = head["bias"].at[CODES].set(2.5)
  return variables


@pytest.fixture(scope="module")
def speakers():
  return jax.random.normal(jax.random.PRNGKey(3), (4, 8))


def rate_of(ids: list[int]) -> float:
  """Rate of the prompt: another for each."""
  return 0.25 * (1 + PROMPTS.index(ids))


def cursor_of(ids: list[int], size: int, rate: float) -> np.ndarray:
  """Cursor float32 [size] of a padded sequence whose [start] has the id 2."""
  start = ids.index(2)
  out = np.arange(size, dtype=np.float32)
  out[start:] = 2 + rate * np.arange(size - start)
  return out


def prompt(number: int, speakers, settings=GREEDY, **changes) -> ARPrompt:
  """Builds the AR prompt of PROMPTS[number]."""
  ids = PROMPTS[number]
  fields = dict(
    ids=np.array(ids, np.int32),
    cursor=cursor_of(ids, len(ids), rate_of(ids)),
    rate=rate_of(ids),
    vector=np.asarray(speakers[number]),
    seed=number,
    limit=N,
    sampling=settings,
  )
  return ARPrompt(**(fields | changes))


def functions_of(variables) -> CompiledDecodeFunctions:
  """Decode functions of MODEL with these variables."""
  weights = decode_weights(variables, jnp.float32)
  return CompiledDecodeFunctions(MODEL, weights)


def decoder_of(variables) -> SlotDecoder:
  """Decoder with free slots."""
  return SlotDecoder(functions_of(variables))


def speak(decoder, prompts: dict, late=(), burst=3) -> dict[int, list[int]]:
  """Tokens of each ticket, END included; `late` ones as slots get free."""
  late, said = list(late), {ticket: [] for ticket in prompts}
  for ticket in prompts:
    if ticket not in late:
      decoder.admit(ticket, prompts[ticket])
  while decoder.tickets:
    drawn = decoder.step(burst, refill=bool(late))
    for ticket, row in drawn.items():
      said[ticket] += row.tolist()
      codes = [t for t in said[ticket] if t != CODES]
      if said[ticket][-1] == CODES or len(codes) == prompts[ticket].limit:
        decoder.release(ticket)
        if late:
          decoder.admit(late[0], prompts[late.pop(0)])
  return said


@jax.jit
def next_logits(variables, ids, cursor, length, speaker):
  """Logits behind `length` positions by a full pass; ids int32 [1, s]."""
  position = jnp.arange(ids.shape[1])[None]
  segment = (position < length).astype(jnp.int32)
  logits = MODEL.apply(
    variables, ids, segment, position, cursor[None], speaker[None, None]
  )
  return jnp.take(logits[0], length - 1, axis=0)


@jax.jit
def draw(logits, keys, settings, history):
  return sampling.sample(logits, keys, settings, history)


def slowly(variables, prompt: ARPrompt) -> list[int]:
  """Tokens of a prompt by whole passes and one draw each, END included."""
  ids, said = list(prompt.ids), []
  for step in range(prompt.limit):
    row = np.zeros((1, 24), np.int32)
    row[0, : len(ids)] = ids
    cursor = cursor_of(ids, 24, prompt.rate)
    logits = np.array(
      next_logits(variables, row, cursor, len(ids), prompt.vector)
    )
    if step < prompt.least:
      logits[CODES] = -np.inf
    history = np.array([-1] * WINDOW + said, np.int32)[-WINDOW:]
    key = jax.random.fold_in(jax.random.key(np.uint32(prompt.seed)), step)
    said.append(
      int(draw(logits[None], key[None], prompt.sampling, history[None])[0])
    )
    if said[-1] == CODES:
      break
    ids.append(TEXT + said[-1])
  return said


MIXED = (
  GREEDY,
  Sampling(temperature=0.9, top_p=0.95, repetition_penalty=1.2),
  Sampling(temperature=1.3, top_k=4),
  Sampling(
    temperature=0.9, top_k=3, repetition_window=4, repetition_share=0.25
  ),
)


@pytest.fixture(scope="module")
def prompts(speakers):
  """Eight requests, each with its own seed, settings and bounds."""
  return {
    i: prompt(
      i % 4,
      speakers,
      MIXED[(i + i // 4) % 4],
      seed=7 * i,
      limit=(10, 4, 9, 14)[i % 4],
      least=1 + 3 * (i > 5),
    )
    for i in range(8)
  }


@pytest.fixture(scope="module")
def alone(variables, prompts):
  """Tokens of each request when it is decoded alone."""
  return {
    i: speak(decoder_of(variables), {i: one}, burst=32)[i]
    for i, one in prompts.items()
  }


def test_slots_say_what_whole_passes_say(variables, prompts, alone):
  """The same seed gives the same tokens; the cache changes nothing."""
  assert len({tuple(said) for said in alone.values()}) > 5
  assert any(said[-1] == CODES for said in alone.values())
  for i, one in prompts.items():
    assert alone[i] == slowly(variables, one)


@pytest.mark.parametrize("late", [(), (4, 2, 7, 0), (1, 5, 6, 3, 0)])
def test_a_request_does_not_depend_on_its_company(
  variables, prompts, alone, late
):
  """Other requests, the slot and the time of admission do not matter."""
  assert speak(decoder_of(variables), prompts, late) == alone


class Watched(CompiledDecodeFunctions):
  """Decode functions that note how many places their caches have."""

  def __init__(self, variables):
    super().__init__(MODEL, decode_weights(variables, jnp.float32))
    self.lengths = []

  def decode(self, cache, *rest):
    self.lengths.append(cache.length)
    return super().decode(cache, *rest)


@pytest.fixture
def small_caches(monkeypatch):
  """Caches of 64 places and more; what was traced with others is forgotten."""
  decoder.read_prompt.clear_cache()
  monkeypatch.setattr(cache, "UNIT", 64)
  yield
  decoder.read_prompt.clear_cache()


def test_a_cache_grows_and_shrinks(variables, speakers, request):
  never = silent_end(variables)
  long, short = (
    prompt(i, speakers, Sampling(temperature=1.0), seed=i, limit=limit)
    for i, limit in ((1, 80), (0, 3))
  )
  expected = speak(decoder_of(never), {5: long}, burst=32)
  request.getfixturevalue("small_caches")
  functions = Watched(never)
  decoder = SlotDecoder(functions)
  assert speak(decoder, {5: long}, burst=32) == expected
  assert functions.lengths[0] == 64
  assert functions.lengths[-1] == 128
  assert len(speak(decoder, {6: short})[6]) == 3
  assert functions.lengths[-1] == 64


class Poisoned(CacheShape):
  """Shape whose empty caches hold NaN."""

  def empty(self, slots, length):
    cache = super().empty(slots, length)
    return jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), cache)


def test_nan_in_other_slots_changes_nothing(variables, prompts, alone):
  functions = functions_of(variables)
  functions.shape = Poisoned(**vars(functions.shape))
  decoder = SlotDecoder(functions)
  assert speak(decoder, {1: prompts[1]}) == {1: alone[1]}


def test_a_request_may_go_back(variables, prompts, alone):
  """The same seed gives the same tokens again, another seed others."""
  said = []
  for seed in (prompts[3].seed, 99):
    decoder = decoder_of(variables)
    decoder.admit(3, prompts[3])
    decoder.step(5, refill=False)
    decoder.rewind(3, alone[3][:2], seed)
    said.append(alone[3][:2] + decoder.step(32, refill=False)[3].tolist())
  assert said[0] == alone[3]
  assert said[1] != alone[3]


def silent_end(variables, bias=-50.0):
  """Variables whose END has this bias."""
  changed = jax.tree.map(jnp.copy, variables)
  head = changed["params"]["head"]
  head["bias"] = head["bias"].at[CODES].set(bias)
  return changed


def test_limits_hold_and_end_is_not_early(variables, speakers):
  limits = dict(enumerate((1, 4, 7)))
  prompts = {
    i: prompt(i, speakers, limit=limit, least=3) for i, limit in limits.items()
  }
  said = speak(decoder_of(silent_end(variables)), prompts)
  assert {i: len(row) for i, row in said.items()} == limits
  said = speak(decoder_of(silent_end(variables, 50.0)), {2: prompts[2]})
  assert len(said[2]) == 4
  assert said[2][-1] == CODES


def test_what_pads_a_prompt_does_not_matter(variables):
  functions = functions_of(variables)
  ids, cursor = np.zeros(8, np.int32), np.zeros(8, np.float32)
  ids[:5], cursor[:5] = PROMPTS[0], range(5)
  real = np.arange(8) < 5
  dirty = np.where(real, ids, 10**6), np.where(real, cursor, np.nan)
  caches = [
    functions.prefill(
      functions.shape.empty(2, cache.round_places(8)),
      *row,
      np.int32(5),
      np.ones(8, np.float32),
      np.zeros(0, np.float32),
      np.int32(1),
    )
    for row in ((ids, cursor), dirty)
  ]
  for a, b in zip(*(c.keys for c in caches), strict=True):
    np.testing.assert_array_equal(a[..., :5], b[..., :5])
  for a, b in zip(*(c.values for c in caches), strict=True):
    np.testing.assert_array_equal(a[:, :, :5], b[:, :, :5])
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(caches))
  assert not any(np.any(x[0]) for x in jax.tree.leaves(caches))


def test_prompts_of_any_length_come_in_few(variables):
  """Each length in which they come has programs that put it into a cache."""
  weights = decode_weights(variables, jnp.float32)
  lengths = set()
  for size in (64, 96, 128, 192, 256, 384, 512):
    made = jax.eval_shape(
      functools.partial(decoder.read_prompt, MODEL),
      weights,
      jnp.zeros(size, jnp.int32),
      jnp.zeros(size),
      jnp.int32(3),
      jnp.zeros(8),
      jnp.zeros(0),
    )
    assert made.keys[0].shape[-1] == made.length >= size
    lengths.add(made.length)
  assert lengths == {256, 512}
