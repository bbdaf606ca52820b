"""Training steps of the stages: what they update, leave alone, and ignore."""

import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import audio_tokenizer, flow_matching, flow_vae
from s02jax import stages
from s02jax.models.discriminators import (
  discriminator_loss,
  feature_matching_loss,
  generator_loss,
)
from s02jax.stages import train_state


@pytest.fixture(scope="module")
def vae():
  """Flow-VAE stage with discriminators from the second step on, step, state."""
  config = flow_vae.get_config("test")
  config.rate = 16000
  config.model.update(dict(encoder_width=8, decoder_width=8, channels=4))
  config.data.crop_samples = 4096 // 320 * 320
  config.loss.update(
    dict(windows=(256, 128), mel_bins=(10, 8), adversarial_start=1)
  )
  config.discriminators.update(dict(periods=(2,), windows=(256,)))
  stage = stages.make(config)
  state = jax.jit(stage.init_state)(jax.random.key(0))
  return stage, jax.jit(stage.train_step), state


def _wave(stage, rows=2):
  """Batch of noise."""
  shape = (rows, stage.config.data["crop_samples"])
  return {"wave": 0.1 * jax.random.normal(jax.random.key(1), shape)}


def _same(a, b):
  """Whether two trees have equal leaves."""
  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return all(np.array_equal(x, y) for x, y in pairs)


def test_discriminators_wait_for_their_start(vae):
  stage, step, first = vae
  second, before = step(first, _wave(stage))
  third, after = step(second, _wave(stage))
  assert before["adversarial"] == 0 and before["discriminator"] == 0
  assert _same(first.discriminator, second.discriminator)
  assert after["adversarial"] != 0 and after["discriminator"] > 0
  assert int(third.discriminator.step) == 1
  assert int(third.generator.step) == int(third.step) == 2


def test_encoder_hears_the_shape_of_a_frame_at_any_loudness(vae):
  """A sine's phase moves μ of a quiet frame as far as of a loud one."""
  stage, _, state = vae
  variables = {"params": state.generator.params}
  turns = 2 * np.pi * np.arange(3200) / 64
  waves = jnp.stack([jnp.sin(turns), jnp.cos(turns)])

  def moved(loudness):
    mu, _ = stage.model.apply(variables, loudness * waves, method="encode")
    return float(jnp.abs(mu[0] - mu[1])[2:-2].mean())

  assert moved(0.03) > 0.7 * moved(0.3)


def test_one_pass_serves_generator_and_discriminators(vae):
  """Losses and gradients equal those of a pass for each."""
  stage, _, state = vae
  real, fake = (
    0.3 * jax.random.normal(jax.random.key(i), (3, 2048)) for i in (5, 6)
  )

  groups = stage.discriminators.groups(real.shape[1])

  def played(params, real, fake, loss):
    """Mean of a loss over the discriminators, each run by itself."""
    lines = [stage.discriminators.lay(wave) for wave in (real, fake)]
    losses = []
    for name, group in groups.items():
      inside, pitches = group.places
      for k in range(len(pitches)):
        within = [jnp.asarray(i[k]) for i in inside]
        maps = [
          group.network.apply(
            {"params": jax.tree.map(lambda x, k=k: x[k], params[name])},
            line[name][k],
            within,
            pitches[k],
          )
          for line in lines
        ]
        losses.append(loss(*maps, within))
    assert len(losses) == 2
    return jnp.mean(jnp.stack(losses))

  def of_generator(wave):
    def loss(real, fake, inside):
      maps = (real, fake, inside)
      return stage.loss.adversarial * generator_loss(*maps) + (
        stage.loss.matching * feature_matching_loss(*maps)
      )

    return played(state.discriminator.params, real, wave, loss)

  def of_discriminators(params):
    return played(params, real, fake, discriminator_loss)

  found, moved = jax.jit(stage.adversarial_step)(
    state.discriminator, fake, real
  )
  loss, gradient = jax.jit(jax.value_and_grad(of_generator))(fake)
  np.testing.assert_allclose(found.adversarial, loss, rtol=1e-5)
  assert np.abs(gradient).max() > 1e-6
  np.testing.assert_allclose(
    found.gradient, gradient, rtol=1e-4, atol=1e-5 * np.abs(gradient).max()
  )
  loss, grads = jax.jit(jax.value_and_grad(of_discriminators))(
    state.discriminator.params
  )
  np.testing.assert_allclose(found.discriminator, loss, rtol=1e-5)
  expected, _ = train_state.update(
    state.discriminator, grads, stage.optimizer, stage.optimizer_config.ema
  )
  for a, b in zip(
    jax.tree.leaves(moved.opt_state),
    jax.tree.leaves(expected.opt_state),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-7)


def test_a_broken_batch_updates_neither_parameters(vae):
  stage, step, first = vae
  started, _ = step(first, _wave(stage))
  wave = {"wave": _wave(stage)["wave"].at[0, 0].set(jnp.nan)}
  state, metrics = step(started, wave)
  assert metrics["skipped"] == 1 and int(state.step) == 2
  assert _same(started.generator.params, state.generator.params)
  assert _same(started.discriminator.params, state.discriminator.params)


def _tokenizer():
  """Small audio tokenizer stage."""
  config = audio_tokenizer.get_config("test")
  config.model.update(dict(width=8, num_codes=16, vocab_size=10))
  config.loss.voiceless = 0.0
  return stages.make(config)


def test_a_broken_batch_leaves_the_codebook():
  stage = _tokenizer()
  batch = {
    "wave": 0.1 * jax.random.normal(jax.random.key(0), (2, 6400)),
    "segment": jnp.ones((2, 10), jnp.int32).at[1, 8:].set(0),
    "text": jnp.array([[1, 2, 3], [4, 5, 0]]),
    "text_length": jnp.array([3, 2]),
    "told": jnp.zeros((2, 10), bool),
    "references": 0.1 * jax.random.normal(jax.random.key(1), (2, 1, 3200)),
    "reference_samples": jnp.full((2, 1), 3200),
  }
  step = jax.jit(stage.train_step)
  state = jax.jit(stage.init_state)(jax.random.key(0))
  state, metrics = step(state, batch)
  assert metrics["skipped"] == 0 and np.isfinite(metrics["loss"])
  wave = batch["wave"].at[0, 0].set(jnp.nan)
  after, metrics = step(state, batch | {"wave": wave})
  assert metrics["skipped"] == 1
  assert _same(state.codebook, after.codebook)
  assert _same(state.train.params, after.train.params)


def test_flow_matching_overfits_one_batch_and_ignores_padding():
  config = flow_matching.get_config("test")
  config.model.update(
    dict(num_codes=8, channels=4, latents_per_token=2, condition_width=16)
  )
  config.optimizer.update(dict(warmup=2, learning_rate=1e-2))
  config.steps = 40
  stage = stages.make(config)
  latents = jax.random.normal(jax.random.key(0), (4, 12, 4))
  batch = {
    "tokens": jax.random.randint(jax.random.key(1), (4, 6), 0, 8),
    "latents": latents.at[:, 10:].set(jnp.nan),
    "length": jnp.full(4, 5),
    "reference": 0.1 * jax.random.normal(jax.random.key(2), (4, 6400)),
    "reference_samples": jnp.full(4, 6400),
  }
  step = jax.jit(stage.train_step)
  state = jax.jit(stage.init_state)(jax.random.key(3))
  losses = []
  for _ in range(40):
    state, metrics = step(state, batch)
    losses.append(float(metrics["mean"]))
  assert int(state.skipped) == 0 and np.isfinite(losses).all()
  assert losses[-1] < 0.5 * losses[0]


WITHOUT_EXTRAS = """
import configparser, importlib.metadata, re, sys
config = configparser.ConfigParser()
config.read("setup.cfg")
extras = config["options.extras_require"]
lines = [x for part in ("data", "eval", "pesq", "judges", "serve", "bench")
         for x in extras[part].splitlines() if x and not x.startswith("#")]
names = {re.split("[<>=[]", x)[0].strip().lower() for x in lines}
names |= {"resemblyzer", "silero-vad", "jax-cuda12-plugin"}
refused = {module for module, owners in
           importlib.metadata.packages_distributions().items()
           if {o.lower() for o in owners} & names}
assert {"pystoi", "av", "flatbuffers"} <= refused, refused
class Bar:
  def find_spec(self, name, path=None, target=None):
    if name.split(".")[0] in refused:
      raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Bar())
import s02jax.cli.train, s02jax.stages.ar
import s02jax.stages.audio_tokenizer, s02jax.stages.flow_matching
import s02jax.stages.flow_vae, s02jax.synthesis.synthesizer, s02jax.bundle
"""


def test_training_and_speaking_need_no_extra():
  done = subprocess.run(
    [sys.executable, "-c", WITHOUT_EXTRAS],
    cwd=pathlib.Path(__file__).parents[2],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
