"""Attention: the kernel of TPUs equals the dense product, and both the formula.

The kernel runs here by its interpreter, on one device and split over eight.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s02jax import sharding
from s02jax.models import attention as at

S, F = 256, 128


def close(a, b, tolerance=2e-5):
  np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance)


def inputs(b=2, s=S, h=4, k=2, f=F):
  keys = jax.random.split(jax.random.PRNGKey(0), 3)
  shapes = (b, s, h, f), (b, s, k, f), (b, s, k, f)
  return tuple(
    jax.random.normal(key, shape)
    for key, shape in zip(keys, shapes, strict=True)
  )


def packed(s=S):
  """Two rows: three segments and padding; one segment and padding."""
  lengths = [s // 4, s // 8, s // 2], [s - 17]
  segment, position = np.zeros((2, 2, s), np.int32)
  for row, parts in enumerate(lengths):
    ends = np.cumsum(parts)
    for number, (n, end) in enumerate(zip(parts, ends, strict=True)):
      segment[row, end - n : end] = number + 1
      position[row, end - n : end] = np.arange(n)
  return jnp.asarray(segment), jnp.asarray(position)


def alone(s=S):
  """One segment a row."""
  segment = np.ones((2, s), np.int32)
  segment[0, s - 40 :] = 0
  position = np.tile(np.arange(s), (2, 1))
  return jnp.asarray(segment), jnp.asarray(position)


def value_and_grad(function, *arguments):
  """Of a loss over the outputs."""

  def loss(*arguments):
    out = function(*arguments)
    return jnp.sum(jnp.sin(out)), out

  grads, out = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*arguments)
  return out, grads


def dense(segment, position, block):
  mask = at.dense_mask(segment, position, segment, position, block)
  return functools.partial(at.attention, mask=mask)


@pytest.mark.parametrize(
  ("rows", "block"), [(packed, 1), (packed, None), (alone, 50), (alone, 1)]
)
def test_kernel_equals_the_dense_product(rows, block):
  segment, position = rows()
  kernel = functools.partial(
    at.kernel, segment=segment, blocks=(block,), interpret=True
  )
  plain = value_and_grad(dense(segment, position, block), *inputs())
  jax.tree.map(close, value_and_grad(kernel, *inputs()), plain)


@pytest.mark.parametrize(
  "sizes",
  [dict(data=2, tensor=2, sequence=2), dict(fsdp=2, sequence=2, tensor=2)],
)
def test_split_kernel_equals_one_device(sizes):
  segment, position = packed()
  mesh = sharding.make_mesh(sizes)
  kernel = functools.partial(
    at.kernel, segment=segment, blocks=(1,), interpret=True
  )
  with jax.set_mesh(mesh):
    split = value_and_grad(kernel, *inputs())
  plain = value_and_grad(dense(segment, position, 1), *inputs())
  jax.tree.map(close, split, plain)


@pytest.mark.parametrize("queries", [64, 96])
def test_causal_rows_by_parts_are_the_whole(queries, monkeypatch):
  """Also where the last part is shorter."""
  monkeypatch.setattr(at, "QUERIES", queries)
  segment, position = packed()
  mask = at.row_mask(segment, position, 1, F)
  assert mask.causal and not at.row_mask(segment, position, None, F).causal
  parts = value_and_grad(functools.partial(at.attention, mask=mask), *inputs())
  whole = value_and_grad(dense(segment, position, 1), *inputs())
  jax.tree.map(close, parts, whole)


def test_either_block_is_the_one_chosen():
  segment, position = alone(32)
  x = inputs(s=32, f=8)
  for choice, block in ((False, None), (True, 5)):
    either = at.Either(jnp.asarray(choice), first=None, second=5)
    np.testing.assert_array_equal(
      dense(segment, position, either)(*x), dense(segment, position, block)(*x)
    )


@pytest.mark.parametrize("choice", [False, True])
def test_kernel_of_two_blocks_is_that_of_the_chosen(choice):
  segment, position = alone()
  either = functools.partial(
    at.kernel,
    segment=segment,
    blocks=(None, 50),
    choice=jnp.asarray(choice),
    interpret=True,
  )
  plain = value_and_grad(
    dense(segment, position, 50 if choice else None), *inputs()
  )
  jax.tree.map(close, value_and_grad(either, *inputs()), plain)


@pytest.mark.parametrize("way", ["dense", "kernel"])
def test_nan_queries_keys_and_values_reach_nothing(way):
  segment, position = packed()
  if way == "kernel":
    run = functools.partial(
      at.kernel, segment=segment, blocks=(1,), interpret=True
    )
  else:
    run = dense(segment, position, 1)
  real = segment[:, :, None, None] > 0
  dirty = tuple(jnp.where(real, x, jnp.nan) for x in inputs())
  clean = value_and_grad(run, *(jnp.where(real, x, 0) for x in inputs()))
  jax.tree.map(
    np.testing.assert_array_equal, value_and_grad(run, *dirty), clean
  )


def test_attention_equals_plain_heads_in_numpy():
  s = 12
  rng = np.random.default_rng(0)
  q = rng.normal(size=(1, s, 4, 6)).astype(np.float32)
  k, v = rng.normal(size=(2, 1, s, 2, 6)).astype(np.float32)
  table = np.tril(np.ones((1, s, s), bool))
  y = at.attention(*map(jnp.asarray, (q, k, v)), at.Mask(jnp.asarray(table)))
  for h in range(4):
    logits = q[0, :, h] @ k[0, :, h // 2].T / np.sqrt(6)
    weights = np.exp(np.where(table[0], logits, -np.inf))
    weights /= weights.sum(-1, keepdims=True)
    close(y[0, :, h], weights @ v[0, :, h // 2])
