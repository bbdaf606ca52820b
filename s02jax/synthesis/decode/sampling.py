"""Sampling of the next token; every setting is a run-time input.

Steps in this order: repetition penalty, temperature, top-k, top-p, Gumbel-max.
A token that makes up too large a share of the last ones is drawn again, once,
from all classes: repetition-aware sampling (VALL-E 2, arXiv 2406.05370). Each
batch entry draws from its own key, so its result does not depend on the others.

Shape letters: b batch, c classes, w window.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from s02jax.synthesis.decode.cache import Sampling


def _column(value, b: int) -> Array:
  """Settings [b, 1] from one value or one per batch entry."""
  return jnp.broadcast_to(jnp.asarray(value), (b,))[:, None]


def penalise(
  logits: Float[Array, "b c"],
  repeated: Bool[Array, "b c"],
  penalty: Float[Array, "*b"] | float,
) -> Float[Array, "b c"]:
  """Lowers logits of repeated classes: positive ones / penalty, others ·."""
  penalty = _column(penalty, logits.shape[0])
  lowered = jnp.where(logits > 0, logits / penalty, logits * penalty)
  return jnp.where(repeated, lowered, logits)


def restrict(
  logits: Float[Array, "b c"],
  top_k: Int[Array, "*b"] | int,
  top_p: Float[Array, "*b"] | float,
) -> Float[Array, "b c"]:
  """Masks logits with -inf outside of top_k, then of the top_p mass.

  It keeps the fewest classes whose probability reaches top_p, at least one.
  """
  b, c = logits.shape
  order = jnp.argsort(-logits, axis=-1, stable=True)
  ranked = jnp.take_along_axis(logits, order, axis=-1)
  top_k = _column(top_k, b)
  within = jnp.arange(c)[None, :] < jnp.where(top_k > 0, top_k, c)
  mass = jax.nn.softmax(jnp.where(within, ranked, -jnp.inf), axis=-1)
  before = jnp.cumsum(mass, axis=-1) - mass
  top_p = _column(top_p, b)
  # a top_p of 1 keeps all, whatever the sum of the masses rounds to
  within &= (before < top_p) | (top_p >= 1)
  within = within.at[:, 0].set(True)
  rows = jnp.arange(b)[:, None]
  keep = jnp.zeros((b, c), bool).at[rows, order].set(within)
  return jnp.where(keep, logits, -jnp.inf)


def sample(
  logits: Float[Array, "b c"],
  keys: Array,
  sampling: Sampling,
  history: Int[Array, "b w"],
) -> Int[Array, "b"]:
  """Draws one class per batch entry.

  Args:
    logits: float32; -inf forbids a class.
    keys: b random keys, one per batch entry.
    sampling: one value for all, or one per batch entry.
    history: the last classes, newest last; below 0 is none.
  """
  b, c = logits.shape
  repeated = (history[:, :, None] == jnp.arange(c)[None, None]).any(1)
  logits = penalise(logits, repeated, sampling.repetition_penalty)
  temperature = _column(sampling.temperature, b)
  scaled = logits / jnp.maximum(temperature, 1e-6)
  top_k, top_p = jnp.asarray(sampling.top_k), jnp.asarray(sampling.top_p)
  likely = jax.lax.cond(
    jnp.any(top_k > 0) | jnp.any(top_p < 1),
    lambda x: restrict(x, top_k, top_p),  # which sorts
    lambda x: x,
    scaled,
  )
  drawn = _draw(likely, keys)
  too_often = _share(drawn, history, sampling.repetition_window) > _column(
    sampling.repetition_share, b
  )
  drawn = jax.lax.cond(
    jnp.any(too_often),
    lambda: jnp.where(
      too_often[:, 0],
      _draw(scaled, jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)),
      drawn,
    ),
    lambda: drawn,
  )
  likeliest = jnp.argmax(logits, axis=-1)
  return jnp.where(temperature[:, 0] > 0, drawn, likeliest).astype(jnp.int32)


def _draw(logits: Float[Array, "b c"], keys: Array) -> Int[Array, "b"]:
  """Draws a class of every row, each with its own key."""
  c = logits.shape[1]
  noise = jax.vmap(lambda key: jax.random.gumbel(key, (c,)))(keys)
  return jnp.argmax(logits + noise, axis=-1)


def _share(
  drawn: Int[Array, "b"],
  history: Int[Array, "b w"],
  window: Int[Array, "*b"] | int,
) -> Float[Array, "b 1"]:
  """Share of the last `window` classes that equal the drawn one."""
  b, w = history.shape
  window = _column(window, b)
  recent = jnp.arange(w)[None] >= w - window
  same = (history == drawn[:, None]) & recent
  return same.sum(1, keepdims=True) / jnp.maximum(window, 1)
