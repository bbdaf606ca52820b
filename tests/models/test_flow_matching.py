"""Flow matching: conditions, padding, chunks, the closed-form velocity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s02jax.models.flow_matching import (
  FlowMatching,
  FlowMatchingConfig,
  gaussian_velocity,
)
from s02jax.models.layers.transformer import TransformerConfig
from tests import tiny

CONFIG = FlowMatchingConfig(
  transformer=TransformerConfig(
    width=16, layers=2, heads=2, kv_heads=2, hidden=32
  ),
  num_codes=10,
  channels=4,
  mel_bins=8,
  condition_width=16,
  token_lookahead=(1,),
  latent_lookahead=(1,),
  speaker_width=16,
  speaker_layers=1,
  speaker_dim=8,
)


MODEL = FlowMatching(CONFIG)
apply = jax.jit(MODEL.apply)


@pytest.fixture(scope="module")
def params():
  """Random parameters: zero-initialised outputs would hide faults."""
  shapes = jax.eval_shape(lambda: MODEL.init(jax.random.key(0), **_inputs()))
  return tiny.random_params(shapes)


@jax.jit
def _inputs():
  """Arguments of the model: two rows of six tokens."""
  b, tokens = 2, 6
  keys = jax.random.split(jax.random.key(1), 5)
  frames = 2 * tokens
  return dict(
    tokens=jax.random.randint(keys[0], (b, tokens), 0, 10),
    mel=jax.random.normal(keys[1], (b, 10, 8)),
    mel_mask=jnp.ones((b, 10), bool),
    x_t=jax.random.normal(keys[2], (b, frames, 4)),
    t=jnp.linspace(0.2, 0.7, b),
    prompt_mask=jnp.arange(frames)[None] < jnp.array([[4], [0]])[:b],
    prompt=jax.random.normal(keys[3], (b, frames, 4)),
    mask=jnp.ones((b, frames), bool),
    keep=jnp.ones(b, bool),
  )


def _grow(inputs, tokens=2):
  """Appends poisoned padding to the inputs."""
  frames = 2 * tokens
  nan = lambda x: jnp.pad(  # noqa: E731
    x, ((0, 0), (0, frames), (0, 0)), constant_values=jnp.nan
  )
  no = lambda x: jnp.pad(x, ((0, 0), (0, frames)))  # noqa: E731
  return inputs | dict(
    tokens=jnp.pad(
      inputs["tokens"], ((0, 0), (0, tokens)), constant_values=10**6
    ),
    x_t=nan(inputs["x_t"]),
    prompt=nan(inputs["prompt"]),
    prompt_mask=no(inputs["prompt_mask"]),
    mask=no(inputs["mask"]),
    mel=jnp.pad(
      inputs["mel"], ((0, 0), (0, 6), (0, 0)), constant_values=jnp.nan
    ),
    mel_mask=jnp.pad(inputs["mel_mask"], ((0, 0), (0, 6))),
  )


def test_padding_may_hold_anything(params):
  inputs = _inputs()
  alone = apply(params, **inputs)
  padded = apply(params, **_grow(inputs))
  for name in alone:
    np.testing.assert_allclose(
      padded[name][:, :12], alone[name], atol=1e-4, err_msg=name
    )
  assert (padded["velocity"][:, 12:] == 0).all()

  def loss(params):
    return jnp.sum(apply(params, **_grow(inputs))["velocity"] ** 2)

  grads = jax.jit(jax.grad(loss))(params)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_dropped_rows_see_no_condition(params):
  inputs = _inputs() | dict(keep=jnp.array([False, True]))
  other = inputs | dict(
    tokens=(inputs["tokens"] + 1) % 10,
    mel=inputs["mel"] + 1.0,
    prompt=inputs["prompt"] + 1.0,
  )
  a = apply(params, **inputs)["velocity"]
  b = apply(params, **other)["velocity"]
  np.testing.assert_array_equal(a[0], b[0])
  assert np.abs(a[1] - b[1]).max() > 1e-3


@pytest.mark.parametrize("name", ["tokens", "mel", "prompt", "t"])
def test_every_condition_matters(params, name):
  inputs = _inputs()
  changed = inputs | {
    name: (inputs[name] + 1) % 10 if name == "tokens" else inputs[name] * 0.5
  }
  a = apply(params, **inputs)["velocity"]
  b = apply(params, **changed)["velocity"]
  assert np.abs(a[0] - b[0]).max() > 1e-3


def test_prompt_outside_its_mask_is_not_read(params):
  inputs = _inputs()
  beyond = ~inputs["prompt_mask"][..., None]
  changed = inputs | dict(prompt=jnp.where(beyond, jnp.nan, inputs["prompt"]))
  np.testing.assert_array_equal(
    apply(params, **inputs)["velocity"],
    apply(params, **changed)["velocity"],
  )


def test_windows_of_a_row_do_not_see_each_other(params):
  """Neither sees the other's noise; conditions reach over the border."""
  inputs = _inputs()
  cut = 4
  segment = jnp.broadcast_to(1 + (jnp.arange(12) >= cut), (2, 12))
  inputs |= dict(segment=segment)

  def first_window(x_t):
    out = apply(params, **(inputs | dict(x_t=x_t)))
    return jnp.sum(out["velocity"][:, :cut] ** 2)

  reach = np.abs(jax.jit(jax.grad(first_window))(inputs["x_t"])).sum((0, 2))
  assert (reach[cut:] == 0).all() and (reach[:cut] > 0).all()
  other = inputs | dict(tokens=inputs["tokens"].at[:, 2].add(1) % 10)
  a, b = (apply(params, **x)["velocity"][:, cut - 1] for x in (inputs, other))
  assert np.abs(a - b).max() > 1e-3


def test_gaussian_velocity_transports_noise_to_the_gaussian():
  mean, scale = 0.7, 0.3
  x = np.linspace(-2, 2, 9).astype(np.float32)
  steps = 2000

  @jax.jit
  def transport(state):
    def step(i, state):
      t = (i + 0.5) / steps
      return state + gaussian_velocity(state, t, mean, np.log(scale)) / steps

    return jax.lax.fori_loop(0, steps, step, state)

  state = transport(jnp.asarray(x))
  np.testing.assert_allclose(state, mean + scale * x, atol=2e-3)
