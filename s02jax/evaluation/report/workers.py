"""Worker processes of the judges."""

import concurrent.futures
import contextlib
import multiprocessing
import os
from collections.abc import Generator

_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@contextlib.contextmanager
def pool(count: int) -> Generator[concurrent.futures.Executor]:
  """Pool of `count` fresh processes: a fork would copy JAX's threads.

  Each has one thread of linear algebra, for several would wait for each other
  on the same cores. Libraries read that from the environment when they are
  loaded, so it is set here for as long as processes may start.
  """
  before = {name: os.environ.get(name) for name in _THREADS}
  os.environ.update(dict.fromkeys(_THREADS, "1"))
  try:
    with concurrent.futures.ProcessPoolExecutor(
      count, multiprocessing.get_context("spawn")
    ) as executor:
      yield executor
  finally:
    for name, value in before.items():
      os.environ.pop(name)
      if value is not None:
        os.environ[name] = value
