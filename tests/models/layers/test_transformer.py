"""The Transformer's promises, proved on a tiny one."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s02jax.models.layers import transformer

CONFIG = transformer.TransformerConfig(
  width=16, layers=2, heads=4, kv_heads=2, hidden=24
)
S = 12


def _ones(b=2, s=S):
  return jnp.ones((b, s), jnp.int32)


def _positions(b=2, s=S):
  return jnp.tile(jnp.arange(s, dtype=jnp.int32)[None], (b, 1))


@pytest.fixture(scope="module")
def x():
  return jax.random.normal(jax.random.PRNGKey(0), (2, S, CONFIG.width))


@pytest.fixture(scope="module")
def params(x):
  init = jax.jit(transformer.Stack(CONFIG).init, static_argnums=4)
  return init(jax.random.PRNGKey(1), x, _ones(), _positions(), 1)


@functools.partial(jax.jit, static_argnames=("block", "remat", "unroll"))
def apply(
  params, x, segment, position, block, modulation=None, remat="none", unroll=1
):
  config = dataclasses.replace(CONFIG, remat=remat, unroll=unroll)
  stack = transformer.Stack(config)
  return stack.apply(params, x, segment, position, block, modulation)


def close(a, b, tolerance=2e-5):
  np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def reaches(params, x, block):
  """Mask [s, t] of the outputs s that have a gradient to input t."""

  def out(v):
    y = apply(params, v[None], _ones(1), _positions(1), block)[0]
    return y @ jnp.arange(1.0, CONFIG.width + 1)

  return np.abs(jax.jit(jax.jacrev(out))(x[0])).sum(-1) > 0


@pytest.mark.parametrize("block", [1, 4, None])
def test_gradients_reach_exactly_what_the_mask_allows(params, x, block):
  size = S if block is None else block
  i = np.arange(S) // size
  expected = i[None, :] <= i[:, None]
  np.testing.assert_array_equal(reaches(params, x, block), expected)


def test_block_may_be_traced(params, x):

  @jax.jit
  def traced(block):
    return transformer.Stack(CONFIG).apply(
      params, x, _ones(), _positions(), block
    )

  for block in (1, 4):
    close(traced(block), apply(params, x, _ones(), _positions(), block))


@pytest.mark.parametrize("block", [1, None])
def test_nan_padding_changes_no_value_and_no_gradient(params, x, block):
  segment = _ones().at[0, 7:].set(0).at[1, :3].set(0)
  valid = segment[:, :, None] > 0

  def loss(p, v):
    y = apply(p, v, segment, _positions(), block)
    return jnp.sum(jnp.where(valid, jnp.square(y) + jnp.sin(y), 0))

  poisoned = jnp.where(valid, x, jnp.nan)
  value_and_grad = jax.jit(jax.value_and_grad(loss, (0, 1)))
  clean = value_and_grad(params, jnp.where(valid, x, 0))
  dirty = value_and_grad(params, poisoned)
  jax.tree.map(np.testing.assert_array_equal, clean, dirty)
  assert all(np.isfinite(v).all() for v in jax.tree.leaves(dirty))


def test_packed_segments_equal_separate_rows(params, x):
  segment = jnp.asarray([[1] * 5 + [2] * 4 + [0] * 3])
  position = jnp.asarray([[*range(5), *range(4), *range(3)]])
  packed = apply(params, x[:1], segment, position, 1)
  for begin, end in ((0, 5), (5, 9)):
    n = end - begin
    alone = apply(params, x[:1, begin:end], _ones(1, n), _positions(1, n), 1)
    close(packed[:, begin:end], alone)


def test_rope_sees_only_differences_of_positions(params, x):
  near = apply(params, x, _ones(), _positions(), 1)
  far = apply(params, x, _ones(), _positions() + 500, 1)
  close(near, far, 1e-3)
  stretched = apply(params, x, _ones(), _positions() * 3, 1)
  assert np.abs(near - stretched).max() > 1e-2


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_rope_turns_pairs_as_complex_numbers(dtype):
  """Normalisation computes in float32: only its result is rounded."""
  x = jax.random.normal(jax.random.PRNGKey(0), (2, S, 3, 8)).astype(dtype)
  turned = transformer.rotate(
    x, transformer.rotary_turn([_positions()], 8, 100.0)
  )
  angles = np.asarray(_positions())[:, :, None] / 100.0 ** (np.arange(4) / 4)
  assert turned.dtype == dtype
  first, second = np.split(np.asarray(x, np.float32), 2, axis=-1)
  plane = (first + 1j * second) * np.exp(1j * angles)[:, :, None]
  exact = np.concatenate([plane.real, plane.imag], axis=-1)
  one = float(jnp.finfo(dtype).eps)
  np.testing.assert_allclose(
    np.asarray(turned, np.float32), exact, rtol=one, atol=2e-6
  )


def test_each_axis_of_positions_turns_its_own_pairs():
  x = jax.random.normal(jax.random.PRNGKey(0), (2, S, 3, 8))
  cursor = 0.3 * _positions()
  both = transformer.rotary_turn([_positions(), cursor], 8, 100.0)
  turned = np.asarray(transformer.rotate(x, both))
  for pairs, axis in ((slice(0, 2), _positions()), (slice(2, 4), cursor)):
    mine = np.r_[pairs, slice(pairs.start + 4, pairs.stop + 4)]
    alone = transformer.rotary_turn([axis], 4, 100.0)
    close(turned[..., mine], transformer.rotate(x[..., mine], alone))


def test_heads_may_be_wider_than_their_share_of_the_width(x):
  config = dataclasses.replace(CONFIG, head_dim=6)
  stack = transformer.Stack(config)
  variables = jax.jit(stack.init, static_argnums=4)(
    jax.random.PRNGKey(1), x, _ones(), _positions(), 1
  )
  layer = variables["params"]["blocks"]["attention"]
  shapes = {name: layer[name]["kernel"].shape for name in "qkvo"}
  assert shapes == {
    "q": (2, 16, 24), "k": (2, 16, 12), "v": (2, 16, 12), "o": (2, 24, 16)
  }  # fmt: skip
  y = jax.jit(stack.apply, static_argnums=4)(
    variables, x, _ones(), _positions(), 1
  )
  assert y.shape == x.shape
  with pytest.raises(ValueError, match="3 pairs of a head .* 2 axes"):
    config.turn(_positions(), _positions())


@pytest.mark.parametrize(
  "remat, unroll", [("full", 1), ("attention", 1), ("dots", 2)]
)
def test_remat_and_unrolling_change_nothing(params, x, remat, unroll):
  def loss(p, remat, unroll=1):
    y = apply(p, x, _ones(), _positions(), 1, remat=remat, unroll=unroll)
    return jnp.sum(jnp.sin(y))

  value_and_grad = jax.jit(jax.value_and_grad(loss), static_argnums=(1, 2))
  plain = value_and_grad(params, "none")
  again = value_and_grad(params, remat, unroll)
  jax.tree.map(close, plain, again)


def test_zero_modulation_is_the_identity_and_modulation_acts(params, x):
  shape = (CONFIG.layers, 2, 6 * CONFIG.width)
  norm = transformer.RMSNorm().apply({"params": params["params"]["norm"]}, x)
  still = apply(params, x, _ones(), _positions(), None, jnp.zeros(shape))
  close(still, norm)
  # shift 0, scale 0, gate 1 is the plain block
  gates = jnp.zeros((6, CONFIG.width)).at[jnp.asarray([2, 5])].set(1)
  gates = jnp.broadcast_to(gates.reshape(1, 1, -1), shape)
  plain = apply(params, x, _ones(), _positions(), None)
  close(apply(params, x, _ones(), _positions(), None, gates), plain)


def test_bfloat16_products_keep_float32_parameters(params, x):
  stack = transformer.Stack(CONFIG, jnp.bfloat16)
  args = x.astype(jnp.bfloat16), _ones(), _positions(), 1
  variables = jax.jit(stack.init, static_argnums=4)(
    jax.random.PRNGKey(1), *args
  )
  assert all(v.dtype == jnp.float32 for v in jax.tree.leaves(variables))
  y = jax.jit(stack.apply, static_argnums=4)(params, *args)
  assert y.dtype == jnp.bfloat16
  close(y.astype(jnp.float32), apply(params, x, *args[1:]), 0.15)


@pytest.mark.parametrize(
  "fault",
  [
    {"heads": 3},
    {"kv_heads": 3},
    {"head_dim": 5},
    {"heads": 3, "kv_heads": 1, "head_dim": 0},
    {"remat": "some"},
    {"unroll": 3},
  ],
)
def test_impossible_configs_are_refused(fault):
  with pytest.raises(ValueError, match="multiple|remat|unroll"):
    dataclasses.replace(CONFIG, **fault)
