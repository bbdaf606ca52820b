"""Spectra on several devices: each transforms the frames that it holds."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s02jax import sharding
from s02jax.audio import spectra

MEL = spectra.LogMel(hop=320, window=640)
CASES = {
  "rfft": (spectra.rfft, (16, 12, 64), jnp.float32),
  "irfft": (spectra.irfft, (16, 12, 33), jnp.complex64),
  "log-mel": (lambda wave: spectra.log_mel(wave, MEL), (16, 3200), jnp.float32),
  "gradient": (
    jax.grad(lambda wave: jnp.sum(spectra.log_mel(wave, MEL) ** 2)),
    (16, 3200),
    jnp.float32,
  ),
}


@pytest.mark.parametrize("case", CASES)
def test_no_frame_is_gathered_for_its_transform(case):
  function, shape, dtype = CASES[case]
  mesh = sharding.make_mesh({"data": 4, "fsdp": 2})
  placed = sharding.batch_sharding(mesh)
  x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
  x = (x[0] + 1j * x[1]).astype(dtype) if dtype == jnp.complex64 else x[0]
  with jax.set_mesh(mesh):
    step = jax.jit(function, in_shardings=placed, out_shardings=placed)
    compiled = step.lower(x).compile()
    found = compiled(jax.device_put(x, placed))
  text = compiled.as_text()
  assert re.search(r" fft\(", text) and "all-gather" not in text
  np.testing.assert_allclose(found, function(x), rtol=1e-4, atol=1e-3)


def test_frames_that_do_not_split_are_transformed_whole():
  x = np.ones((3, 5, 8), np.float32)
  with jax.set_mesh(sharding.make_mesh({"data": 8})):
    found = jax.jit(spectra.rfft)(x)
  np.testing.assert_allclose(found, np.fft.rfft(x), atol=1e-5)
