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


@pytest.fixture(scope="module")
def flow():
  model = FlowMatching(CONFIG)
  params = model.init(jax.random.key(0), **_inputs())
  # Zero-initialised outputs would hide faults behind them.
  return model, jax.tree.map(
    lambda x: x + 0.2 * jax.random.normal(jax.random.key(x.size), x.shape),
    params,
  )


def _inputs(b=2, tokens=6):
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
    block=None,
  )


def _grow(inputs, tokens=2):
  """The same inputs behind which stands poisoned padding."""
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


def test_padding_may_hold_anything(flow):
  model, params = flow
  inputs = _inputs()
  alone = model.apply(params, **inputs)
  padded = model.apply(params, **_grow(inputs))
  for name in alone:
    np.testing.assert_allclose(
      padded[name][:, :12], alone[name], atol=1e-4, err_msg=name
    )
  assert (padded["velocity"][:, 12:] == 0).all()

  def loss(params):
    return jnp.sum(model.apply(params, **_grow(inputs))["velocity"] ** 2)

  grads = jax.grad(loss)(params)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_dropped_rows_see_no_condition(flow):
  model, params = flow
  inputs = _inputs() | dict(keep=jnp.array([False, True]))
  other = inputs | dict(
    tokens=(inputs["tokens"] + 1) % 10,
    mel=inputs["mel"] + 1.0,
    prompt=inputs["prompt"] + 1.0,
  )
  a = model.apply(params, **inputs)["velocity"]
  b = model.apply(params, **other)["velocity"]
  np.testing.assert_array_equal(a[0], b[0])
  assert np.abs(a[1] - b[1]).max() > 1e-3


@pytest.mark.parametrize("name", ["tokens", "mel", "prompt", "t"])
def test_every_condition_matters(flow, name):
  model, params = flow
  inputs = _inputs()
  changed = inputs | {
    name: (inputs[name] + 1) % 10 if name == "tokens" else inputs[name] * 0.5
  }
  a = model.apply(params, **inputs)["velocity"]
  b = model.apply(params, **changed)["velocity"]
  assert np.abs(a[0] - b[0]).max() > 1e-3


def test_prompt_outside_its_mask_is_not_read(flow):
  model, params = flow
  inputs = _inputs()
  beyond = ~inputs["prompt_mask"][..., None]
  changed = inputs | dict(prompt=jnp.where(beyond, jnp.nan, inputs["prompt"]))
  np.testing.assert_array_equal(
    model.apply(params, **inputs)["velocity"],
    model.apply(params, **changed)["velocity"],
  )


def test_chunks_do_not_see_later_chunks(flow):
  model, params = flow
  block = 4
  inputs = _inputs() | dict(block=block)

  def first_chunk(x_t):
    out = model.apply(params, **(inputs | dict(x_t=x_t)))
    return jnp.sum(out["velocity"][:, :block] ** 2)

  reach = np.abs(jax.grad(first_chunk)(inputs["x_t"])).sum((0, 2))
  assert (reach[block:] == 0).all() and (reach[:block] > 0).all()


def test_gaussian_velocity_transports_noise_to_the_gaussian():
  mean, scale = 0.7, 0.3
  x = np.linspace(-2, 2, 9).astype(np.float32)
  state, steps = jnp.asarray(x), 2000
  for i in range(steps):
    t = (i + 0.5) / steps
    state = state + gaussian_velocity(state, t, mean, np.log(scale)) / steps
  np.testing.assert_allclose(state, mean + scale * x, atol=2e-3)
