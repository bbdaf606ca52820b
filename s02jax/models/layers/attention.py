"""Attention under a mask of segments and blocks, by the fastest kernel.

Query i may see key j if

  segment_i = segment_j > 0 and position_j // block <= position_i // block  (1)

Segment 0 is padding. block = 1 is causal, None is full attention, anything
between is block-causal. The block may be known when the program is traced, or
be a number of run time.

On a TPU whole rows go through the splash kernel, which never holds the scores:
there position is the place in the row, so block > 1 needs rows of one segment.
On a GPU, products of 16 bits go through cuDNN, which never holds them either.
Elsewhere, and where a cache is read, the scores are dense products; those of
causal rows, of some queries at a time with the keys before them.

Shape letters:
  b batch    s queries    t keys    f features of a head
  h query heads    k key-value heads    g = h / k    q = g s queries of a group
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.experimental.pallas.ops.tpu import splash_attention as splash
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int

from s02jax import sharding

RESULT = "attention"  # name of the result, which `KEPT` keeps
QUERIES = 512  # queries of a causal row whose scores exist at once
# Unseen keys added to them: scores whose rows lie a power of two apart share
# few sets of a CPU's cache, and half of the backward pass takes twice as long.
APART = 16
LANES = 128  # divides the kernels' numbers of positions and features
HALVES = (jnp.bfloat16, jnp.float16)  # dtypes that cuDNN multiplies
# Numbers of queries and keys of a tile; the largest that divides the row.
TILES = (1024, 512, 256, 128)


# Positions of a block of equation 1; None is full attention.
BlockSize = int | Int[Array, ""] | None


@flax.struct.dataclass
class Mask:
  """Mask of equation 1: a dense table, or segments and the kernel's block."""

  dense: Bool[Array, "b s t"] | None = None  # query i sees key j
  # True where no query of `dense` sees a later key.
  causal: bool = flax.struct.field(pytree_node=False, default=False)
  segment: Int[Array, "b s"] | None = None  # for the kernel
  block: int | None = flax.struct.field(pytree_node=False, default=None)


def dense_mask(
  query_segment: Int[Array, "b s"],
  query_position: Int[Array, "b s"],
  key_segment: Int[Array, "b t"],
  key_position: Int[Array, "b t"],
  block: BlockSize,
) -> Mask:
  """Dense mask of equation 1 for any queries and keys."""
  query_segment, key_segment = query_segment[:, :, None], key_segment[:, None]
  mask = (query_segment == key_segment) & (key_segment > 0)
  if block is not None:
    mask &= (key_position // block)[:, None] <= (query_position // block)[
      :, :, None
    ]
  return Mask(dense=mask)


def row_mask(
  segment: Int[Array, "b s"],
  position: Int[Array, "b s"],
  block: BlockSize,
  features: int,
) -> Mask:
  """Mask of equation 1 for rows that attend to themselves.

  Where block is 1, positions must ascend within a segment: keys behind a query
  are not looked at.
  """
  known = block is None or isinstance(block, int)
  fits = segment.shape[1] % LANES == 0 and features % LANES == 0
  if not (known and fits and sharding.platform() == "tpu"):
    mask = dense_mask(segment, position, segment, position, block)
    causal = isinstance(block, int) and block == 1
    return Mask(dense=mask.dense, causal=causal)
  return Mask(segment=segment, block=block)


def attention(
  query: Float[Array, "b s h f"],
  key: Float[Array, "b t k f"],
  value: Float[Array, "b t k f"],
  mask: Mask,
) -> Float[Array, "b s h f"]:
  """Grouped-query attention with a float32 softmax.

  Queries that see nothing and keys that nobody sees may hold anything, NaN
  included: neither values nor gradients of other positions notice. A query
  that sees nothing yields zeros.
  """
  if mask.segment is not None:
    return kernel(query, key, value, mask.segment, mask.block)
  return _by_table(query, key, value, mask.dense, mask.causal)


def _by_table(query, key, value, mask, causal):
  sees, seen = (mask.any(axis)[:, :, None, None] for axis in (2, 1))
  query = jnp.where(sees, query, 0)
  key, value = jnp.where(seen, key, 0), jnp.where(seen, value, 0)
  if _cudnn_takes(query, key):
    return jnp.where(sees, _cudnn(query, key, value, mask, causal), 0)
  out = _dense(query, key, value, mask, causal)
  return checkpoint_name(jnp.where(sees, out, 0), RESULT)


def _dense(query, key, value, mask, causal):
  f, s = query.shape[3], query.shape[1]
  query = query * jnp.asarray(f**-0.5, query.dtype)
  whole = sharding.ways(sharding.axes("time", s)) == 1
  if not (causal and whole):
    return _scored(query, key, value, mask)
  apart = APART if s > QUERIES else 0
  key, value = (
    jnp.pad(x, ((0, 0), (0, apart), (0, 0), (0, 0))) for x in (key, value)
  )
  mask = jnp.pad(mask, ((0, 0), (0, 0), (0, apart)))
  parts = []
  for i in range(0, s, QUERIES):
    part, past = slice(i, i + QUERIES), slice(i + QUERIES + apart)
    parts.append(
      _scored(query[:, part], key[:, past], value[:, past], mask[:, part, past])
    )
  return jnp.concatenate(parts, axis=1)


def _scored(query, key, value, mask):
  b, s, h, f = query.shape
  k, g = key.shape[2], h // key.shape[2]
  # Heads of a group side by side: one product per key-value head.
  query = query.reshape(b, s, k, g, f).transpose(0, 2, 3, 1, 4)
  query = query.reshape(b, k, g * s, f)
  logits = jnp.einsum(
    "bkqf,btkf->bkqt", query, key, preferred_element_type=jnp.float32
  ).reshape(b, k, g, s, -1)
  logits = jnp.where(mask[:, None, None], logits, jnp.finfo(jnp.float32).min)
  # Divided by its sum after the product: scores are read and written less
  # often, in the backward pass above all.
  most = jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
  weights = jnp.exp(logits - most)
  total = weights.sum(axis=-1, keepdims=True)
  out = jnp.einsum(
    "bkqt,btkf->bkqf",
    weights.astype(value.dtype).reshape(b, k, g * s, -1),
    value,
    preferred_element_type=jnp.float32,
  ).reshape(b, k, g, s, f)
  out = (out / total).astype(value.dtype)
  return out.transpose(0, 3, 1, 2, 4).reshape(b, s, h, f)


def read(
  query: Float[Array, "b 1 h f"],
  key: Float[Array, "b k f t"],
  value: Float[Array, "b k t f"],
  seen: Int[Array, "b"],
) -> Float[Array, "b 1 h f"]:
  """Attends with one query a row to the first `seen` places of a cache.

  The last axis of key and value is that of each product's result, so that a CPU
  need not transpose them for every query. What is not seen must be finite: a
  mask over the cache would copy it.
  """
  b, _, h, f = query.shape
  k, t = value.shape[1:3]
  query = (query * jnp.asarray(f**-0.5, query.dtype)).reshape(b, k, h // k, f)
  logits = jnp.einsum(
    "bkgf,bkft->bkgt", query, key, preferred_element_type=jnp.float32
  )
  visible = jnp.arange(t)[None, None, None] < seen[:, None, None, None]
  logits = jnp.where(visible, logits, jnp.finfo(jnp.float32).min)
  weights = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
  out = jnp.einsum("bkgt,bktf->bkgf", weights, value)
  return out.reshape(b, 1, h, f)


# -------------------------------------------------------------------- cuDNN


def _cudnn_takes(query, key) -> bool:
  """True where cuDNN computes this attention, and its gradient right.

  Beyond 128 features it needs a Hopper. Where the last tile of keys was not
  full, gradients under a mask have been NaN (pytorch/pytorch#196678).
  """
  if sharding.platform() != "gpu" or query.dtype not in HALVES:
    return False
  s, t, f = query.shape[1], key.shape[1], query.shape[3]
  return s % LANES == 0 and t % LANES == 0 and f % 8 == 0 and f <= 128


def _cudnn(
  query: Float[Array, "b s h f"],
  key: Float[Array, "b t k f"],
  value: Float[Array, "b t k f"],
  mask: Bool[Array, "b s t"],
  causal: bool,
) -> Float[Array, "b s h f"]:
  """Runs cuDNN's attention on every device's rows, heads and queries.

  Equation 1 is a mask, one for all heads: offsets of segments, which cuDNN also
  takes, would need their greatest number when the program is traced, a Hopper,
  and jax 0.12, before which heads of a group read the wrong keys.
  """
  batch = sharding.axes("batch", query.shape[0])
  time = sharding.axes("time", query.shape[1] // LANES)
  heads = sharding.axes("heads", key.shape[2])
  # cuDNN takes a device's first query for the first of the row.
  causal = causal and sharding.ways(time) == 1

  def rows(query, key, value, mask):
    return jax.nn.dot_product_attention(
      query, key, value, mask=mask, is_causal=causal, implementation="cudnn"
    )

  split, whole = P(batch, time, heads), P(batch, None, heads)
  run = sharding.per_device(
    rows, lambda _: (split, whole, whole, P(batch, None, time)), split
  )
  # Of masked scores alone cuDNN's softmax, or its gradient, has been NaN.
  mask |= ~mask.any(2, keepdims=True)
  return run(query, key, value, mask[:, None])


def _of_cudnn(primitive, *_, **__) -> bool:
  return primitive.name == "dot_product_attention_fwd_wrapper"


# A policy of `jax.checkpoint`: no result is computed again. cuDNN's is kept
# without a name: none reaches the sums that its gradient needs as well.
KEPT = jax.checkpoint_policies.save_from_both_policies(
  jax.checkpoint_policies.save_only_these_names(RESULT), _of_cudnn
)


# ------------------------------------------------------------------- kernel


def kernel(
  query: Float[Array, "b s h f"],
  key: Float[Array, "b s k f"],
  value: Float[Array, "b s k f"],
  segment: Int[Array, "b s"],
  block: int | None,
  interpret: bool = False,
) -> Float[Array, "b s h f"]:
  """Runs the splash kernel on every device's rows, heads and queries.

  Where the time is split, a device computes its own queries and gathers the
  keys and values of the whole row.

  Args:
    query: queries; key and value below have the same positions.
    key: keys.
    value: values.
    segment: segments of equation 1, 0 is padding.
    block: block of equation 1.
    interpret: interpret the kernel, without a TPU.
  """
  f = query.shape[3]
  real = (segment > 0)[:, :, None, None]
  query = jnp.where(real, query, 0) * jnp.asarray(f**-0.5, query.dtype)
  key, value = jnp.where(real, key, 0), jnp.where(real, value, 0)
  query, key, value = (x.transpose(0, 2, 1, 3) for x in (query, key, value))
  out = _of_block(query, key, value, segment, block, interpret)
  return jnp.where(real, out.transpose(0, 2, 1, 3), 0)


def _of_block(
  query: Float[Array, "b h s f"],
  key: Float[Array, "b k s f"],
  value: Float[Array, "b k s f"],
  segment: Int[Array, "b s"],
  block: int | None,
  interpret: bool,
) -> Float[Array, "b h s f"]:
  b, h, s, _ = query.shape
  batch = sharding.axes("batch", b)
  heads = sharding.axes("heads", key.shape[1])
  time = sharding.axes("time", s // LANES)
  splash_kernel = _splash(
    s, h, block, sharding.ways(heads), sharding.ways(time), interpret
  )

  def rows(splash_kernel, query, key, value, mine, whole):
    ids = splash.SegmentIds

    def row(q, k, v, i, j):
      return splash_kernel(q, k, v, ids(q=i, kv=j))

    return jax.vmap(row)(query, key, value, mine, whole)

  split, whole = P(batch, heads, time), P(batch, heads)
  run = sharding.per_device(
    rows,
    lambda mesh: (
      splash_kernel.manual_sharding_spec(NamedSharding(mesh, P(heads, time))),
      split,
      whole,
      whole,
      P(batch, time),
      P(batch),
    ),
    split,
  )
  return run(splash_kernel, query, key, value, segment, segment)


def _splash(
  s: int,
  h: int,
  block: int | None,
  head_shards: int,
  time_shards: int,
  interpret: bool,
):
  """Splash kernel for rows of s positions and h heads."""
  if block == 1:
    mask = splash.CausalMask((s, s))
  elif block is None or block >= s:
    mask = splash.FullMask((s, s))
  else:
    order = np.arange(s) // block
    mask = splash.NumpyMask(order[None] <= order[:, None])
  tile = next(t for t in TILES if (s // time_shards) % t == 0)
  sizes = splash.BlockSizes(
    block_q=tile,
    block_kv=tile,
    block_q_dkv=tile,
    block_kv_dkv=tile,
    use_fused_bwd_kernel=True,
  )
  return splash.make_splash_mha(
    splash.MultiHeadMask([mask] * h),
    block_sizes=sizes,
    head_shards=head_shards,
    q_seq_shards=time_shards,
    residual_checkpoint_name=RESULT,
    interpret=interpret,
  )
