"""The AR Transformer, its speaker encoder and its stage."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.ar import get_config
from s02jax.core.errors import UserError
from s02jax.models import ar
from s02jax.models.layers import linear
from s02jax.models.layers.transformer import TransformerConfig
from s02jax.models.speaker_encoder import SpeakerEncoder
from s02jax.stages.ar import ARStage, next_real, swap_texts, text_rates
from s02jax.stages.losses import cross_entropy
from tests import fakes

TEXT, CODES, MEL = 20, 12, 8
CONFIG = ar.ARConfig(
  text_size=TEXT,
  num_codes=CODES,
  speaker_id=1,
  text_rate=0.5,
  mel_bins=MEL,
  transformer=TransformerConfig(
    width=16, layers=2, heads=2, kv_heads=1, hidden=24
  ),
  speaker=ar.SpeakerConfig(width=16, layers=2, out=8),
)
MODEL = ar.ARTransformer(CONFIG)


@pytest.fixture(scope="module")
def variables():
  return jax.jit(functools.partial(ar.init, MODEL))(jax.random.PRNGKey(0))


def close(a, b, tolerance=2e-5):
  np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# ---------------------------------------------------------- speaker encoder


@functools.partial(jax.jit, static_argnames="dtype")
def encode(params, mel, mask, dtype=jnp.float32):
  encoder = SpeakerEncoder(width=16, layers=2, out=8, dtype=dtype)
  return encoder.apply(params, mel, mask)


@pytest.fixture(scope="module")
def encoder_params():
  encoder = SpeakerEncoder(width=16, layers=2, out=8)
  mel, mask = jnp.zeros((1, 6, MEL)), jnp.ones((1, 6), bool)
  return jax.jit(encoder.init)(jax.random.PRNGKey(1), mel, mask)


def test_padding_a_reference_changes_nothing(encoder_params):
  mel = jax.random.normal(jax.random.PRNGKey(2), (2, 12, MEL))
  mask = jnp.arange(12)[None] < jnp.asarray([7, 12])[:, None]

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def loss(params, mel):
    vectors = encode(params, mel, mask)
    return jnp.sum(jnp.sin(3 * vectors)), vectors

  (_, clean), grads = loss(encoder_params, jnp.where(mask[..., None], mel, 0))
  (_, dirty), poisoned = loss(
    encoder_params, jnp.where(mask[..., None], mel, jnp.nan)
  )
  np.testing.assert_array_equal(clean, dirty)
  jax.tree.map(np.testing.assert_array_equal, grads, poisoned)
  alone = encode(encoder_params, mel[:1, :7], mask[:1, :7])
  close(clean[:1], alone)


def test_vectors_have_unit_power_and_nothing_gives_zeros(encoder_params):
  mel = jax.random.normal(jax.random.PRNGKey(2), (2, 12, MEL))
  mask = jnp.asarray([[True] * 12, [False] * 12])
  vectors = encode(encoder_params, mel, mask)
  close(jnp.mean(vectors[0] ** 2), 1.0, 1e-4)
  np.testing.assert_array_equal(vectors[1], 0)
  grads = jax.jit(jax.grad(lambda p: encode(p, mel, mask).sum()))(
    encoder_params
  )
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


# -------------------------------------------------------------------- model


def make_batch(rows=2, samples=800, seed=0):
  """Packed rows: segments of 9 and 7 positions, then 4 of padding."""
  rng = np.random.default_rng(seed)
  ids, weight = np.zeros((rows, 20), np.int32), np.zeros((rows, 20))
  segment, position = np.zeros_like(ids), np.zeros_like(ids)
  cursor = np.zeros(ids.shape, np.float32)
  target, prompt = np.zeros((2, *ids.shape), np.int32)
  for row in range(rows):
    for number, (begin, text, audio) in enumerate(((0, 3, 3), (9, 2, 2)), 1):
      end = begin + 3 + text + audio
      codes = rng.integers(0, CODES, audio)
      letters = rng.integers(5, TEXT, text)
      ids[row, begin:end] = [1, 3, *letters, 2, *(TEXT + codes)]
      segment[row, begin:end] = number
      position[row, begin:end] = np.arange(end - begin)
      cursor[row, begin:end] = np.arange(end - begin)
      cursor[row, end - audio - 1 : end] = 2 + 0.5 * np.arange(audio + 1)
      target[row, end - audio - 1 : end] = [*codes, CODES]
      weight[row, end - audio - 1 : end] = 1
  references = rng.normal(size=(rows, 3, samples)) * 0.1
  lengths = np.tile(np.array([[samples, samples // 2, 0]]), (rows, 1))
  return dict(
    ids=jnp.asarray(ids),
    segment=jnp.asarray(segment),
    position=jnp.asarray(position),
    cursor=jnp.asarray(cursor),
    prompt=jnp.asarray(prompt),
    target=jnp.asarray(target),
    weight=jnp.asarray(weight, jnp.float32),
    references=jnp.asarray(references, jnp.float32),
    reference_samples=jnp.asarray(lengths, jnp.int32),
  )


@pytest.fixture(scope="module")
def speakers():
  return jax.random.normal(jax.random.PRNGKey(3), (2, 3, 8))


@functools.partial(jax.jit, static_argnames="model")
def logits_of(variables, batch, speakers, model=MODEL):
  return model.apply(
    variables,
    batch["ids"],
    batch["segment"],
    batch["position"],
    batch["cursor"],
    speakers,
  )


def test_packed_rows_equal_their_segments_alone(variables, speakers):
  batch = make_batch()
  packed = logits_of(variables, batch, speakers)
  for number, (begin, end) in enumerate(((0, 9), (9, 15))):
    alone = {
      k: v[:, begin:end] for k, v in batch.items() if v.shape[1:] == (20,)
    }
    alone["segment"] = jnp.ones_like(alone["segment"])
    close(
      packed[:, begin:end],
      logits_of(variables, alone, speakers[:, number : number + 1]),
    )


def test_a_segment_hears_its_own_speaker_and_only_the_past(variables, speakers):
  batch = make_batch(1)

  def outputs(speakers):
    return logits_of(variables, batch, speakers)[0].sum(-1)

  jacobian = jax.jit(jax.jacrev(outputs))(speakers[:1])[:, 0]  # [s, r, o]
  heard = np.abs(jacobian).sum(-1) > 0
  expected = np.asarray(batch["segment"][0])[:, None] == [[1, 2, 3]]
  np.testing.assert_array_equal(heard, expected)

  changed = batch | {"ids": batch["ids"].at[0, 4].set(6)}
  moved = np.abs(
    logits_of(variables, changed, speakers[:1])[0]
    - logits_of(variables, batch, speakers[:1])[0]
  ).max(-1)
  np.testing.assert_array_equal(
    moved > 0, (np.arange(20) >= 4) & (np.arange(20) < 9)
  )


def test_padding_ids_and_unused_vectors_may_be_anything(variables, speakers):
  batch = make_batch()
  padding = batch["segment"] == 0
  dirty = batch | {"ids": jnp.where(padding, 10**6, batch["ids"])}
  poisoned = speakers.at[:, 2].set(jnp.nan)
  weight = batch["weight"][..., None]

  @jax.jit
  @jax.grad
  def grad(variables, batch, speakers):
    logits = logits_of(variables, batch, speakers)
    return jnp.sum(jnp.where(weight > 0, jnp.sin(logits), 0))

  jax.tree.map(
    np.testing.assert_array_equal,
    grad(variables, batch, speakers),
    grad(variables, dirty, poisoned),
  )


def test_bfloat16_keeps_float32_parameters_and_logits(speakers):
  model = ar.ARTransformer(dataclasses.replace(CONFIG, dtype="bfloat16"))
  variables = jax.jit(functools.partial(ar.init, model))(jax.random.PRNGKey(0))
  assert all(v.dtype == jnp.float32 for v in jax.tree.leaves(variables))
  batch = make_batch()
  half = logits_of(variables, batch, speakers, model=model)
  assert half.dtype == jnp.float32
  close(half, logits_of(variables, batch, speakers), 0.1)


# -------------------------------------------------------------------- stage


def test_loss_in_chunks_equals_the_whole_and_never_holds_all_logits():
  rng = np.random.default_rng(0)
  b, s, d, c = 2, 24, 8, 50
  hidden = jnp.asarray(rng.normal(size=(b, s, d)), jnp.float32)
  kernel = jnp.asarray(rng.normal(size=(d, c)), jnp.float32)
  target = jnp.asarray(rng.integers(c, size=(b, s)))
  weight = jnp.asarray(rng.random((b, s)), jnp.float32)

  def loss(kernel, hidden, chunk):
    nats, hits = cross_entropy(lambda x: x @ kernel, hidden, target, chunk)
    return jnp.sum(nats * weight), (nats, hits)

  grad = jax.jit(jax.grad(loss, (0, 1), has_aux=True), static_argnames="chunk")
  whole = grad(kernel, hidden, s)
  for chunk in (5, 8, 12):
    jax.tree.map(close, grad(kernel, hidden, chunk), whole)
    text = str(
      jax.make_jaxpr(lambda k, h, n=chunk: grad(k, h, n))(kernel, hidden)
    )
    assert f"{b},{s},{c}]" not in text
  text = str(jax.make_jaxpr(lambda k, h: grad(k, h, s))(kernel, hidden))
  assert f"{b},{s},{c}]" in text


def test_every_language_has_its_rate_of_text():
  corpus = fakes.FakeCorpus(40, 6)
  corpus.text_tokens[corpus.language == 2] = 1  # a tag alone: no text
  overall, each = text_rates(corpus)
  tokens = corpus.num_samples // 640
  for number, code in enumerate(("en", "es")):
    chosen = corpus.language == number
    expected = (corpus.text_tokens[chosen] - 1).sum() / tokens[chosen].sum()
    assert dict(each)[code] == pytest.approx(expected, abs=1e-4)
  config = dataclasses.replace(CONFIG, text_rate=overall, text_rates=each)
  assert config.rate("es") == dict(each)["es"]
  assert "de" not in dict(each) and config.rate("de") == overall
  corpus.text_tokens[:] = 1
  with pytest.raises(UserError, match="no record of fake has a text"):
    text_rates(corpus)


def make_stage(**changes):
  config = get_config("test")
  config.update(changes)
  for name in ("text_size", "num_codes", "speaker_id", "text_rate"):
    config.model[name] = dataclasses.asdict(CONFIG)[name]
  with config.unlocked():
    config.model.transformer = dataclasses.asdict(CONFIG.transformer)
    config.model.speaker = dataclasses.asdict(CONFIG.speaker)
    config.optimizer.update(dict(learning_rate=1e-2, warmup=5, ema=0.9))
  return ARStage(config)


@pytest.fixture(scope="module")
def trained():
  """Returns a stage, its step, its state after 40 steps on a batch, losses."""
  stage = make_stage(steps=60)
  state = jax.jit(stage.init_state)(jax.random.PRNGKey(0))
  step = jax.jit(stage.train_step)
  batch = make_batch(samples=6400)
  # Both rows have the same texts, and voices that are easily told apart: which
  # audio follows is for the reference to say.
  is_text = (batch["ids"] < TEXT) & (batch["segment"] > 0)
  loudness = jnp.array([[[1.0], [0.3], [1.0]], [[0.03], [0.01], [1.0]]])
  batch |= {
    "ids": jnp.where(is_text, batch["ids"][:1], batch["ids"]),
    "references": batch["references"] * loudness,
  }
  losses = []
  for _ in range(40):
    state, metrics = step(state, batch)
    losses.append(float(metrics["loss"]))
  return stage, step, state, batch, losses


def test_forty_steps_learn_one_batch(trained):
  *_, state, _, losses = trained
  uniform = np.log(CODES + 1)
  assert abs(losses[0] - uniform) < 1.5
  assert losses[-1] < 0.3 * uniform
  assert int(state.step) == 40 and int(state.skipped) == 0
  assert all(v.dtype == jnp.float32 for v in jax.tree.leaves(state.params))


def test_evaluation_prices_wrong_references_and_texts(trained):
  stage, _, state, batch, _ = trained
  metrics = jax.jit(stage.eval_step)(state, batch)
  assert float(metrics["accuracy"]) > 0.6
  assert float(metrics["wrong_text_cost"]) > 0.1
  assert float(metrics["wrong_reference_cost"]) > 0.1


def test_nan_behind_a_reference_and_in_empty_ones_changes_nothing(trained):
  _, step, state, batch, _ = trained
  n = batch["references"].shape[2]
  behind = jnp.arange(n)[None, None] >= batch["reference_samples"][..., None]
  clean, _ = step(state, batch)
  dirty, metrics = step(
    state,
    batch | {"references": jnp.where(behind, jnp.nan, batch["references"])},
  )
  jax.tree.map(np.testing.assert_array_equal, clean, dirty)
  assert float(metrics["skipped"]) == 0


def test_noise_leaves_texts_and_prompts_alone():
  stage = make_stage(loss=dict(noise=0.5))
  ids = jnp.tile(jnp.arange(TEXT + CODES)[None], (64, 1))
  prompt = jnp.zeros_like(ids).at[:, TEXT : TEXT + 4].set(1)
  noisy = np.asarray(stage.corrupt(jax.random.PRNGKey(0), ids, prompt))
  assert (noisy[:, : TEXT + 4] == np.arange(TEXT + 4)).all()
  assert (noisy[:, TEXT:] >= TEXT).all()
  changed = (noisy != np.asarray(ids))[:, TEXT + 4 :].mean()
  assert changed == pytest.approx(0.5 * (1 - 1 / CODES), abs=0.1)


def test_a_voice_without_a_reference_is_a_vector_of_zeros(trained):
  stage, _, state, batch, _ = trained
  vectors = stage.speakers(state.params, batch)
  empty = np.asarray(batch["reference_samples"]) == 0
  assert empty.any() and not empty.all()
  np.testing.assert_array_equal(np.any(vectors, axis=2), ~empty)


def test_both_axes_of_positions_matter(variables, speakers):
  batch = make_batch()
  plain = logits_of(variables, batch, speakers)
  for name in ("position", "cursor"):
    moved = logits_of(variables, batch | {name: 2 * batch[name]}, speakers)
    assert np.abs(moved - plain).max() > 1e-3


def test_logits_are_summed_in_float32():
  """In bfloat16 most neighbouring values of a wide sum would be equal."""
  x = jax.random.normal(jax.random.PRNGKey(0), (1, 64, 128))
  head = linear.Logits(8, jnp.bfloat16)
  variables = head.init(jax.random.PRNGKey(1), x)
  y = np.asarray(head.apply(variables, x))
  rounded = np.asarray(jnp.asarray(y).astype(jnp.bfloat16), np.float32)
  assert y.dtype == np.float32 and (y != rounded).mean() > 0.9
  exact = linear.Logits(8).apply(variables, x)
  close(y, exact, 0.05)
  # The gradient's products are in bfloat16, as those of other layers.
  grads = jax.grad(lambda p: head.apply(p, x).sum())(variables)
  close(grads["params"]["bias"], jnp.full(8, 64.0))


def test_accumulation_equals_one_large_batch(trained):
  _, step, state, batch, _ = trained
  batch = batch | {"weight": batch["weight"].at[0, :9].set(0)}
  halves = make_stage(steps=60, accumulate=2)
  whole, metrics = step(state, batch)
  parts, again = jax.jit(halves.train_step)(state, batch)
  close(metrics["loss"], again["loss"])
  jax.tree.map(lambda a, b: close(a, b, 1e-4), whole.params, parts.params)


def test_next_real_is_a_cycle_over_the_real_items():
  real = jnp.asarray([False, True, True, False, True])
  following = np.asarray(next_real(real))
  assert [following[i] for i in (1, 2, 4)] == [2, 4, 1]


def test_swapped_texts_come_from_the_next_segment():
  batch = make_batch()
  ids, position = np.asarray(batch["ids"]), np.asarray(batch["position"])
  is_text = (ids >= 5) & (ids < TEXT)
  swapped = np.asarray(
    swap_texts(batch["ids"], batch["segment"], batch["position"], is_text, 3)
  )
  np.testing.assert_array_equal(swapped[~is_text], ids[~is_text])
  first, second = ids[0, 2:5], ids[0, 11:13]
  np.testing.assert_array_equal(swapped[0, 2:5], [*second, second[0]])
  np.testing.assert_array_equal(swapped[0, 11:13], ids[1, 2:4])
  np.testing.assert_array_equal(swapped[1, 11:13], first[:2])
  assert position[0, 11] == 2
