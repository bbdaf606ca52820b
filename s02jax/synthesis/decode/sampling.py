"""Drawing the next token; every setting is a run-time input.

In this order: repetition penalty, temperature, top-k, top-p, Gumbel-max.
A row draws from its own key, so its result does not depend on the other rows.

Shape letters: b batch, c classes.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from s02jax.synthesis.decode.cache import Sampling


def _column(value, b: int) -> Array:
  return jnp.broadcast_to(jnp.asarray(value), (b,))[:, None]


def penalise(
  logits: Float[Array, "b c"],
  repeated: Bool[Array, "b c"],
  penalty: Float[Array, "*b"] | float,
) -> Float[Array, "b c"]:
  """Divides positive and multiplies negative logits of repeated classes."""
  penalty = _column(penalty, logits.shape[0])
  lowered = jnp.where(logits > 0, logits / penalty, logits * penalty)
  return jnp.where(repeated, lowered, logits)


def restrict(
  logits: Float[Array, "b c"],
  top_k: Int[Array, "*b"] | int,
  top_p: Float[Array, "*b"] | float,
) -> Float[Array, "b c"]:
  """-inf outside of the top_k classes, then outside of the top_p mass.

  Keeps the fewest classes whose probability reaches top_p, at least one.
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
  repeated: Bool[Array, "b c"],
) -> Int[Array, "b"]:
  """Draws one class per row.

  Args:
    logits: float32; -inf forbids a class.
    keys: b keys, one per row.
    sampling: the settings.
    repeated: classes that the repetition penalty is for.
  """
  b, c = logits.shape
  logits = penalise(logits, repeated, sampling.repetition_penalty)
  temperature = _column(sampling.temperature, b)
  scaled = logits / jnp.maximum(temperature, 1e-6)
  top_k, top_p = jnp.asarray(sampling.top_k), jnp.asarray(sampling.top_p)
  scaled = jax.lax.cond(
    jnp.any(top_k > 0) | jnp.any(top_p < 1),
    lambda x: restrict(x, top_k, top_p),  # which sorts
    lambda x: x,
    scaled,
  )
  noise = jax.vmap(lambda key: jax.random.gumbel(key, (c,)))(keys)
  drawn = jnp.argmax(scaled + noise, axis=-1)
  likeliest = jnp.argmax(logits, axis=-1)
  return jnp.where(temperature[:, 0] > 0, drawn, likeliest).astype(jnp.int32)
