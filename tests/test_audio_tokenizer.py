"""Audio tokenizer: padding, the codebook's averages, CTC."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s02jax.models.audio_tokenizer import (
  AudioTokenizer,
  AudioTokenizerConfig,
  nearest,
  normalise,
)
from s02jax.stages.audio_tokenizer import (
  Codebook,
  LossConfig,
  ctc_per_token,
  move_codebook,
)

CONFIG = AudioTokenizerConfig(
  mel_bins=8,
  width=16,
  encoder_blocks=1,
  decoder_blocks=1,
  ctc_blocks=1,
  num_codes=12,
  code_dim=4,
  vocab_size=10,
)


@pytest.fixture(scope="module")
def tokenizer():
  model = AudioTokenizer(CONFIG)
  mel = jnp.zeros((1, 4, 8))
  return model, model.init(jax.random.key(0), mel, jnp.ones((1, 4), bool))


def test_padding_may_hold_anything(tokenizer):
  model, variables = tokenizer
  mel = jax.random.normal(jax.random.key(1), (1, 12, 8))
  alone = model.apply(variables, mel, jnp.ones((1, 12), bool))
  padded = jnp.concatenate([mel, jnp.full((1, 6, 8), jnp.nan)], axis=1)
  mask = jnp.arange(18)[None] < 12

  def loss(variables):
    out = model.apply(variables, padded, mask)
    return jnp.sum(jnp.where(mask[..., None], out["mel"], 0.0)), out

  grads, out = jax.grad(loss, has_aux=True)(variables)
  np.testing.assert_allclose(out["mel"][:, :12], alone["mel"], atol=1e-5)
  np.testing.assert_allclose(out["text"][:, :6], alone["text"], atol=1e-5)
  np.testing.assert_array_equal(out["codes"][:, :6], alone["codes"])
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_decoding_codes_is_what_training_reconstructs(tokenizer):
  model, variables = tokenizer
  mel = jax.random.normal(jax.random.key(2), (2, 8, 8))
  mask, tokens = jnp.ones((2, 8), bool), jnp.ones((2, 4), bool)
  out = model.apply(variables, mel, mask)
  codes = model.apply(variables, mel, mask, method="encode")
  again = model.apply(variables, codes, tokens, method="decode")
  text = model.apply(variables, codes, tokens, method="ctc_logits")
  np.testing.assert_allclose(again, out["mel"], atol=1e-5)
  np.testing.assert_allclose(text, out["text"], atol=1e-5)


def test_gradient_passes_the_quantiser_to_the_encoder(tokenizer):
  model, variables = tokenizer
  mel = jax.random.normal(jax.random.key(3), (1, 8, 8))

  def loss(params):
    both = {"params": params, "codebook": variables["codebook"]}
    return jnp.sum(model.apply(both, mel, jnp.ones((1, 8), bool))["mel"] ** 2)

  grads = jax.grad(loss)(variables["params"])
  assert np.abs(grads["encoder"]["into"]["kernel"]).max() > 0


def _codebook(key, k=6, c=4):
  codes = normalise(jax.random.normal(key, (k, c)))
  return Codebook(codes=codes, uses=jnp.ones(k), sums=codes)


def test_codes_move_to_the_mean_of_their_vectors():
  codebook = _codebook(jax.random.key(0))
  vectors = normalise(jax.random.normal(jax.random.key(1), (40, 4)))
  codes = nearest(vectors[None], codebook.codes)[0]
  config = LossConfig(codebook_decay=0.0, restart_below=0.0)
  moved = move_codebook(
    codebook, vectors, codes, jnp.ones(40, bool), jax.random.key(2), config
  )
  for k in range(6):
    mine = np.asarray(vectors)[np.asarray(codes) == k]
    if len(mine):
      mean = mine.sum(0) / np.linalg.norm(mine.sum(0))
      np.testing.assert_allclose(moved.codes[k], mean, atol=1e-4)


def test_dead_codes_restart_at_valid_vectors_only():
  codebook = _codebook(jax.random.key(0)).replace(uses=jnp.zeros(6))
  vectors = normalise(jax.random.normal(jax.random.key(1), (20, 4)))
  valid = jnp.arange(20) < 7
  vectors = jnp.where(valid[:, None], vectors, 0.0)
  config = LossConfig(codebook_decay=0.98, restart_below=2.0)
  moved = move_codebook(
    codebook,
    vectors,
    jnp.zeros(20, jnp.int32),
    valid,
    jax.random.key(2),
    config,
  )
  similarity = np.asarray(moved.codes @ vectors[:7].T)
  np.testing.assert_allclose(similarity.max(1), 1.0, atol=1e-4)
  assert len(set(similarity.argmax(1))) == 6


def test_ctc_leaves_out_rows_that_cannot_fit():
  logits = jax.random.normal(jax.random.key(0), (2, 4, 6))
  mask = jnp.ones((2, 4), bool)
  text = jnp.array([[1, 2, 0], [3, 3, 3]])  # the second needs five frames
  lengths = jnp.array([2, 3])
  both = ctc_per_token(logits, mask, text, lengths)
  first = ctc_per_token(logits[:1], mask[:1], text[:1], lengths[:1])
  np.testing.assert_allclose(both, first, rtol=1e-6)
  grad = jax.grad(lambda x: ctc_per_token(x, mask, text, lengths))(logits)
  assert np.isfinite(grad).all() and (grad[1] == 0).all()
