"""Sampling, and decoding with a cache."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s02jax.models import ar
from s02jax.models.transformer import TransformerConfig
from s02jax.synthesis import batching, decoding, sampling
from s02jax.synthesis.sampling import Sampling

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
  # A fresh head is nearly flat; sharpen it so that greedy has no ties.
  return jax.tree_util.tree_map_with_path(
    lambda path, v: v * 4 if "head" in jax.tree_util.keystr(path) else v,
    variables,
  )


@pytest.fixture(scope="module")
def speakers():
  return jax.random.normal(jax.random.PRNGKey(3), (4, 8))


def rate_of(ids: list[int]) -> float:
  """One rate for each prompt."""
  return 0.25 * (1 + PROMPTS.index(ids))


def cursor_of(ids: list[int], size: int, rate: float) -> np.ndarray:
  """Of a sequence whose [start] is number 2, padded: f32[size]."""
  start = ids.index(2)
  out = np.arange(size, dtype=np.float32)
  out[start:] = 2 + rate * np.arange(size - start)
  return out


def padded(prompts: list[list[int]]) -> tuple[np.ndarray, ...]:
  """ids i32[b, p], cursor f32[b, p] and lengths i32[b]."""
  lengths = np.array([len(prompt) for prompt in prompts], np.int32)
  size = -(-lengths.max() // 4) * 4
  cursor = np.stack([cursor_of(p, size, rate_of(p)) for p in prompts])
  ids = [np.array(prompt, np.int32) for prompt in prompts]
  return batching.pad(ids, len(ids), size), cursor, lengths


def generate(variables, prompts, speakers, settings=GREEDY, **changes):
  ids, cursor, lengths = padded(prompts)
  b = len(prompts)
  arguments = dict(
    seeds=np.arange(b), limits=np.full(b, N, np.int32), min_tokens=1
  )
  return decoding.generate(
    MODEL,
    variables,
    ids,
    cursor,
    lengths,
    np.array([rate_of(p) for p in prompts], np.float32),
    speakers,
    sampling=settings,
    max_tokens=N,
    **(arguments | changes),
  )


@jax.jit
def next_logits(variables, ids, cursor, length, speaker):
  """Of the position `length`, by a full forward pass; ids i32[1, s]."""
  position = jnp.arange(ids.shape[1])[None]
  segment = (position < length).astype(jnp.int32)
  logits = MODEL.apply(
    variables, ids, segment, position, cursor[None], speaker[None, None]
  )
  return jnp.take(logits[0], length - 1, axis=0)


def slow_greedy(variables, prompt, speaker, min_tokens=1):
  ids, tokens = list(prompt), []
  for step in range(N):
    row = np.zeros((1, 24), np.int32)
    row[0, : len(ids)] = ids
    cursor = cursor_of(ids, 24, rate_of(prompt))
    logits = np.array(next_logits(variables, row, cursor, len(ids), speaker))
    if step < min_tokens:
      logits[CODES] = -np.inf
    best = int(logits.argmax())
    if best == CODES:
      return tokens, True
    tokens.append(best)
    ids.append(TEXT + best)
  return tokens, False


@pytest.mark.parametrize("min_tokens", [1, 4])
def test_greedy_equals_repeated_full_passes(variables, speakers, min_tokens):
  out = generate(variables, PROMPTS, speakers, min_tokens=min_tokens)
  for row, prompt in enumerate(PROMPTS):
    tokens, ended = slow_greedy(variables, prompt, speakers[row], min_tokens)
    assert int(out.length[row]) == len(tokens)
    np.testing.assert_array_equal(out.tokens[row, : len(tokens)], tokens)
    np.testing.assert_array_equal(out.tokens[row, len(tokens) :], 0)
    assert bool(out.ended[row]) == ended


def test_a_row_does_not_depend_on_its_batch(variables, speakers):
  settings = Sampling(
    temperature=0.9, top_p=0.95, repetition_penalty=1.2, window=3
  )
  seeds = np.array([5, 6, 5, 8])
  together = generate(variables, PROMPTS, speakers, settings, seeds=seeds)
  assert len({tuple(row) for row in np.asarray(together.tokens)}) > 1
  for row, prompt in enumerate(PROMPTS):
    alone = generate(
      variables,
      [prompt],
      speakers[row : row + 1],
      settings,
      seeds=seeds[row : row + 1],
    )
    jax.tree.map(
      lambda a, b, row=row: np.testing.assert_array_equal(a[row], b[0]),
      together,
      alone,
    )


def test_seeds_differ_and_repeat(variables, speakers):
  same = [PROMPTS[0]] * 4
  vectors = jnp.tile(speakers[:1], (4, 1))
  settings = Sampling(temperature=1.5)
  out = generate(
    variables, same, vectors, settings, seeds=np.array([1, 2, 1, 3])
  )
  np.testing.assert_array_equal(out.tokens[0], out.tokens[2])
  assert len({tuple(row) for row in np.asarray(out.tokens)}) == 3


def test_limits_hold_and_end_is_not_early(variables, speakers):
  eager = jax.tree.map(jnp.copy, variables)
  bias = eager["params"]["head"]["bias"]
  eager["params"]["head"]["bias"] = bias.at[CODES].set(50.0)
  out = generate(eager, PROMPTS, speakers, min_tokens=3)
  np.testing.assert_array_equal(out.length, 3)
  assert out.ended.all()
  never = jax.tree.map(jnp.copy, variables)
  never["params"]["head"]["bias"] = bias.at[CODES].set(-50.0)
  limits = np.array([0, 1, 4, 99], np.int32)
  out = generate(never, PROMPTS, speakers, limits=limits)
  np.testing.assert_array_equal(out.length, [0, 1, 4, N])
  assert not out.ended.any()


def test_what_pads_a_prompt_does_not_matter(variables, speakers):
  ids, cursor, lengths = padded(PROMPTS)
  real = np.arange(ids.shape[1]) < lengths[:, None]
  dirty = np.where(real, ids, 10**6), np.where(real, cursor, np.nan)
  rates = np.full(4, 0.5, np.float32)
  rest = (np.arange(4), GREEDY, np.full(4, N, np.int32))
  clean, other = (
    decoding.generate(
      MODEL, variables, *x, lengths, rates, speakers, *rest, max_tokens=N
    )
    for x in ((ids, cursor), dirty)
  )
  jax.tree.map(np.testing.assert_array_equal, clean, other)


# ----------------------------------------------------------------- sampling


@pytest.fixture(scope="module")
def logits():
  return 2 * jax.random.normal(jax.random.PRNGKey(7), (4, 9))


@jax.jit
def draw(logits, keys, settings, repeated):
  return sampling.sample(logits, keys, settings, repeated)


def many(logits, settings, draws=4000):
  """Frequencies of the classes of one row of logits."""
  rows = jnp.tile(logits[None], (draws, 1))
  keys = jax.random.split(jax.random.PRNGKey(0), draws)
  drawn = draw(rows, keys, settings, jnp.zeros(rows.shape, bool))
  return np.bincount(np.asarray(drawn), minlength=logits.shape[0]) / draws


def test_frequencies_follow_the_tempered_softmax(logits):
  for temperature in (0.5, 1.0, 2.0):
    expected = np.asarray(jax.nn.softmax(logits[0] / temperature))
    found = many(logits[0], Sampling(temperature=temperature))
    error = 4000 * ((found - expected) ** 2 / expected).sum()
    assert error < 26.1  # chi-square, 8 degrees of freedom, p = 0.001


@pytest.mark.parametrize(
  "settings",
  [
    Sampling(temperature=0.0),
    Sampling(temperature=1e-4),
    Sampling(temperature=1.0, top_k=1),
    Sampling(temperature=1.0, top_p=0.0),
  ],
)
def test_limits_of_the_settings_are_greedy(logits, settings):
  assert many(logits[0], settings, 64)[int(logits[0].argmax())] == 1


def test_top_k_and_top_p_keep_the_fewest_that_suffice(logits):
  for k in (1, 3, 9, 0, 50):
    kept = np.isfinite(sampling.restrict(logits, k, 1.0))
    assert (kept.sum(1) == (k if 0 < k < 9 else 9)).all()
  for p in (0.2, 0.6, 0.95, 1.0):
    kept = np.isfinite(sampling.restrict(logits, 0, p))
    mass = np.asarray(jax.nn.softmax(logits))
    for row in range(4):
      inside = mass[row][kept[row]]
      assert inside.sum() >= p - 1e-6
      assert inside.sum() - inside.min() < p
      assert inside.min() >= mass[row][~kept[row]].max(initial=0)


def test_settings_may_differ_from_row_to_row(logits):
  kept = np.isfinite(sampling.restrict(logits, jnp.asarray([1, 2, 3, 0]), 1.0))
  np.testing.assert_array_equal(kept.sum(1), [1, 2, 3, 9])


def test_repetition_penalty_lowers_only_what_the_window_holds():
  tokens = jnp.asarray([[3, 1, 2, 0, 0], [4, 4, 5, 0, 0]])
  seen = sampling.recent(tokens, jnp.asarray(3), 2, 6)
  assert np.flatnonzero(seen[0]).tolist() == [1, 2]
  assert np.flatnonzero(seen[1]).tolist() == [4, 5]
  assert not sampling.recent(tokens, jnp.asarray(3), 0, 6).any()
  logits = jnp.asarray([[-1.0, 2.0, 4.0, 3.0, 0.5, -2.0]])
  repeated = jnp.asarray([[True, True, False, False, False, False]])
  lowered = sampling.penalise(logits, repeated, 2.0)
  np.testing.assert_allclose(lowered, [[-2.0, 1.0, 4.0, 3.0, 0.5, -2.0]])
  np.testing.assert_array_equal(
    sampling.penalise(logits, repeated, 1.0), logits
  )
