"""Attention: the kernel of TPUs equals the dense product, and both the formula.

The kernel runs here by its interpreter, on one device and split over eight. Of
the way through cuDNN, all but cuDNN runs here, JAX's own product in its place;
and the program for CUDA is read.
"""

import contextlib
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.pallas.mosaic.interpret import interpret_pallas_call
from jax.experimental.pallas import tpu as pltpu

from s02jax import sharding
from s02jax.models.layers import attention

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
  """Segments and positions of rows of one segment."""
  segment = np.ones((2, s), np.int32)
  segment[0, s - 40 :] = 0
  position = np.tile(np.arange(s), (2, 1))
  return jnp.asarray(segment), jnp.asarray(position)


def value_and_grad(function, *arguments):
  """Value and gradients of a loss over the outputs."""

  def loss(*arguments):
    out = function(*arguments)
    return jnp.sum(jnp.sin(out)), out

  grads, out = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*arguments)
  return out, grads


def dense(segment, position, block):
  mask = attention.dense_mask(segment, position, segment, position, block)
  return functools.partial(attention.attention, mask=mask)


@pytest.mark.parametrize(
  ("rows", "block"), [(packed, 1), (packed, None), (alone, 50), (alone, 1)]
)
def test_kernel_equals_the_dense_product(rows, block):
  segment, position = rows()
  kernel = functools.partial(
    attention.kernel, segment=segment, block=block, interpret=True
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
    attention.kernel, segment=segment, block=1, interpret=True
  )
  with jax.set_mesh(mesh):
    split = value_and_grad(kernel, *inputs())
  plain = value_and_grad(dense(segment, position, 1), *inputs())
  jax.tree.map(close, split, plain)


@pytest.mark.parametrize("queries", [64, 96])
def test_causal_rows_by_parts_are_the_whole(queries, monkeypatch):
  """Parts of a causal row give the whole, with a shorter last part too."""
  monkeypatch.setattr(attention, "QUERIES", queries)
  segment, position = packed()
  mask = attention.row_mask(segment, position, 1, F)
  assert (
    mask.causal and not attention.row_mask(segment, position, None, F).causal
  )
  parts = value_and_grad(
    functools.partial(attention.attention, mask=mask), *inputs()
  )
  whole = value_and_grad(dense(segment, position, 1), *inputs())
  jax.tree.map(close, parts, whole)


@pytest.mark.parametrize("way", ["dense", "kernel", "cudnn"])
def test_nan_queries_keys_and_values_reach_nothing(way, request):
  segment, position = packed()
  asked = request.getfixturevalue("stand_in") if way == "cudnn" else []
  if way == "kernel":
    run = functools.partial(
      attention.kernel, segment=segment, block=1, interpret=True
    )
  else:
    run = dense(segment, position, 1)
  real = segment[:, :, None, None] > 0
  dirty = tuple(jnp.where(real, x, jnp.nan) for x in inputs())
  clean = value_and_grad(run, *(jnp.where(real, x, 0) for x in inputs()))
  jax.tree.map(
    np.testing.assert_array_equal, value_and_grad(run, *dirty), clean
  )
  assert bool(asked) == (way == "cudnn")


def test_attention_equals_plain_heads_in_numpy():
  s = 12
  rng = np.random.default_rng(0)
  q = rng.normal(size=(1, s, 4, 6)).astype(np.float32)
  k, v = rng.normal(size=(2, 1, s, 2, 6)).astype(np.float32)
  table = np.tril(np.ones((1, s, s), bool))
  y = attention.attention(
    *map(jnp.asarray, (q, k, v)), attention.Mask(jnp.asarray(table))
  )
  for h in range(4):
    logits = q[0, :, h] @ k[0, :, h // 2].T / np.sqrt(6)
    weights = np.exp(np.where(table[0], logits, -np.inf))
    weights /= weights.sum(-1, keepdims=True)
    close(y[0, :, h], weights @ v[0, :, h // 2])


# -------------------------------------------------------------------- cuDNN

SPLIT = dict(data=2, sequence=2, tensor=2)
MASKS = [
  (packed, 1),
  (packed, None),
  (alone, 50),
]


@pytest.fixture
def gpu(monkeypatch):
  """Traces functions as on a GPU that has a cuDNN."""
  monkeypatch.setattr(sharding, "platform", lambda: "gpu")
  monkeypatch.setattr(
    "jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version",
    lambda: 9_10_00,
  )


@pytest.fixture
def stand_in(gpu, monkeypatch):
  """Computes cuDNN's attention by JAX's own product, in float32."""
  asked, product = [], jax.nn.dot_product_attention

  def run(*args, implementation, **options):
    assert implementation == "cudnn"
    asked.append(options)
    return product(*args, implementation="xla", **options)

  monkeypatch.setattr(attention, "HALVES", (jnp.float32,))
  monkeypatch.setattr(jax.nn, "dot_product_attention", run)
  return asked


def meshed(sizes):
  if sizes is None:
    return contextlib.nullcontext()
  return jax.set_mesh(sharding.make_mesh(sizes))


def of_rows(segment, position, block):
  """Attention of rows to themselves."""

  def run(query, key, value):
    mask = attention.row_mask(segment, position, block, query.shape[3])
    return attention.attention(query, key, value, mask)

  return run


def formula(segment, position, block):
  """Dense attention by equation 1 and a softmax, to compare with."""
  place = position // (block or 10**6)
  table = (segment[:, :, None] == segment[:, None]) & (segment[:, None] > 0)
  table &= place[:, None] <= place[:, :, None]
  table = table[:, None]

  def run(query, key, value):
    groups = query.shape[2] // key.shape[2]
    key, value = (jnp.repeat(x, groups, axis=2) for x in (key, value))
    logits = jnp.einsum("bshf,bthf->bhst", query, key) / query.shape[3] ** 0.5
    weights = jnp.where(table, jnp.exp(logits), 0)
    weights /= jnp.maximum(weights.sum(-1, keepdims=True), 1e-30)
    return jnp.einsum("bhst,bthf->bshf", weights, value)

  return run


@pytest.mark.parametrize("sizes", [None, SPLIT])
@pytest.mark.parametrize(("rows", "block"), MASKS)
def test_what_surrounds_cudnn_equals_the_formula(rows, block, sizes, stand_in):
  arguments = (*rows(), block)
  with meshed(sizes):
    fused = value_and_grad(of_rows(*arguments), *inputs(f=64))
  assert [x["is_causal"] for x in stand_in] == [block == 1 and sizes is None]
  plain = value_and_grad(formula(*arguments), *inputs(f=64))
  jax.tree.map(close, fused, plain)


def test_cudnn_is_given_no_query_that_sees_nothing(stand_in):
  of_rows(*packed(), None)(*inputs(f=64))
  (asked,) = stand_in
  assert asked["mask"].shape == (2, 1, S, S)  # one for all heads
  assert asked["mask"].any(-1).all()


def shapes(dtype, **sizes):
  made = jax.eval_shape(functools.partial(inputs, **sizes))
  return [x.update(dtype=dtype) for x in made]


def for_cuda(function, sizes):
  """Lowered value and gradients of attention, in bfloat16."""

  def loss(*arguments):
    return jnp.sum(jnp.sin(function(*arguments)).astype(jnp.float32))

  with meshed(sizes):
    program = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
    traced = program.trace(*shapes(jnp.bfloat16, f=64))
    return traced.lower(lowering_platforms=("cuda",)).as_text()


def calls(program):
  """Numbers of results and of gradients that cuDNN computes."""
  names = re.findall(r"custom_call @__cudnn\$fmha(\w+)\(", program)
  forward = [name for name in names if not name.endswith("Backward")]
  return len(forward), len(names) - len(forward)


@pytest.mark.parametrize("sizes", [None, SPLIT])
@pytest.mark.parametrize(("rows", "block"), MASKS)
def test_on_cuda_every_product_is_cudnns(rows, block, sizes, gpu):
  program = for_cuda(of_rows(*rows(), block), sizes)
  assert calls(program) == (1, 1)
  assert "dot_general" not in program
  b, h, s = (2, 4, S) if sizes is None else (1, 2, S // 2)
  assert f"tensor<{b}x1x{s}x{S}xbf16>" in program  # the mask of all heads
  assert f"x{h}x{s}x{S}x" not in program  # no head's scores
  kinds = set(re.findall("NO_MASK|[A-Z_]*CAUSAL|PADDING", program))
  assert kinds == {"CAUSAL" if block == 1 and sizes is None else "NO_MASK"}


@pytest.mark.parametrize("sizes", [None, SPLIT])
def test_kept_results_of_cudnn_are_not_computed_again(sizes, gpu):
  def again(policy):
    run = of_rows(*packed(), 1)
    return calls(for_cuda(jax.checkpoint(run, policy=policy), sizes))

  assert again(attention.KEPT) == (1, 1)
  assert again(jax.checkpoint_policies.nothing_saveable) == (2, 1)


@pytest.mark.parametrize(
  ("s", "f", "dtype"),
  [
    (S, 64, jnp.float32),
    (S + 64, 64, jnp.bfloat16),
    (S, 60, jnp.bfloat16),
    (S, 256, jnp.bfloat16),
  ],
)
def test_what_cudnn_does_not_take_is_a_dense_product(s, f, dtype, gpu):
  run = of_rows(*packed(s), 1)
  program = str(jax.make_jaxpr(run)(*shapes(dtype, s=s, f=f)))
  assert "dot_general" in program and "dot_product_attention" not in program


@pytest.mark.parametrize("block", [1, None])
def test_the_kernel_has_no_races(block):
  """The TPU's own interpreter sees no value read or written out of turn.

  It takes no batches: the kernel runs here as `vmap` has it for each row.
  """
  segment, position = packed()
  one = slice(0, 1)
  interpret = pltpu.InterpretParams(detect_races=True)

  def row(query, key, value):
    run = attention._splash(S, query.shape[2], block, 1, 1, interpret)
    scaled = query * jnp.asarray(F**-0.5, query.dtype)
    ids = attention.splash.SegmentIds(q=segment[0], kv=segment[0])
    heads = (x[0].transpose(1, 0, 2) for x in (scaled, key, value))
    out = run(*heads, ids).transpose(1, 0, 2)[None]
    return jnp.where((segment[one] > 0)[:, :, None, None], out, 0)

  arguments = tuple(x[one] for x in inputs())
  plain = value_and_grad(dense(segment[one], position[one], block), *arguments)
  jax.tree.map(close, value_and_grad(row, *arguments), plain)
  assert not interpret_pallas_call.races.races_found
