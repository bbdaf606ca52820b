"""Weights stored in fewer bits come back as near as their kind allows."""

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from s02jax.core import tensors
from s02jax.core.errors import UserError


@pytest.mark.parametrize("kind", tensors.KINDS)
def test_weights_come_back_as_near_as_their_kind_allows(kind, tmp_path):
  random = np.random.default_rng(0)
  arrays = {
    "kernel": random.normal(size=(40, 30)).astype(np.float32),
    "taps": random.normal(size=(3, 8, 5)).astype(np.float32),
    "layers": random.normal(size=(3, 20, 16)).astype(np.float32),
    "few": random.normal(size=(7, 1, 4)).astype(np.float32),
    "scale": random.normal(size=7).astype(np.float32),
    "laid": random.normal(size=(6, 12)).astype(ml_dtypes.bfloat16),
  }
  arrays["kernel"][3] *= 100  # one row is no measure for the others
  stored, notes = tensors.pack(arrays, kind)
  path = tmp_path / "w.safetensors"
  path.write_bytes(safetensors.numpy.save(stored, notes))
  found = tensors.read_weights(path)
  assert found.keys() == arrays.keys()
  again = tensors.restore(*tensors.pack(found, kind))
  for name, x in found.items():
    np.testing.assert_array_equal(np.asarray(again[name]), np.asarray(x))
  most = {"float32": 0.0, "bfloat16": 2**-8, "int8": 1.01 / 253}[kind]
  for name, x in arrays.items():
    assert found[name].dtype == x.dtype and found[name].shape == x.shape
    a, b = (np.asarray(y, np.float32) for y in (found[name], x))
    unit = np.abs(b).max(axis=-1, keepdims=True)
    bound = np.full_like(b, 0) if x.ndim < 2 else most * unit
    if kind != "float32" and name == "laid":
      bound = bound + 2**-8 * unit
    if name == "taps" and kind == "int8":
      bound = most * np.abs(b).max()
    assert (np.abs(a - b) <= bound + 1e-7).all(), name
  path.write_bytes(path.read_bytes()[:-4])
  with pytest.raises(UserError, match="damaged"):
    tensors.read(path)
