"""Processes for the judges.

Fresh ones: a fork would copy JAX's threads. Each with one thread of linear
algebra, which must be said before NumPy is imported; so this module imports
nothing, and it is the first that a process loads.
"""

import concurrent.futures
import multiprocessing
import os


def pool(count: int) -> concurrent.futures.Executor:
  """A pool of `count` processes, to be closed by the caller."""
  return concurrent.futures.ProcessPoolExecutor(
    count, multiprocessing.get_context("spawn"), initializer=_one_thread
  )


def _one_thread() -> None:
  for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
