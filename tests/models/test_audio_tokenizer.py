"""Audio tokenizer: padding, the codebook's averages, CTC."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.audio_tokenizer import get_config
from s02jax.core.rates import tokens
from s02jax.data.rows.packed_utterances import GAP, SEPARATOR
from s02jax.models.audio_tokenizer import (
  AudioTokenizer,
  AudioTokenizerConfig,
  init,
  nearest,
  normalise,
)
from s02jax.stages.audio_tokenizer import (
  AudioTokenizerStage,
  Codebook,
  LossConfig,
  ctc_per_token,
  distance,
  move_codebook,
  spread_evenly,
)
from tests import tiny

CONFIG = AudioTokenizerConfig(
  mel_bins=8,
  width=16,
  encoder_blocks=1,
  heads=2,
  decoder_blocks=1,
  ctc_blocks=1,
  num_codes=12,
  code_dim=4,
  vocab_size=10,
  speaker_width=8,
  speaker_layers=1,
  speaker_dim=3,
)


MODEL = AudioTokenizer(CONFIG)
apply = jax.jit(MODEL.apply, static_argnames="method")


@pytest.fixture(scope="module")
def variables():
  shapes = jax.eval_shape(functools.partial(init, MODEL), jax.random.key(0))
  return tiny.random_params(shapes)


def _inputs(seed, frames, rows=1):
  """Log-mel of whole rows, their segments and a vector of each."""
  a, b = jax.random.split(jax.random.key(seed))
  mel = jax.random.normal(a, (rows, frames, 8))
  segment = jnp.ones((rows, frames // 2), jnp.int32)
  return mel, segment, jax.random.normal(b, (rows, 1, 3))


def test_padding_may_hold_anything(variables):
  mel, segment, speakers = _inputs(1, 12)
  alone = apply(variables, mel, segment, speakers)
  padded = jnp.concatenate([mel, jnp.full((1, 6, 8), jnp.nan)], axis=1)
  longer = jnp.pad(segment, ((0, 0), (0, 3)))
  mask = jnp.arange(18)[None] < 12

  def loss(variables):
    out = apply(variables, padded, longer, speakers)
    return jnp.sum(jnp.where(mask[..., None], out["mel"], 0.0)), out

  grads, out = jax.jit(jax.grad(loss, has_aux=True))(variables)
  np.testing.assert_allclose(out["mel"][:, :12], alone["mel"], atol=1e-5)
  np.testing.assert_allclose(out["text"][:, :6], alone["text"], atol=1e-5)
  np.testing.assert_array_equal(out["codes"][:, :6], alone["codes"])
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_decoding_codes_is_what_training_reconstructs(variables):
  mel, segment, speakers = _inputs(2, 8, rows=2)
  out = apply(variables, mel, segment, speakers)
  codes = apply(variables, mel, segment, method="encode")
  again = apply(variables, codes, segment, speakers, method="decode")
  text = apply(variables, codes, segment, method="ctc_logits")
  np.testing.assert_allclose(again, out["mel"], atol=1e-5)
  np.testing.assert_allclose(text, out["text"], atol=1e-5)


def test_attention_reads_the_whole_utterance_and_no_other(variables):
  """Beyond the convolutions' reach: only within a segment."""
  mel, _, _ = _inputs(3, 120)
  changed = mel.at[:, :4].add(1.0)

  def last(mel, segment):
    out = apply(variables, mel, segment, method="vectors")
    return np.asarray(out)[:, -2:]

  whole = jnp.ones((1, 60), jnp.int32)
  assert np.abs(last(mel, whole) - last(changed, whole)).max() > 1e-4
  apart = whole.at[:, 30:].set(2)
  np.testing.assert_array_equal(last(mel, apart), last(changed, apart))


def test_each_segment_is_decoded_in_its_own_voice(variables):
  codes = jax.random.randint(jax.random.key(4), (1, 60), 0, 12)
  segment = jnp.ones((1, 60), jnp.int32).at[:, 30:].set(2)
  speakers = jax.random.normal(jax.random.key(5), (1, 2, 3))
  one = apply(variables, codes, segment, speakers, method="decode")
  other = apply(
    variables, codes, segment, speakers.at[:, 1].add(1.0), method="decode"
  )
  change = np.abs(one - other).max(-1)[0]
  # Convolutions are all that carries a voice over the border.
  assert (change[:40] == 0).all() and (change[60:] > 0).all()


def test_gradient_passes_the_quantiser_to_the_encoder(variables):
  mel, segment, speakers = _inputs(3, 8)

  def loss(params):
    both = {"params": params, "codebook": variables["codebook"]}
    return jnp.sum(apply(both, mel, segment, speakers)["mel"] ** 2)

  grads = jax.jit(jax.grad(loss))(variables["params"])
  assert np.abs(grads["encoder"]["into"]["kernel"]).max() > 0


def _codebook(key, k=6, c=4):
  codes = normalise(jax.random.normal(key, (k, c)))
  return Codebook(codes=codes, uses=jnp.ones(k), sums=codes)


def test_codes_move_to_the_mean_of_their_vectors():
  codebook = _codebook(jax.random.key(0))
  vectors = normalise(jax.random.normal(jax.random.key(1), (2, 20, 4)))
  codes = nearest(vectors, codebook.codes)
  config = LossConfig(codebook_decay=0.0, restart_below=0.0)
  move = jax.jit(functools.partial(move_codebook, config=config))
  valid = jnp.ones((2, 20), bool)
  moved = move(codebook, vectors, codes, valid, jax.random.key(2))
  for k in range(6):
    mine = np.asarray(vectors)[np.asarray(codes) == k]
    if len(mine):
      mean = mine.sum(0) / np.linalg.norm(mine.sum(0))
      np.testing.assert_allclose(moved.codes[k], mean, atol=1e-4)


def test_dead_codes_restart_at_valid_vectors_only():
  codebook = _codebook(jax.random.key(0)).replace(uses=jnp.zeros(6))
  vectors = normalise(jax.random.normal(jax.random.key(1), (4, 5, 4)))
  # Rows that are empty, whole, and valid at their ends only.
  valid = jnp.array([[0] * 5, [1] * 5, [1, 0, 0, 0, 1], [0] * 5], bool)
  vectors = jnp.where(valid[:, :, None], vectors, 0.0)
  config = LossConfig(codebook_decay=0.98, restart_below=2.0)
  move = jax.jit(functools.partial(move_codebook, config=config))
  codes = jnp.tile(jnp.arange(5), (4, 1))  # of 6
  for seed in range(7):
    moved = move(codebook, vectors, codes, valid, jax.random.key(seed))
    similarity = np.asarray(moved.codes @ vectors[valid].T)
    np.testing.assert_allclose(similarity.max(1), 1.0, atol=1e-4)
    assert len(set(similarity.argmax(1))) == 6


def test_a_code_is_dead_by_its_share_whatever_the_batch():
  """Uses of a code are compared with the mean, so that rows do not matter."""
  config = LossConfig(codebook_decay=0.5, restart_below=0.3)
  move = jax.jit(functools.partial(move_codebook, config=config))
  codes = jnp.repeat(jnp.arange(6), jnp.array([10, 10, 10, 10, 9, 1]))[None]
  vectors = normalise(jax.random.normal(jax.random.key(1), (1, 50, 4)))
  for rows in (1, 40):
    many = jnp.tile(codes, (rows, 1)), jnp.tile(vectors, (rows, 1, 1))
    before = _codebook(jax.random.key(0))
    before = before.replace(uses=before.uses * 0)
    valid = jnp.ones((rows, 50), bool)
    moved = move(before, many[1], many[0], valid, jax.random.key(2))
    mean = 0.5 * rows * 50 / 6
    np.testing.assert_allclose(moved.uses[5], 0.6 * mean, rtol=1e-5)
    np.testing.assert_allclose(moved.uses[4], 0.5 * 9 * rows, rtol=1e-5)


@pytest.mark.parametrize("shape, k", [((4, 7), 28), ((3, 50), 7), ((2, 3), 16)])
def test_places_are_spread_over_all_that_is_valid(shape, k):
  valid = jax.random.bernoulli(jax.random.key(1), 0.8, shape)
  order = {tuple(p): i for i, p in enumerate(np.argwhere(valid).tolist())}
  spread = jax.jit(spread_evenly, static_argnums=1)
  row, place = spread(valid, k, jax.random.key(2))
  found = np.stack([row, place], axis=1).tolist()
  rank = np.sort([order[tuple(p)] for p in found])
  stride = len(order) / k
  steps = np.diff(rank, append=rank[0] + len(order))
  assert np.all((steps >= np.floor(stride)) & (steps <= np.ceil(stride)))


def test_nothing_valid_has_places_all_the_same():
  spread = jax.jit(spread_evenly, static_argnums=1)
  row, place = spread(jnp.zeros((2, 3), bool), 4, jax.random.key(0))
  assert np.all((row < 2) & (place < 3))


def test_rows_without_text_are_left_out_of_ctc():
  logits = jax.random.normal(jax.random.key(0), (2, 4, 6))
  segment = jnp.ones((2, 4), jnp.int32)
  text = jnp.array([[1, 2, 0], [3, 3, 3]])
  lengths = jnp.array([2, 0])
  loss = jax.jit(ctc_per_token)
  both = loss(logits, segment, text, lengths)
  first = loss(logits[:1], segment[:1], text[:1], lengths[:1])
  np.testing.assert_allclose(both, first, rtol=1e-6)
  grad = jax.jit(jax.grad(ctc_per_token))(logits, segment, text, lengths)
  assert np.isfinite(grad).all() and (grad[1] == 0).all()


@pytest.fixture(scope="module")
def stage():
  config = get_config("test")
  config.model.vocab_size = 40
  config.data.row_seconds = 2.0
  return AudioTokenizerStage(config)


@pytest.fixture(scope="module")
def state(stage):
  return jax.jit(stage.init_state)(jax.random.key(0))


def _row(stage, clips):
  """A packed row of (tokens, text), each clip noise of its own, as its voice.

  The first halves of clips of an even number of tokens are not scored.
  """
  size = tokens(stage.config.data.row_seconds)
  hop = stage.mel.hop * stage.model_config.frames_per_token
  wave, segment = np.zeros(size * hop, np.float32), np.zeros(size, np.int32)
  told, text, begin = np.zeros(size, bool), [], 0
  references = np.zeros((4, 20 * hop), np.float32)
  samples = np.zeros(4, np.int32)
  for k, (count, pieces) in enumerate(clips):
    noise = np.random.default_rng(len(pieces)).normal(size=count * hop)
    wave[begin * hop : (begin + count) * hop] = 0.1 * noise
    segment[begin : begin + count] = k + 1
    told[begin : begin + count // 2] = count % 2 == 0
    samples[k] = count * hop
    references[k, : count * hop] = 0.1 * noise[::-1]
    text += [SEPARATOR] * (k > 0) + pieces
    begin += count + GAP
  padded = np.zeros(size, np.int32)
  padded[: len(text)] = text
  return dict(
    wave=wave,
    segment=segment,
    told=told,
    text=padded,
    text_length=len(text),
    references=references,
    reference_samples=samples,
  )


def test_packed_utterances_train_as_they_would_alone(stage, state):
  """Losses are means over frames and pieces; so are their gradients."""
  clips = [(20, [5, 6, 6]), (12, [7]), (9, [8, 9])]
  together = _row(stage, clips)
  alone = [_row(stage, [clip]) for clip in clips]

  def loss(params, rows):
    batch = {k: jnp.stack([r[k] for r in rows]) for k in rows[0]}
    return stage.losses(params, state.codebook.codes, batch)[0]

  gradient = jax.jit(jax.value_and_grad(loss))
  one = gradient(state.train.params, [together])
  three = gradient(state.train.params, alone)
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(three), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_what_lies_between_utterances_may_be_anything(stage, state):
  row = _row(stage, [(20, [5, 6, 6]), (12, [7])])
  poisoned = dict(row, wave=row["wave"].copy())
  hop = len(row["wave"]) // len(row["segment"])
  # The first empty token is in reach of the window of the last mel frame.
  gap = np.flatnonzero(row["segment"] == 0)[1]
  poisoned["wave"][gap * hop : (gap + 1) * hop] = 0.5
  losses = jax.jit(stage.losses)
  found = [
    losses(
      state.train.params,
      state.codebook.codes,
      {k: jnp.asarray(v)[None] for k, v in r.items()},
    )[0]
    for r in (row, poisoned)
  ]
  np.testing.assert_allclose(*found, rtol=1e-6)


def test_a_teacher_reaches_the_encoder_by_the_codes_of_valid_tokens(stage):
  """Padding of a teacher's states may hold anything; no other loss acts."""
  config = stage.config.copy_and_resolve_references()
  config.model.teacher_dim = 6
  config.loss.update(dict(distillation=1.0, ctc=0.0, commitment=0.0))
  taught = AudioTokenizerStage(config)
  state = jax.jit(taught.init_state)(jax.random.key(0))
  row = _row(stage, [(20, [5, 6, 6]), (12, [7])])
  teacher = np.random.default_rng(0).normal(size=(len(row["segment"]), 6))
  row["told"] = row["segment"] > 0  # no token counts for the mel loss

  def loss(params, teacher):
    batch = {k: jnp.asarray(v)[None] for k, v in row.items()}
    batch["teacher"] = jnp.asarray(teacher, jnp.float32)[None]
    return taught.losses(params, state.codebook.codes, batch)[0]

  gradient = jax.jit(jax.value_and_grad(loss))
  whole, slopes = gradient(state.train.params, teacher)
  teacher[row["segment"] == 0] = np.nan
  again, same = gradient(state.train.params, teacher)
  assert 0 < whole < 2 and whole == again
  assert np.abs(slopes["to_code"]["kernel"]).max() > 0
  for a, b in zip(jax.tree.leaves(slopes), jax.tree.leaves(same), strict=True):
    np.testing.assert_array_equal(a, b)


def test_a_guess_in_the_direction_of_the_state_costs_nothing():
  states = jax.random.normal(jax.random.key(0), (2, 5, 4))
  valid = jnp.arange(5)[None] < jnp.array([[5], [2]])
  assert distance(3 * states, states, valid) == pytest.approx(0, abs=1e-6)
  assert distance(-states, states, valid) == pytest.approx(2, abs=1e-6)
  assert distance(states, states, jnp.zeros((2, 5), bool)) == 0
