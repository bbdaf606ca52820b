"""Updates of a training state: skipping, averaging, accumulating, warm-up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s02jax.stages.train_state import (
  OptimizerConfig,
  TrainState,
  accumulate,
  ema_update,
  make_optimizer,
  schedule,
  skipped_steps,
  step_key,
  update,
)

CONFIG = OptimizerConfig(learning_rate=0.1, warmup=0, weight_decay=0.1)
OPTIMIZER = make_optimizer(CONFIG, 100)


def params():
  """Parameters of ones: a matrix and a vector."""
  return {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}


def state() -> TrainState:
  """State before the first step."""
  return TrainState.create(params(), OPTIMIZER)


def equal(a, b) -> bool:
  """Whether two trees have equal leaves."""
  same = jax.tree.map(lambda x, y: bool(jnp.array_equal(x, y)), a, b)
  return all(jax.tree.leaves(same))


def test_average_is_a_copy():
  made = jax.jit(state)()
  for p, e in zip(
    jax.tree.leaves(made.params), jax.tree.leaves(made.ema), strict=True
  ):
    assert p.unsafe_buffer_pointer() != e.unsafe_buffer_pointer()
  step = jax.jit(
    lambda s: update(s, s.params, OPTIMIZER, 0.9)[0], donate_argnums=0
  )
  for _ in range(3):
    made = step(made)
  assert not equal(made.params, made.ema)


def test_ema_warms_up():
  decays = [
    1 - float(ema_update({"x": 0.0}, {"x": 1.0}, jnp.int32(s), 0.9)["x"])
    for s in (0, 10, 10_000)
  ]
  np.testing.assert_allclose(decays, [0.1, 11 / 20, 0.9], rtol=1e-6)
  # So the average of constant parameters is those parameters at once.
  same = ema_update({"x": 2.0}, {"x": 2.0}, jnp.int32(0), 0.999)
  assert float(same["x"]) == pytest.approx(2.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_step_that_is_not_finite_changes_only_the_counters(bad):
  step = jax.jit(lambda s, g: update(s, g, OPTIMIZER, 0.9))
  before, _ = step(state(), params())
  grads = {"kernel": jnp.ones((2, 2)).at[0, 0].set(bad), "bias": jnp.ones(2)}
  after, metrics = step(before, grads)
  assert metrics["skipped"] == 1 and not jnp.isfinite(metrics["grad_norm"])
  assert after.step == before.step + 1 and after.skipped == before.skipped + 1
  assert equal(
    (after.params, after.opt_state, after.ema),
    (before.params, before.opt_state, before.ema),
  )
  again, metrics = step(after, params())
  assert metrics["skipped"] == 0 and not equal(again.params, after.params)
  assert skipped_steps({"player": again}) == 1


def test_embeddings_norms_and_biases_are_not_decayed():
  names = ("head/kernel", "embed/embedding", "norm/scale", "head/bias", "taps")
  params = {name: jnp.ones((2, 2)) for name in names}
  zeros = jax.tree.map(jnp.zeros_like, params)
  state = TrainState.create(params, OPTIMIZER)
  after, _ = update(state, zeros, OPTIMIZER, 0.9)
  decayed = {name for name in names if (after.params[name] < 1).all()}
  assert decayed == {"head/kernel"}


def test_only_matrices_are_decayed():
  zeros = jax.tree.map(jnp.zeros_like, params())
  after, _ = update(state(), zeros, OPTIMIZER, 0.9)
  assert (after.params["kernel"] < 1).all()
  assert (after.params["bias"] == 1).all()


def test_gradients_are_clipped():
  config = OptimizerConfig(clip=1.0, warmup=0, weight_decay=0.0)
  optimizer = make_optimizer(config, 10)
  big = jax.tree.map(lambda x: 1e6 * x, params())
  unit = jax.tree.map(lambda x: x / np.sqrt(6), params())
  a, metrics = update(
    TrainState.create(params(), optimizer), big, optimizer, 0.9
  )
  b, _ = update(TrainState.create(params(), optimizer), unit, optimizer, 0.9)
  assert metrics["grad_norm"] == pytest.approx(1e6 * np.sqrt(6))
  for x, y in zip(
    jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True
  ):
    np.testing.assert_allclose(x, y, rtol=1e-5)


def test_schedule_warms_up_and_ends_at_its_ratio():
  rate = schedule(
    OptimizerConfig(learning_rate=2.0, warmup=10, final_ratio=0.1), 100
  )
  found = [float(rate(s)) for s in (0, 5, 10, 100)]
  np.testing.assert_allclose(found, [0.0, 1.0, 2.0, 0.2], rtol=1e-5)
  # A warm-up longer than the run is cut.
  assert np.isfinite(float(schedule(OptimizerConfig(warmup=50), 10)(9)))


@pytest.mark.parametrize("n", [1, 2, 4])
def test_accumulated_gradients_are_those_of_the_batch(n, random):
  batch = {
    "x": jnp.asarray(random.standard_normal((8, 3)), jnp.float32),
    "weight": jnp.asarray(random.integers(0, 2, 8), jnp.float32),
    "scale": jnp.float32(2.0),
  }
  w = jnp.arange(3.0)

  def loss(w, micro):
    each = micro["scale"] * jnp.tanh(micro["x"] @ w) ** 2
    total = jnp.sum(each * micro["weight"])
    value = total / jnp.maximum(micro["weight"].sum(), 1)
    return value, ({"loss": value}, micro["x"])

  def gradients(micro):
    grads, (metrics, rows) = jax.grad(loss, has_aux=True)(w, micro)
    return grads, metrics, rows

  grads, metrics, rows = accumulate(
    gradients, batch, n, weight=lambda micro: micro["weight"].sum()
  )
  expected, expected_metrics, _ = gradients(batch)
  np.testing.assert_allclose(grads, expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(metrics["loss"], expected_metrics["loss"], 1e-5)
  np.testing.assert_array_equal(rows, batch["x"])


def test_a_step_has_the_random_numbers_it_always_had():
  """Runs resume bit for bit, also those begun with untyped keys."""
  key = jax.jit(step_key, static_argnums=0)(3, jnp.int32(7))
  untyped = jax.random.fold_in(jax.random.PRNGKey(3), 7)
  assert jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
  np.testing.assert_array_equal(jax.random.key_data(key), untyped)
  np.testing.assert_array_equal(
    jax.random.normal(key, 9), jax.random.normal(untyped, 9)
  )
