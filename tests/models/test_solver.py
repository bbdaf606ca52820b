"""ODE solver, against solutions in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s02jax.models import solver

NOISE = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)
TARGET = np.random.default_rng(1).normal(size=(3, 5, 2)).astype(np.float32)


def towards_target(x, t, end=None):
  """Velocity of the straight path from any x to TARGET."""
  del end
  return (TARGET - x) / (1 - t)[:, None, None]


@pytest.mark.parametrize("steps", [1, 2, 7, 32])
@pytest.mark.parametrize("sway", [0.0, -1.0])
def test_straight_paths_are_exact_in_any_number_of_steps(steps, sway):
  x = solver.euler(towards_target, NOISE, steps, sway)
  np.testing.assert_allclose(x, TARGET, atol=1e-5)


@pytest.mark.parametrize("sway", [0.0, -1.0])
def test_converges_to_the_exponential_at_first_order(sway):
  def error(steps):
    x = solver.euler(lambda x, t, end: -x, NOISE, steps, sway)
    return float(jnp.abs(x - NOISE * np.exp(-1.0)).max())

  assert error(256) < 0.005
  assert error(64) / error(128) == pytest.approx(2, rel=0.1)


def test_equal_steps_are_the_recurrence_itself():
  x = solver.euler(lambda x, t, end: x * t[:, None, None], NOISE, 4, sway=0.0)
  expected = NOISE * np.prod([1 + 0.25 * k / 4 for k in range(4)])
  np.testing.assert_allclose(x, expected, rtol=1e-6)


def test_the_number_of_steps_compiles_nothing():
  traced = []

  @jax.jit
  def run(n):
    traced.append(n)
    return solver.euler(towards_target, jnp.asarray(NOISE), n)

  for steps in (1, 5, 50):
    np.testing.assert_allclose(run(np.int32(steps)), TARGET, atol=1e-5)
  assert len(traced) == 1


@pytest.mark.parametrize("sway", [0.0, -1.0, 0.5])
def test_times_run_from_zero_to_one(sway):
  times = np.array(solver.time_of(jnp.linspace(0, 1, 33), sway))
  np.testing.assert_allclose(times[[0, -1]], [0, 1], atol=1e-6)
  assert (np.diff(times) > 0).all()


def test_sway_of_minus_one_is_the_cosine():
  u = jnp.linspace(0, 1, 33)
  expected = 1 - np.cos(np.pi * np.array(u) / 2)
  np.testing.assert_allclose(solver.time_of(u, -1.0), expected, atol=1e-6)


def model(x, t, end, keep):
  """Velocity whose condition adds TARGET."""
  del end
  target = np.concatenate([TARGET, TARGET])
  return x * t[:, None, None] + jnp.where(keep[:, None, None], target, 0)


def test_guidance_of_one_is_the_condition_alone():
  t = jnp.full(3, 0.3)
  guided = solver.guide(model, 1.0)(jnp.asarray(NOISE), t, t)
  alone = model(
    np.concatenate([NOISE, NOISE]), jnp.full(6, 0.3), None, np.ones(6, bool)
  )
  np.testing.assert_array_equal(guided, alone[:3])


@pytest.mark.parametrize("guidance", [0.0, 2.0, 3.5])
def test_guidance_is_linear_in_the_condition(guidance):
  t = jnp.full(3, 0.3)
  guided = solver.guide(model, guidance)(jnp.asarray(NOISE), t, t)
  np.testing.assert_allclose(
    guided, NOISE * np.float32(0.3) + guidance * TARGET, atol=1e-5
  )


def test_known_latents_follow_their_line():
  mask = np.zeros((3, 5), bool)
  mask[:, :2] = True
  seen = []

  def velocity(x, t, end):
    del end
    seen.append((np.array(x), float(t[0])))
    return jnp.full_like(x, 9.0)

  path = solver.follow(velocity, NOISE, TARGET, mask)
  for t in (0.0, 0.25, 0.75):
    path(jnp.full_like(NOISE, 7.0), jnp.full(3, t), jnp.ones(3))
  for x, t in seen:
    line = (1 - t) * NOISE + t * TARGET
    np.testing.assert_allclose(x[mask], line[mask], rtol=1e-5, atol=1e-6)
    assert (x[~mask] == 7.0).all()


@pytest.mark.parametrize(("channels", "ulps"), [(3, 1), (16, 0), (64, 0)])
def test_noise_is_a_function_of_key_and_frame(channels, ulps):
  """Equality is exact for the channels of every config, multiples of 16."""
  keys = jax.vmap(jax.random.key)(np.arange(4))
  none = np.zeros(4, np.int32)
  noise = np.array(solver.start_noise(keys, none, 12, channels))
  alone = np.array(solver.start_noise(keys[2:3], none[:1], 40, channels))
  later = np.array(
    solver.start_noise(keys, np.array([0, 3, 7, 9]), 5, channels)
  )
  np.testing.assert_array_max_ulp(noise[2], alone[0, :12], ulps)
  np.testing.assert_array_max_ulp(later[2], alone[0, 7:12], ulps)


def test_noise_is_normal_and_never_the_same():
  keys = jax.vmap(jax.random.key)(np.arange(4))
  none = np.zeros(4, np.int32)
  noise = np.array(solver.start_noise(keys, none, 12, 3))
  assert len(np.unique(noise)) == noise.size
  many = np.array(solver.start_noise(keys, none, 4000, 3))
  assert abs(many.mean()) < 0.02
  assert many.std() == pytest.approx(1, abs=0.02)
