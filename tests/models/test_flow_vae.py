"""Flow-VAE: the flow's algebra, the frame grid, the KL."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s02jax.audio import spectra
from s02jax.models.flow_vae import FlowVAE, FlowVAEConfig, inverse_stft
from tests import tiny

CONFIG = FlowVAEConfig(
  channels=6,
  encoder_width=16,
  encoder_blocks=1,
  decoder_width=16,
  decoder_lookahead=(1, 0),
  decoder_fine_lookahead=(2,),
  flow_layers=3,
  flow_width=8,
)


MODEL = FlowVAE(CONFIG)
apply = jax.jit(MODEL.apply, static_argnames="method")


@pytest.fixture(scope="module")
def params():
  """Random parameters: an identity flow would hide faults of its inverse."""
  key, wave = jax.random.key(0), jnp.zeros((1, 1600))
  return tiny.random_params(jax.eval_shape(MODEL.init, key, wave, key))


@pytest.mark.parametrize(
  ("name", "value"), [("sharding.platform", lambda: "gpu"), ("LARGE", 0)]
)
def test_loops_over_layers_change_nothing(params, name, value, monkeypatch):
  """Loops run as on other platforms, and as a CPU runs large arrays."""
  wave = 0.1 * jax.random.normal(jax.random.key(2), (2, 1600))

  def run():
    def loss(params):
      out = MODEL.apply(params, wave, jax.random.key(3))
      return jnp.mean(out["wave"] ** 2) + jnp.mean(out["kl"])

    return jax.jit(jax.value_and_grad(loss))(params)

  unrolled = run()
  monkeypatch.setattr(f"s02jax.models.layers.scanned.{name}", value)
  for a, b in zip(
    jax.tree.leaves(run()), jax.tree.leaves(unrolled), strict=True
  ):
    np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)


def test_flow_inverts(params):
  z = jax.random.normal(jax.random.key(1), (2, 5, 6))
  z_tilde, _ = apply(params, z, method="flow")
  back = apply(params, z_tilde, method="unflow")
  np.testing.assert_allclose(back, z, atol=1e-5)
  assert np.abs(z_tilde - z).mean() > 0.05


def test_log_determinant_is_the_jacobians(params):
  z = jax.random.normal(jax.random.key(1), (1, 3, 6))

  def flat(x):
    return apply(params, x.reshape(z.shape), method="flow")[0].reshape(-1)

  jacobian = jax.jit(jax.jacobian(flat))(z.reshape(-1))
  expected = np.linalg.slogdet(np.asarray(jacobian))[1]
  log_det = apply(params, z, method="flow")[1]
  np.testing.assert_allclose(log_det.sum(), expected, rtol=1e-4)


def test_identity_flow_gives_the_plain_kl():
  config = FlowVAEConfig(
    channels=4,
    encoder_width=8,
    encoder_blocks=1,
    decoder_width=8,
    decoder_lookahead=(0,),
    decoder_fine_lookahead=(0,),
    flow_layers=0,
  )
  model = FlowVAE(config)
  wave = 0.1 * jax.random.normal(jax.random.key(0), (1, 3200))
  init, run = (
    jax.jit(model.init),
    jax.jit(model.apply, static_argnames="method"),
  )
  params = init(jax.random.key(0), wave, jax.random.key(0))
  mu, log_sigma = run(params, wave, method="encode")
  closed = 0.5 * (mu**2 + jnp.exp(2 * log_sigma) - 1) - log_sigma
  keys = jax.random.split(jax.random.key(2), 6400)
  drawn = jax.vmap(lambda k: run(params, wave, k)["kl"])(keys)
  np.testing.assert_allclose(
    drawn.mean(0), closed.mean(-1), rtol=0.1, atol=0.02
  )


def test_encoder_keeps_its_frame_grid_and_masks_padding(params):
  wave = 0.1 * jax.random.normal(jax.random.key(3), (1, 3200))
  mu, _ = apply(params, wave, method="encode")
  assert mu.shape == (1, 10, 6)
  padded = jnp.pad(wave, ((0, 0), (0, 1600)))
  mask = jnp.arange(15)[None] < 10
  again, _ = apply(params, padded, mask, method="encode")
  np.testing.assert_allclose(again[:, :10], mu, atol=1e-5)


def test_decoding_does_not_notice_padding(params):
  z = jax.random.normal(jax.random.key(9), (1, 8, 6))
  alone = apply(params, z, method="decode")
  padded = jnp.pad(z, ((0, 0), (0, 6), (0, 0)), constant_values=jnp.nan)
  mask = jnp.arange(14)[None] < 8
  again = apply(params, padded, mask, method="decode")
  np.testing.assert_allclose(again[:, : alone.shape[1]], alone, atol=1e-5)


@pytest.mark.parametrize(
  ("split", "fine", "window"),
  [(2, (2,), 640), (2, (0, 1), 320), (4, (0,), 640), (1, (), 1280)],
)
def test_decoder_reaches_as_far_as_it_says(split, fine, window):
  """A frame of sound depends on both ends of the reach, on nothing beyond."""
  config = dataclasses.replace(
    CONFIG,
    decoder_lookahead=(1,),
    decoder_split=split,
    decoder_fine_lookahead=fine,
    decoder_window=window,
  )
  model, key = FlowVAE(config), jax.random.key(0)
  wave = jnp.zeros((1, 1600))
  params = tiny.random_params(jax.eval_shape(model.init, key, wave, key))
  left, right = config.decoder_reach
  frame = left + 2
  z = jax.random.normal(jax.random.key(4), (1, frame + right + 3, 6))

  def energy(z):
    wave = model.apply(params, z, method="decode")
    return jnp.sum(wave[:, frame * config.hop : (frame + 1) * config.hop] ** 2)

  reached = np.abs(jax.jit(jax.grad(energy))(z)).sum((0, 2)) > 0
  expected = np.zeros_like(reached)
  expected[frame - left : frame + right + 1] = True
  np.testing.assert_array_equal(reached, expected)


def test_inverse_stft_inverts_stft():
  wave = jax.random.normal(jax.random.key(5), (2, 6400))
  again = inverse_stft(spectra.stft(wave, 1280, 320), 1280, 320)
  np.testing.assert_allclose(again, wave, atol=1e-4)


@pytest.mark.parametrize("window", [64, 90])
def test_dft_by_matrix_equals_fft(window):
  x = jax.random.normal(jax.random.key(6), (3, window))
  spectrum = jnp.fft.rfft(x)
  np.testing.assert_allclose(spectra.rfft_by_matrix(x), spectrum, atol=1e-4)
  np.testing.assert_allclose(spectra.rfft(x), spectrum, atol=1e-5)
  for inverse in (spectra.irfft_by_matrix, spectra.irfft):
    np.testing.assert_allclose(inverse(spectrum), x, atol=1e-5)
  # The imaginary parts of the first and the last bin are nobody's.
  imaginary = jnp.zeros_like(spectrum).at[:, jnp.array([0, -1])].set(1j)
  np.testing.assert_allclose(
    spectra.irfft_by_matrix(spectrum + imaginary), x, atol=1e-5
  )


def test_overlap_add_is_the_adjoint_of_frame():
  x = jax.random.normal(jax.random.key(7), (1, 1000))
  y = jax.random.normal(jax.random.key(8), (1, 10, 400))
  left = jnp.vdot(spectra.frame(x, 400, 100), y)
  right = jnp.vdot(x, spectra.overlap_add(y, 100))
  np.testing.assert_allclose(left, right, rtol=1e-4)


def test_log_mel_of_silence_has_a_finite_gradient():
  spec = spectra.LogMel()
  grad = jax.grad(lambda w: spectra.log_mel(w, spec).sum())(jnp.zeros((1, 640)))
  assert np.isfinite(grad).all()
