"""Losses shared by stages: weighted means, cross-entropy in chunks."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int


def weighted_mean(
  x: Float[Array, "b s"], weight: Float[Array, "b s"]
) -> Float[Array, ""]:
  """Weighted mean over all positions; 0 where no position has a weight."""
  total = jnp.sum(jnp.where(weight > 0, x * weight, 0.0))
  return total / jnp.maximum(weight.sum(), 1e-6)


def cross_entropy(
  head: Callable[[Array], Array],
  hidden: Float[Array, "b s d"],
  target: Int[Array, "b s"],
  chunk: int,
) -> tuple[Float[Array, "b s"], Bool[Array, "b s"]]:
  """Cross-entropy of each target in nats, and whether the target is likeliest.

  The logits of a row exist for at most `chunk` positions at once, and are
  computed again for the gradient. Chunk i consists of every n-th position from
  i on, so that a time axis split over devices stays split.

  Args:
    head: function from hidden states to float32 logits.
    hidden: hidden states.
    target: ids of the targets.
    chunk: most positions of a chunk; a shorter row is computed whole.
  """
  b, s, d = hidden.shape
  n = -(-s // chunk)
  while s % n:
    n += 1

  def part(x, labels):
    logits = head(x)
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return nats, jnp.argmax(logits, axis=-1) == labels

  if n == 1:
    return part(hidden, target)
  parts = (
    jnp.moveaxis(hidden.reshape(b, s // n, n, d), 2, 0),
    jnp.moveaxis(target.reshape(b, s // n, n), 2, 0),
  )
  done = jax.lax.map(lambda x: jax.checkpoint(part)(*x), parts)
  nats, hits = (jnp.moveaxis(x, 0, 2).reshape(b, s) for x in done)
  return nats, hits
