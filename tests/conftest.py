"""Eight fake devices, strict shapes, and one cache of compiled programs."""

import os
import pathlib
import sys

# On a CPU, XLA's scheduler may start independent collectives in another order
# on each fake device; where threads are few, these then wait for each other
# until the process aborts. Said before jax is imported, and to child processes.
os.environ["XLA_FLAGS"] = " ".join(
  (
    os.environ.get("XLA_FLAGS", ""),
    "--xla_cpu_enable_concurrency_optimized_scheduler=false",
  )
)

import jax
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
# Outside the checkout, where a fresh clone finds it too. The processes that
# tests start keep their programs there as well.
CACHE = os.environ.setdefault(
  "S02_CACHE", str(pathlib.Path.home() / ".cache" / "s02jax" / "tests")
)

# So that a config may name "tests.toy_stage:ToyStage".
sys.path.insert(0, str(ROOT))

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", CACHE)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
# Compiling takes longer than everything else. Processes that tests start
# compile as users' do.
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="module", autouse=True)
def programs_are_dropped():
  """Forgets compiled programs behind a module, which would fill the memory."""
  yield
  jax.clear_caches()


@pytest.fixture
def random() -> np.random.Generator:
  """A generator with the same numbers in every run."""
  return np.random.default_rng(0)


@pytest.fixture(scope="module")
def nothing_is_kept():
  """Turns the cache off, which cannot read programs for an absent TPU."""
  name = "jax_persistent_cache_min_compile_time_secs"
  before = getattr(jax.config, name)
  jax.config.update(name, float("inf"))
  yield
  jax.config.update(name, before)
