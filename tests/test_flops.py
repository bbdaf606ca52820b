"""FLOPs of a train step: the stages' formulas and the counted products."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s02jax import stages
from s02jax.flops import traced_products
from s02jax.models.layers import attention

NAMES = ("audio_tokenizer", "flow_vae", "ar", "flow_matching")


def make(stage, argument="test", **changes):
  """Stage of a config without a corpus."""
  config = importlib.import_module(f"configs.{stage}").get_config(argument)
  config = stages.assume(config)
  config.update_from_flattened_dict(changes)
  return stages.make(config)


def state_of(stage):
  """Abstract state before step 0."""
  return jax.eval_shape(stage.init_state, jax.random.key(0))


@pytest.mark.parametrize("name", NAMES)
def test_formula_of_flops_agrees_with_what_is_traced(name):
  """Formula and count agree on wide models, where kernels outweigh the rest."""
  stage = make(name, "small")
  spec = stage.batch_specs(2)[-1]
  step = jax.make_jaxpr(stage.train_step)(state_of(stage), spec)
  traced = sum(p.flops for p in traced_products(step))
  # Recomputation adds up to a third; scores, DFTs and codes come on top.
  assert 0.95 < traced / float(stage.flops(spec)) < 2.0


def test_discriminators_count_from_their_start_on():
  stage = make("flow_vae", **{"loss.adversarial_start": 5, "steps": 9})
  spec = stage.batch_specs(2)[-1]
  before, after = (stage.flops(spec, step) for step in (4, 5))
  assert before < after == stage.flops(spec)
  assert stage.starts == (5,)
  # Where the run ends before, they never count.
  stage = make("flow_vae", **{"loss.adversarial_start": 5, "steps": 5})
  assert stage.flops(spec) == before == stage.flops(spec, 5)


@pytest.mark.parametrize("block, tiles", [(1, 3), (None, 4)])
def test_tiles_that_the_kernel_skips_are_not_counted(block, tiles):
  """The kernel never computes one of the 2 × 2 tiles of causal scores."""
  b, s, h, f = 2, 2048, 4, 128

  def layer(x):
    segment = jnp.ones((b, s), jnp.int32)
    return attention.kernel(x, x, x, segment, block), None

  def layers(x):  # where a step has it: in a loop, computed again
    again = jax.checkpoint(lambda y, _: layer(y))
    return jnp.sum(jax.lax.scan(again, x, length=3)[0])

  x = jax.ShapeDtypeStruct((b, s, h, f), jnp.float32)
  forward = traced_products(jax.make_jaxpr(layer)(x))
  one = 2 * b * h * s * s * f  # a product of all queries and keys
  assert sum(p.flops for p in forward) == 2 * one * tiles / 4
  both = traced_products(jax.make_jaxpr(jax.grad(layers))(x))
  # Sums of rows come on top.
  total = 3 * (2 + 2 + 5) * one * tiles / 4
  assert sum(p.flops for p in both) == pytest.approx(total, rel=1e-3)


def test_counted_products_multiply_loops_and_take_the_costlier_branch():
  def f(x, w):
    y, _ = jax.lax.scan(lambda c, _: (c @ w, None), x, length=5)
    return jax.lax.cond(y[0, 0] > 0, lambda a: a @ w @ w, lambda a: a @ w, y)

  x, w = np.zeros((3, 8), np.float32), np.zeros((8, 8), np.float32)
  found = traced_products(jax.make_jaxpr(f)(x, w))
  assert sum(p.flops for p in found) == 7 * 2 * 3 * 8 * 8
  assert found[0].filled(8) == 1.0 and found[0].filled(16) == 0.25
