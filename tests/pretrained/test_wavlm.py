"""Speaker judge WavLM with tiny weights in the released format."""

import pickle
import zipfile

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from s02jax.core.errors import UserError
from s02jax.pretrained import torch_file, wavlm
from tests import torch_weights

N = 20000
# What UniSpeech's own PyTorch code makes of these weights and this clip. It
# changes only with `torch_weights.tiny_wavlm` or with `clip`.
EXPECTED = [-14.21107, -6.004081, -4.42416, 4.217037, 7.531102, 3.289036]


def clip(n=N):
  noise = np.random.default_rng(1).normal(size=n).astype(np.float32)
  return noise * 0.1 * np.sin(np.arange(n) / 3000).astype(np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
  path = tmp_path_factory.mktemp("weights") / "tiny.pth"
  with pytest.MonkeyPatch.context() as patch:
    saved = {"model": torch_weights.tiny_wavlm()}
    torch_weights.save(path, saved, patch)
  return path


@pytest.fixture(scope="module")
def judge(path):
  return wavlm.load(path)


def test_it_is_the_network_of_unispeech(judge):
  """Padding changes nothing: UniSpeech's code has none of our 12000 zeros."""
  assert N % wavlm.BUCKET == N
  found = judge(clip())
  assert found.dtype == np.float32
  assert_allclose(found, EXPECTED, rtol=1e-4)


def test_loudness_is_not_the_voice(judge):
  loud = judge(20 * clip())
  assert_allclose(judge(5 * clip()), loud, rtol=1e-3)
  assert not np.allclose(judge(clip()[::-1].copy()), loud, rtol=1e-2)


def test_silence_has_no_voice(judge):
  nobody = np.zeros(torch_weights.EMBEDDING, np.float32)
  assert_array_equal(judge(np.zeros(N, np.float32)), nobody)
  assert_array_equal(judge(clip(399)), nobody)
  assert_array_equal(judge(clip(0)), nobody)
  assert np.any(judge(clip(400)))


def test_distances_have_buckets():
  table = wavlm.distance_buckets(1700, 320)
  assert table.shape == (1700, 1700)
  # Near places one each, before and after apart, all used, none beyond.
  assert_array_equal(table[100, 100:180], [0, *range(161, 240)])
  assert_array_equal(table[100, 21:101], range(79, -1, -1))
  assert set(np.unique(table)) == set(range(320)) - {160}
  assert_array_equal(table[0, 801:], 319)
  assert np.all(np.diff(table[0, 1:]) >= 0)


# -------------------------------------------------------------------- files


def test_files_of_pytorch_are_read_without_it(path):
  saved = torch_file.load(path)["model"]
  expected = torch_weights.tiny_wavlm()
  assert set(saved) == set(expected)
  for name, value in expected.items():
    assert_array_equal(saved[name], value)


def test_strides_are_followed(tmp_path, monkeypatch):
  table = np.arange(12).reshape(3, 4)
  path = tmp_path / "view.pth"
  torch_weights.save(path, {"a": np.asfortranarray(table)}, monkeypatch)
  found = torch_file.load(path)["a"]
  assert found.dtype == np.int64
  assert_array_equal(found, table)


def test_other_files_are_refused(tmp_path, path, monkeypatch):
  text = tmp_path / "page.pth"
  text.write_text("<html>")
  with pytest.raises(UserError, match=r"page.pth: not the expected weights"):
    wavlm.load(text)
  archive = tmp_path / "other.zip"
  with zipfile.ZipFile(archive, "w") as file:
    file.writestr("a.txt", "")
  with pytest.raises(UserError, match=r"other.zip: not the expected weights"):
    wavlm.load(archive)
  with zipfile.ZipFile(archive, "w") as file:
    file.writestr("archive/data.pkl", pickle.dumps(zipfile.ZipFile))
  with pytest.raises(UserError, match="ZipFile is not allowed"):
    wavlm.load(archive)
  less = {"model": torch_weights.tiny_wavlm()}
  del less["model"]["linear.weight"]
  torch_weights.save(archive, less, monkeypatch)
  with pytest.raises(UserError, match=r"no 'linear.weight'"):
    wavlm.load(archive)
