"""The discriminators' loops against one discriminator at a time."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s02jax.audio import spectra
from s02jax.models import discriminators
from tests import tiny

SAMPLES = 1500
CONFIG = discriminators.DiscriminatorsConfig(
  periods=(2, 3, 7),
  period_channels=(3, 5, 4),
  windows=(128, 64),
  spectral_channels=4,
)


@pytest.fixture(scope="module")
def looked():
  """The model, its parameters, a wave and, by group, the maps of it."""
  model = discriminators.Discriminators(CONFIG)
  wave = jax.random.normal(jax.random.key(1), (2, SAMPLES))

  @jax.jit
  def look(params):
    lines = model.lay(wave)
    return {
      name: jax.vmap(
        lambda p, *rest, g=group: g.network.apply({"params": p}, *rest)
      )(params[name], lines[name], *group.places)
      for name, group in model.groups(SAMPLES).items()
    }

  shapes = jax.eval_shape(model.init, jax.random.key(0), wave)
  # Kernels of several taps are to keep the size of a signal, too.
  params = jax.tree.map(lambda x: 0.4 * x, tiny.random_params(shapes))
  return model, params, wave, look(params)


def _alone(params, x, layers):
  """Maps of one discriminator of a loop; x is [b, rows, t, c]."""
  maps = []
  neighbours = params["conv_0"]["kernel"].shape[1] == 3 * x.shape[-1]
  for j, layer in enumerate(layers):
    last = j == len(layers) - 1
    p = params["score" if last else f"conv_{j}"]
    kernel, bias = p["kernel"], p["bias"]
    if neighbours:  # three frames by `taps` bins
      kernel = kernel.reshape(layer.taps, 3, -1, layer.width)
      kernel = kernel.transpose(1, 0, 2, 3)
    else:
      kernel = kernel[None]
    pads = [(s // 2, s // 2) for s in kernel.shape[:2]]
    x = bias[None, None, None] + jax.lax.conv_general_dilated(
      x,
      kernel,
      (1, layer.stride),
      pads,
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    x = x if last else jnp.where(x > 0, x, 0.1 * x)
    maps.append(x)
  return maps


def test_a_line_shows_what_its_rows_would(looked):
  model, params, wave, found = looked
  signals = {
    "periods": [
      discriminators.by_phase(wave, p)[..., None] for p in CONFIG.periods
    ],
    "windows": [
      jnp.stack([s.real, s.imag], -1)
      for s in (spectra.stft(wave, w, w // 4) for w in CONFIG.windows)
    ],
  }
  compared = 0
  for name, group in model.groups(SAMPLES).items():
    inside, _ = group.places
    alone_of = jax.jit(functools.partial(_alone, layers=group.network.layers))
    for k, signal in enumerate(signals[name]):
      alone = alone_of(jax.tree.map(lambda x, k=k: x[k], params[name]), signal)
      for m, where, expected in zip(found[name], inside, alone, strict=True):
        b, rows, t, c = expected.shape
        np.testing.assert_allclose(
          np.asarray(m[k])[:, where[k]],
          expected.reshape(b, rows * t, c),
          rtol=1e-4,
          atol=1e-5,
        )
        assert not np.asarray(m[k])[:, ~where[k]].any()
        compared += 1
  assert compared == 3 * 5 + 2 * 6


def test_losses_do_not_see_what_lies_between_rows(looked):
  model, _, _, found = looked
  losses = (
    discriminators.generator_loss,
    discriminators.discriminator_loss,
    discriminators.feature_matching_loss,
  )
  for name, group in model.groups(SAMPLES).items():
    within = [i[0] for i in group.places[0]]
    assert not all(i.all() for i in within)
    real = [m[0] for m in found[name]]
    fake = [m + 0.3 for m in real]
    poisoned = [
      jnp.where(i[None, :, None], m, jnp.nan)
      for m, i in zip(fake, within, strict=True)
    ]
    for loss in losses:
      gradient = jax.jit(jax.value_and_grad(loss, argnums=1))
      both = [gradient(real, x, within) for x in (fake, poisoned)]
      (expected, gradient), (value, other) = both
      assert np.isfinite(value) and value == expected
      for a, b in zip(gradient, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_products_counted_are_those_of_the_positions(looked):
  model, params, wave, _ = looked
  flops = 0.0
  for name, group in model.groups(SAMPLES).items():
    for j, inside in enumerate(group.places[0]):
      key = f"conv_{j}" if j < len(group.places[0]) - 1 else "score"
      kernel = params[name][key]["kernel"]
      flops += 2.0 * kernel[0].size * inside.sum()
  assert model.flops(len(wave), SAMPLES) == len(wave) * flops


@pytest.mark.parametrize("left_out", ["periods", "windows"])
def test_either_kind_may_be_left_out(left_out):
  config = dataclasses.replace(CONFIG, **{left_out: ()})
  model = discriminators.Discriminators(config)
  real, fake = jax.random.normal(jax.random.key(3), (2, 2, SAMPLES))
  shapes = jax.eval_shape(model.init, jax.random.key(0), real)
  params = tiny.random_params(shapes)
  assert len(params) == 1 and left_out not in params

  @jax.jit
  def contest(params):
    return model.contest(
      params,
      real,
      fake,
      discriminators.feature_matching_loss,
      discriminators.discriminator_loss,
    )

  found = contest(params)
  assert found.to_fake.shape == fake.shape and np.any(found.to_fake)
  assert any(np.any(x) for x in jax.tree.leaves(found.grads))


@pytest.mark.parametrize("by", [-3, 0, 2])
def test_a_move_and_its_gradient(by):
  x = jax.random.normal(jax.random.key(0), (2, 7, 3))
  found, back = jax.vjp(lambda x: discriminators.moved(x, jnp.int32(by), 3), x)
  expected = np.zeros_like(x)
  for p in range(7):
    if 0 <= p - by < 7:
      expected[:, p] = x[:, p - by]
  np.testing.assert_array_equal(found, expected)
  y = jax.random.normal(jax.random.key(1), x.shape)
  np.testing.assert_allclose(
    jnp.vdot(back(y)[0], x), jnp.vdot(y, found), rtol=1e-5
  )


def test_entries_of_a_large_batch_are_not_counted_in_int32():
  """A mean over more than 2^31 entries; traced only, it would not fit here."""
  maps = jax.ShapeDtypeStruct((2**16, 3, 60, 1024), jnp.float32)
  inside = jax.ShapeDtypeStruct((60,), jnp.bool_)
  traced = jax.make_jaxpr(discriminators.generator_loss)([], [maps], [inside])
  products = [e for e in traced.jaxpr.eqns if e.primitive.name == "mul"]
  for eqn in products:
    assert jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.floating), eqn
  assert products
