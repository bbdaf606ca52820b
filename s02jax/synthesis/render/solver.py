"""Euler solver of the flow-matching ODE, with classifier-free guidance.

  (1)  dx/dt = v(x, t),  x(0) ~ N(0, I),  x(1) = latents
  (2)  v = v_uncond + g · (v_cond − v_uncond)                 guidance g
  (3)  t(u) = u + s · (cos(π u / 2) − 1 + u)                  sway s
  (4)  x(t(u + 1/N)) = x(t(u)) + (t(u + 1/N) − t(u)) · v      N steps

With s = −1, (3) is 1 − cos(π u / 2): small steps near the noise, where the
velocity turns fastest; with s = 0 the steps are equal (Chen et al. 2024).

Shape letters: b batch, l latent frames, c latent channels.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

SWAY = -1.0

Velocity = Callable[
  [Float[Array, "b l c"], Float[Array, "b"]], Float[Array, "b l c"]
]


def time_of(u: Float[Array, "*b"], sway: Float[Array, ""] | float):
  """Time t(u) of equation 3: maps 0..1 onto itself for sway in −1..2 / π."""
  return u + sway * (jnp.cos(0.5 * jnp.pi * u) - 1.0 + u)


def guide(
  velocity: Callable[..., Float[Array, "2b l c"]],
  guidance: Float[Array, "*b"] | float,
) -> Velocity:
  """Guided velocity, equation 2, as one call of twice the batch.

  Args:
    velocity: (x [2b, l, c], t [2b], keep bool [2b]) -> [2b, l, c]; entries
      whose `keep` is False are computed with every condition dropped. The
      conditions it closes over hold the batch twice.
    guidance: g, one for all or one per batch entry; at 1 the result is exactly
      the conditional velocity.

  Returns:
    (x [b, l, c], t [b]) -> [b, l, c].
  """

  def guided(x, t):
    keep = jnp.repeat(jnp.array([True, False]), x.shape[0])
    both = velocity(jnp.concatenate([x, x]), jnp.concatenate([t, t]), keep)
    conditional, unconditional = jnp.split(both, 2)
    weight = jnp.broadcast_to(jnp.asarray(guidance) - 1.0, x.shape[:1])
    return conditional + weight[:, None, None] * (conditional - unconditional)

  return guided


def euler(
  velocity: Velocity,
  noise: Float[Array, "b l c"],
  steps: Int[Array, ""] | int,
  sway: Float[Array, ""] | float = SWAY,
) -> Float[Array, "b l c"]:
  """Integrates equation 1 from t = 0 to t = 1 by equation 4.

  `steps` and `sway` are run-time inputs: another count compiles nothing. The
  state is float32 throughout.
  """
  count = jnp.asarray(steps, jnp.float32)

  def step(i, x):
    now, then = (
      time_of(k.astype(jnp.float32) / count, sway) for k in (i, i + 1)
    )
    t = jnp.full(x.shape[:1], now)
    return x + (then - now) * velocity(x, t).astype(jnp.float32)

  return jax.lax.fori_loop(
    jnp.int32(0),
    jnp.asarray(steps, jnp.int32),
    step,
    noise.astype(jnp.float32),
  )


def start_noise(
  keys: Key[Array, "b"],
  first: Int[Array, "b"],
  frames: int,
  channels: int,
) -> Float[Array, "b l c"]:
  """Standard normal noise that depends on key and frame number only.

  So an utterance gets the same noise in any batch, chunk and under any padding:
  to the last bit where c is a multiple of 8, since a CPU may compute what does
  not fill its vectors by other instructions.

  Args:
    keys: one per batch entry.
    first: number of each entry's first frame.
    frames: l.
    channels: c.
  """

  def row(key, first):
    frame_keys = jax.vmap(jax.random.fold_in, (None, 0))(
      key, first + jnp.arange(frames)
    )
    return jax.vmap(lambda k: jax.random.normal(k, (channels,)))(frame_keys)

  return jax.vmap(row)(keys, first)


def follow(
  velocity: Velocity,
  noise: Float[Array, "b l c"],
  known: Float[Array, "b l c"],
  mask: Bool[Array, "b l"],
) -> Velocity:
  """Velocity of an x whose latents under `mask` are known beforehand.

  Under the mask x(t) = (1 − t) · noise + t · known, as in training, whatever
  the solver holds.
  """

  def known_too(x, t):
    line = (1.0 - t)[:, None, None] * noise + t[:, None, None] * known
    return velocity(jnp.where(mask[..., None], line, x), t)

  return known_too
