"""Eight fake devices, strict shapes, and one cache of compiled programs."""

import pathlib
import sys

import jax
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "xla"

# So that a config may name "tests.toy_stage:ToyStage".
sys.path.insert(0, str(ROOT))

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture
def random() -> np.random.Generator:
  """A generator with the same numbers in every run."""
  return np.random.default_rng(0)


@pytest.fixture(scope="module")
def nothing_is_kept():
  """A program for a TPU that is not there cannot be read from the cache."""
  name = "jax_persistent_cache_min_compile_time_secs"
  before = getattr(jax.config, name)
  jax.config.update(name, float("inf"))
  yield
  jax.config.update(name, before)
