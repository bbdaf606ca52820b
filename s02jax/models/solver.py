"""Euler solver of the flow-matching ODE, with classifier-free guidance.

  (1)  dx/dt = v(x, t),  x(0) ~ N(0, I),  x(1) = latents
  (2)  v = v_uncond + g · (v_cond − v_uncond)                 guidance g
  (3)  t(u) = u + s · (cos(π u / 2) − 1 + u)                  sway s
  (4)  x(t(u + 1/N)) = x(t(u)) + (t(u + 1/N) − t(u)) · v      N steps

With s = −1, (3) is 1 − cos(π u / 2): small steps near the noise, where the
velocity turns fastest; with s = 0 the steps are equal (Chen et al. 2024).

A velocity is told the time that its step ends at: a model of mean velocities
answers with the mean until then, for which (4) is exact in any number of steps.

Shape letters: b batch, l latent frames, c latent channels.
"""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

SWAY = -1.0

# Velocity at x [b, l, c] and time t [b], of a step that ends at time [b].
Velocity = Callable[
  [Float[Array, "b l c"], Float[Array, "b"], Float[Array, "b"]],
  Float[Array, "b l c"],
]


def time_of(u: Float[Array, "*b"], sway: Float[Array, ""] | float):
  """Time t(u) of equation 3: maps 0..1 onto itself for sway in −1..2 / π."""
  return u + sway * (jnp.cos(0.5 * jnp.pi * u) - 1.0 + u)


def next_time(
  t: Float[Array, "*b"], steps: int, sway: float = SWAY
) -> Float[Array, "*b"]:
  """Time at which a step of N that begins at time t would end, at most 1."""
  if sway == 0:
    return jnp.minimum(t + 1 / steps, 1.0)
  if sway != -1:
    raise ValueError(f"sway is {sway}; (3) is inverted for 0 and -1 only")
  u = jnp.arccos(jnp.clip(1 - t, -1.0, 1.0)) / (0.5 * jnp.pi)
  return jnp.clip(time_of(jnp.minimum(u + 1 / steps, 1.0), sway), t, 1.0)


def guide(
  velocity: Callable[..., Float[Array, "2b l c"]],
  guidance: Float[Array, "*b"] | float,
) -> Velocity:
  """Guided velocity, equation 2, as one call of twice the batch.

  Args:
    velocity: (x [2b, l, c], t [2b], end [2b], keep bool [2b]) -> [2b, l, c];
      entries whose `keep` is False are computed with every condition dropped.
      The conditions it closes over hold the batch twice.
    guidance: g, one for all or one per batch entry; at 1 the result is exactly
      the conditional velocity.

  Returns:
    (x [b, l, c], t [b], end [b]) -> [b, l, c].
  """

  def guided(x, t, end):
    keep = jnp.repeat(jnp.array([True, False]), x.shape[0])
    twice = (jnp.concatenate([y, y]) for y in (x, t, end))
    both = velocity(*twice, keep)
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
    t, end = (jnp.full(x.shape[:1], time) for time in (now, then))
    return x + (then - now) * velocity(x, t, end).astype(jnp.float32)

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

  def known_too(x, t, end):
    line = (1.0 - t)[:, None, None] * noise + t[:, None, None] * known
    return velocity(jnp.where(mask[..., None], line, x), t, end)

  return known_too


def path(
  model: Callable[..., Float[Array, "n l c"]],
  conditions: Mapping[str, Array],
  noise: Float[Array, "b l c"],
  guidance: Float[Array, "*b"] | float | None,
) -> Velocity:
  """Velocity of a model under conditions, which `euler` follows.

  Args:
    model: (x, t, end, keep, **conditions) -> velocity, of any number n of
      entries: twice the batch where it is guided.
    conditions: arrays [b, …] that the model takes by name; `prompt` and
      `prompt_mask` are the latents that are known beforehand.
    noise: x(0).
    guidance: g of equation 2; None for a model that was trained to need none,
      which is then computed once instead of twice.
  """
  if guidance is None:

    def velocity(x, t, end):
      keep = jnp.ones(x.shape[:1], bool)
      return model(x, t, end, keep, **conditions)

  else:
    twice = {k: jnp.concatenate([x, x]) for k, x in conditions.items()}
    velocity = guide(functools.partial(model, **twice), guidance)
  return follow(
    velocity, noise, conditions["prompt"], conditions["prompt_mask"]
  )
