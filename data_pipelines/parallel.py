"""Parallel map over processes: results in order, bounded memory."""

import collections
import concurrent.futures
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

WINDOW = 16  # most tasks and results in memory, for each process


def _end_with_parent() -> None:
  """Ends a worker with its parent, which cannot stop it when it is killed."""
  parent = multiprocessing.parent_process()
  assert parent is not None

  def watch() -> None:
    parent.join()
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()


class Workers:
  """Pool of freshly spawned processes; a context manager.

  A task that kills its process (a decoder that crashes, say) costs itself
  and nothing else: the processes are started again and the tasks that were
  under way are repeated, one at a time.
  """

  def __init__(self, processes: int):
    self._processes = processes
    self._pool = self._start()

  def _start(self) -> concurrent.futures.ProcessPoolExecutor:
    return concurrent.futures.ProcessPoolExecutor(
      self._processes,
      mp_context=multiprocessing.get_context("spawn"),
      initializer=_end_with_parent,
    )

  def __enter__(self) -> "Workers":
    return self

  def __exit__(self, kind, error, traceback) -> None:
    self._pool.shutdown(cancel_futures=True)

  def _submit(
    self, function: Callable[[Task], Result], task: Task
  ) -> concurrent.futures.Future[Result]:
    try:
      return self._pool.submit(function, task)
    except BrokenProcessPool:
      self._pool.shutdown(cancel_futures=True)
      self._pool = self._start()
      return self._pool.submit(function, task)

  def _alone(
    self,
    function: Callable[[Task], Result],
    task: Task,
    crashed: Callable[[Task], Result],
  ) -> Result:
    try:
      return self._submit(function, task).result()
    except BrokenProcessPool:
      return crashed(task)

  def map(
    self,
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    crashed: Callable[[Task], Result],
  ) -> Iterator[Result]:
    """Yields function(task) for each task, in order.

    Args:
      function: function that the processes can import.
      tasks: read only as far ahead as the window.
      crashed: gives the result of a task that killed its process.
    """
    pending: collections.deque = collections.deque()

    def finish() -> Iterator[Result]:
      task, future = pending.popleft()
      try:
        yield future.result()
      except BrokenProcessPool:
        yield self._alone(function, task, crashed)
        while pending:
          yield self._alone(function, pending.popleft()[0], crashed)

    for task in tasks:
      pending.append((task, self._submit(function, task)))
      if len(pending) >= WINDOW * self._processes:
        yield from finish()
    while pending:
      yield from finish()
