"""Sizes, shapes and FLOPs of what is trained on accelerators, without one."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s02jax import stages
from s02jax.data.rows import (
  audio_crops,
  latent_utterances,
  packed_sequences,
  packed_utterances,
)
from s02jax.flops import counted
from s02jax.models.layers import attention
from tests import fakes

NAMES = ("audio_tokenizer", "flow_vae", "ar", "flow_matching")


def make(stage, argument="test", **changes):
  config = importlib.import_module(f"configs.{stage}").get_config(argument)
  config = stages.assume(config)
  config.update_from_flattened_dict(changes)
  return stages.make(config)


def state_of(stage):
  return jax.eval_shape(stage.init_state, jax.random.key(0))


def millions(stage):
  """Parameters that the bundle gets, in millions."""
  params = stage.inference_params(state_of(stage))
  return sum(x.size for x in jax.tree.leaves(params)) / 1e6


@pytest.mark.parametrize(
  ("stage", "argument", "low", "high"),
  [
    ("ar", "test", 0, 1),
    ("ar", "small", 90, 120),
    ("ar", "base", 450, 550),
    ("ar", "large", 1400, 1600),
    ("ar", "xl", 6600, 7400),
    ("flow_matching", "small", 90, 125),
    ("flow_matching", "base", 280, 340),
    ("flow_matching", "large", 550, 680),
    ("audio_tokenizer", "small", 25, 50),
    ("audio_tokenizer", "base-32khz", 90, 130),
    ("flow_vae", "base", 50, 80),
    ("flow_vae", "large-32khz", 130, 180),
  ],
)
def test_sizes_are_as_stated(stage, argument, low, high):
  assert low <= millions(make(stage, argument)) <= high


def data(stage, corpus):
  """The rows of a stage, over a corpus made of numbers."""
  features, text = fakes.FakeFeatures(corpus), fakes.FakeText()
  common = dict(batch_size=4, seed=0, **stage.config.data)
  if stage.name == "flow_vae":
    return audio_crops.AudioCrops(corpus, **common)
  if stage.name == "audio_tokenizer":
    return packed_utterances.PackedUtterances(corpus, text, **common)
  if stage.name == "flow_matching":
    return latent_utterances.LatentUtterances(corpus, features, **common)
  return packed_sequences.PackedSequences(
    corpus, features, text, rate=lambda _: 0.3, **common
  )


@pytest.mark.parametrize("name", NAMES)
def test_assumed_batches_are_those_of_the_rows(name):
  stage = make(name)
  if name == "flow_matching":
    changes = {"model.channels": fakes.CHANNELS}
    stage = make(name, **changes)
  row = data(stage, fakes.FakeCorpus(60, 6))[0]
  spec = stage.batch_specs(4)[-1]
  on_host = {"audio_seconds", "padding"}
  assert set(row) - on_host == set(spec)
  for key, x in spec.items():
    value = np.asarray(row[key])
    assert value.dtype == x.dtype, key
    assert (4, *value.shape) == x.shape, key


@pytest.mark.parametrize("name", NAMES)
def test_formula_of_flops_agrees_with_what_is_traced(name):
  """On wide models, where products of features outweigh the rest."""
  stage = make(name, "small")
  spec = stage.batch_specs(2)[-1]
  step = jax.make_jaxpr(stage.train_step)(state_of(stage), spec)
  traced = sum(p.flops for p in counted(step))
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
  """Two tiles of 1,024 a side: of causal scores one of four is never seen."""
  b, s, h, f = 2, 2048, 4, 128

  def layer(x):
    segment = jnp.ones((b, s), jnp.int32)
    return attention.kernel(x, x, x, segment, (block,)), None

  def layers(x):  # where a step has it: in a loop, computed again
    again = jax.checkpoint(lambda y, _: layer(y))
    return jnp.sum(jax.lax.scan(again, x, length=3)[0])

  x = jax.ShapeDtypeStruct((b, s, h, f), jnp.float32)
  forward = counted(jax.make_jaxpr(layer)(x))
  one = 2 * b * h * s * s * f  # a product of all queries and keys
  assert sum(p.flops for p in forward) == 2 * one * tiles / 4
  both = counted(jax.make_jaxpr(jax.grad(layers))(x))
  # Sums of rows come on top.
  total = 3 * (2 + 2 + 5) * one * tiles / 4
  assert sum(p.flops for p in both) == pytest.approx(total, rel=1e-3)


def test_counted_products_multiply_loops_and_take_the_costlier_branch():
  def f(x, w):
    y, _ = jax.lax.scan(lambda c, _: (c @ w, None), x, length=5)
    return jax.lax.cond(y[0, 0] > 0, lambda a: a @ w @ w, lambda a: a @ w, y)

  x, w = np.zeros((3, 8), np.float32), np.zeros((8, 8), np.float32)
  found = counted(jax.make_jaxpr(f)(x, w))
  assert sum(p.flops for p in found) == 7 * 2 * 3 * 8 * 8
  assert found[0].filled(8) == 1.0 and found[0].filled(16) == 0.25
