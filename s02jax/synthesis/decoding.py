"""Decoding of the AR Transformer with a key-value cache.

Shape letters: b batch, p prompt positions, n tokens, o speaker vector.
"""

import dataclasses
import functools

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from s02jax.models.ar import ARTransformer
from s02jax.models.transformer import Cache
from s02jax.synthesis.sampling import Sampling, recent, sample


@flax.struct.dataclass
class Generated:
  tokens: Int[Array, "b n"]  # codes after the prompt; 0 past the length
  length: Int[Array, "b"]  # codes, END not counted
  ended: Bool[Array, "b"]  # by END, not by a limit


@flax.struct.dataclass
class _Loop:
  step: Int[Array, ""]  # tokens decided so far
  tokens: Int[Array, "b n"]
  length: Int[Array, "b"]
  ended: Bool[Array, "b"]
  active: Bool[Array, "b"]
  logits: Float[Array, "b c"]  # of the next token
  cache: Cache


@functools.partial(jax.jit, static_argnames=("model", "max_tokens"))
def generate(
  model: ARTransformer,
  variables: dict,
  ids: Int[Array, "b p"],
  cursor: Float[Array, "b p"],
  lengths: Int[Array, "b"],
  rates: Float[Array, "b"],
  speakers: Float[Array, "b o"],
  seeds: Int[Array, "b"],
  sampling: Sampling,
  limits: Int[Array, "b"],
  min_tokens: Int[Array, ""] | int = 1,
  *,
  max_tokens: int,
) -> Generated:
  """Continues every prompt until END or its limit.

  A row's result depends on its own prompt, vector, seed and limit alone, up
  to the rounding of the products.

  Args:
    ids: prompts, padded on the right with anything.
    cursor: their cursors, see `s02jax.layout`.
    lengths: their true lengths, 1 to p.
    rates: what each token adds to a row's cursor.
    speakers: speaker vectors.
    seeds: one a row.
    sampling: settings, scalars or one value a row.
    limits: most tokens of each row, at most max_tokens.
    min_tokens: END is not drawn before so many tokens.
    max_tokens: n; sizes the cache.
  """
  cfg = model.config
  b, p = ids.shape
  # Prompts move to the right end, so that all rows share one cache slot a step.
  column = jnp.arange(p)[None, :] - (p - lengths)[:, None]
  position = jnp.maximum(column, 0)
  ids = jnp.take_along_axis(ids, position, axis=1)
  cursor = jnp.take_along_axis(cursor, position, axis=1)
  segment = (column >= 0).astype(jnp.int32)
  logits, cache = model.apply(
    variables,
    ids,
    segment,
    position,
    cursor,
    speakers[:, None],
    p + max_tokens,
    method="prefill",
  )
  keys = jax.vmap(jax.random.key)(seeds)
  is_end = (jnp.arange(cfg.num_codes + 1) == cfg.end)[None]

  def decide(loop: _Loop) -> _Loop:
    """Draws token number `step` of every active row."""
    early = (loop.step < min_tokens) & is_end
    repeated = recent(
      loop.tokens, loop.step, sampling.window, cfg.num_codes + 1
    )
    drawn = sample(
      jnp.where(early, -jnp.inf, loop.logits),
      jax.vmap(lambda key: jax.random.fold_in(key, loop.step))(keys),
      sampling,
      repeated & ~is_end,
    )
    speaks = loop.active & (drawn != cfg.end)
    code = jnp.where(speaks, drawn, 0)
    return dataclasses.replace(
      loop,
      step=loop.step + 1,
      tokens=loop.tokens.at[:, loop.step].set(code),
      length=loop.length + speaks,
      ended=loop.ended | (loop.active & (drawn == cfg.end)),
      active=speaks & (loop.length + 1 < limits),
    )

  def body(loop: _Loop) -> _Loop:
    """Feeds the last token, then decides the next."""
    code = loop.tokens[:, loop.step - 1]
    logits, cache = model.apply(
      variables,
      code,
      loop.active,
      lengths + loop.step - 1,
      cursor[:, -1] + loop.step * rates,
      loop.cache,
      method="decode_step",
    )
    return decide(dataclasses.replace(loop, logits=logits, cache=cache))

  loop = decide(
    _Loop(
      step=jnp.zeros((), jnp.int32),
      tokens=jnp.zeros((b, max_tokens), jnp.int32),
      length=jnp.zeros((b,), jnp.int32),
      ended=jnp.zeros((b,), bool),
      active=limits > 0,
      logits=logits,
      cache=cache,
    )
  )
  loop = jax.lax.while_loop(
    lambda loop: (loop.step < max_tokens) & loop.active.any(), body, loop
  )
  return Generated(tokens=loop.tokens, length=loop.length, ended=loop.ended)
