"""Eight devices in any shape do what one does, for every stage.

Compared after one step: the metrics, and Adam's first moment, which is the
clipped gradient times a constant.
"""

import functools
import importlib

import jax
import numpy as np
import optax
import pytest

from s02jax import sharding, stages
from s02jax.bench.step import fill
from s02jax.training import programs
from tests import tiny

STAGES = ("audio_tokenizer", "flow_vae", "ar", "flow_matching")
# Beside a frozen teacher, on the mesh of all axes but data.
TAUGHT = "distillation"
MESHES = (
  dict(data=8),
  dict(fsdp=8),
  dict(data=2, fsdp=2, tensor=2),
  dict(data=2, sequence=4),
  dict(fsdp=2, sequence=2, tensor=2),
)
ROWS = 8


@functools.cache
def stage_and_batch(name):
  config = importlib.import_module(f"configs.{name}").get_config("test")
  config = stages.assume(config)
  changes = {
    "audio_tokenizer": {
      "model.vocab_size": 40,
      "model.ctc_blocks": 1,
      "data.row_seconds": 1.28,
    },
    "flow_vae": {
      "loss.adversarial_start": 0,
      "loss.windows": (512, 256),
      "loss.mel_bins": (40, 20),
      "data.crop_samples": 1600,
      "model.encoder_blocks": 1,
      "model.decoder_lookahead": (3,),
      "model.flow_layers": 1,
    },
    "ar": {
      "model.text_size": 40,
      "model.num_codes": 63,
      "model.transformer.unroll": 1,
      "model.speaker.layers": 1,
      "data.row_tokens": 64,
    },
    "flow_matching": {
      "model.num_codes": 64,
      "model.transformer.unroll": 1,
      "model.token_lookahead": (2,),
      "model.latent_lookahead": (2,),
      "model.speaker_layers": 1,
      "data.buckets": (1.28,),
    },
  }
  changes[TAUGHT] = changes["flow_matching"] | {"model.velocity": "mean"}
  config.update_from_flattened_dict(changes[name])
  stage = stages.make(config)
  rng = np.random.default_rng(0)
  spec = stage.batch_specs(ROWS)[-1]
  return stage, {k: fill(k, x, config, rng) for k, x in spec.items()}


def frozen_on(stage, mesh):
  """Random parameters of the teacher on a mesh, in a tuple; () without one."""
  shapes = stages.frozen_shapes_of(stage)
  if not shapes:
    return ()
  params = tiny.random_params(shapes)
  return (jax.device_put(params, sharding.parameter_shardings(mesh, params)),)


def begin(name, mesh):
  """Initial state of a stage, initialised on a mesh, as arrays of numpy."""
  stage, _ = stage_and_batch(name)
  with jax.set_mesh(mesh):
    frozen = frozen_on(stage, mesh)
    abstract = programs.abstract_state(stage, mesh, *frozen)
    return jax.device_get(
      programs.init_program(stage, abstract, *frozen)(jax.random.key(0))
    )


def one_step(name, mesh):
  """Metrics of one step, and its gradients as Adam's first moments."""
  stage, batch = stage_and_batch(name)
  with jax.set_mesh(mesh):
    frozen = frozen_on(stage, mesh)
    abstract = programs.abstract_state(stage, mesh, *frozen)
    state = jax.device_put(
      begun_alone(name), jax.tree.map(lambda x: x.sharding, abstract)
    )
    batch = jax.device_put(batch, sharding.batch_sharding(mesh))
    program = programs.train_program(stage, mesh, abstract, *frozen)
    state, metrics = program(state, batch, *frozen)
  moments = [
    x.mu
    for x in jax.tree.leaves(state, is_leaf=_is_adam)
    if isinstance(x, optax.ScaleByAdamState)
  ]
  return jax.device_get((metrics, moments))


def _is_adam(x):
  return isinstance(x, optax.ScaleByAdamState)


def one_device():
  return sharding.make_mesh({}, jax.devices()[:1])


@functools.cache
def begun_alone(name):
  return begin(name, one_device())


@functools.cache
def alone(name):
  return one_step(name, one_device())


@pytest.mark.parametrize("name", STAGES)
def test_a_state_begins_on_eight_devices_as_on_one(name):
  state = begin(name, sharding.make_mesh(dict(data=2, fsdp=2, tensor=2)))
  for a, b in zip(
    jax.tree.leaves(state), jax.tree.leaves(begun_alone(name)), strict=True
  ):
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def cases():
  """Pairs of stage and mesh: all meshes for "ar", others if they mix axes.

  "ar" names every kind of dimension.
  """
  for name in STAGES:
    for sizes in MESHES:
      if name == "ar" or len(sizes) > 2:
        label = "-".join(f"{axis}{n}" for axis, n in sizes.items())
        yield pytest.param(name, sizes, id=f"{name}-{label}")
  yield pytest.param(TAUGHT, MESHES[-1], id=TAUGHT)


@pytest.mark.parametrize(("name", "sizes"), [*cases()])
def test_eight_devices_in_any_shape_equal_one(name, sizes):
  metrics, moments = one_step(name, sharding.make_mesh(sizes))
  expected, expected_moments = alone(name)
  assert np.isfinite(expected["loss"]) and expected["grad_norm"] > 0
  for key, value in expected.items():
    np.testing.assert_allclose(metrics[key], value, rtol=2e-4, err_msg=key)
  scale = max(np.abs(x).max() for x in jax.tree.leaves(expected_moments))
  assert scale > 0
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4 * scale, rtol=1e-3),
    moments,
    expected_moments,
  )
