"""Several processes, results in order, a bounded number of them in memory."""

import collections
import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def process_pool(
  processes: int,
) -> concurrent.futures.ProcessPoolExecutor:
  """Freshly spawned processes: they share no state with this one."""
  return concurrent.futures.ProcessPoolExecutor(
    processes, mp_context=multiprocessing.get_context("spawn")
  )


def ordered_map(
  pool: concurrent.futures.Executor,
  function: Callable[[Task], Result],
  tasks: Iterable[Task],
  window: int,
) -> Iterator[Result]:
  """map() that holds at most `window` tasks and results at any time."""
  pending: collections.deque[concurrent.futures.Future[Result]]
  pending = collections.deque()
  for task in tasks:
    pending.append(pool.submit(function, task))
    if len(pending) >= window:
      yield pending.popleft().result()
  while pending:
    yield pending.popleft().result()
