"""Logs of a run whose working directory lies in an object store.

Objects cannot be appended to. So every process keeps its logs in a folder on
its disk and sends each that has changed as a whole: before a checkpoint
begins, so that no line is lost that a resumed run does not write again, every
EVERY seconds, and at the end. Process 0 fetches those of earlier starts first.
The others have little to say; theirs is `process-<number>/`.
"""

import contextlib
import logging
import pathlib
import tempfile
import threading
from typing import Any

import jax

from s02jax.core import object_cache, places

EVERY = 60.0  # seconds
# Folders of models that a benchmark evaluates, and removes.
_LENT = "bundle"


class Journal:
  """Context with the folder of a run's logs on this host's disk.

  Attributes:
    folder: where to write them; the working directory, if it is on a disk.
  """

  def __init__(self, workdir: pathlib.Path):
    """Fetches nothing yet."""
    self.folder = workdir
    self._store = places.stored(workdir)
    me = jax.process_index()
    if self._store is not None and me:
      self._store = self._store / f"process-{me}"
    self._sent: dict[str, tuple[int, int]] = {}
    self._lock = threading.Lock()
    self._done = threading.Event()
    self._stack = contextlib.ExitStack()

  def __enter__(self) -> "Journal":
    if self._store is not None:
      made = tempfile.TemporaryDirectory(prefix="s02jax-logs-")
      self.folder = pathlib.Path(self._stack.enter_context(made))
      self._fetch()
      thread = threading.Thread(
        target=self._keep_sending, daemon=True, name="send the logs"
      )
      thread.start()
      self._stack.callback(thread.join)
      self._stack.callback(self._done.set)
    return self

  def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
    with self._stack:
      if kind is None:
        self.send()
      else:  # what went wrong before is what is told
        with contextlib.suppress(OSError):
          self.send()

  def send(self) -> None:
    """Sends what has changed; returns when it is there.

    Raises:
      OSError: the store refuses, or does not answer.
    """
    if self._store is None:
      return
    with self._lock, object_cache.as_os_errors(self._store):
      for path in sorted(self.folder.rglob("*")):
        name = path.relative_to(self.folder).as_posix()
        if _LENT in path.relative_to(self.folder).parts or not path.is_file():
          continue
        try:
          state = path.stat()
          version = state.st_mtime_ns, state.st_size
          if self._sent.get(name) == version:
            continue
          # What is appended meanwhile is sent the next time.
          data = path.read_bytes()
        except FileNotFoundError:  # gone in this moment
          continue
        self._store.fs.pipe_file(f"{self._store.path}/{name}", data)
        self._sent[name] = version

  def _fetch(self) -> None:
    """Copies the logs of earlier starts to the folder, but for folders."""
    assert self._store is not None
    fs = self._store.fs
    with object_cache.as_os_errors(self._store):
      try:
        found = fs.ls(self._store.path, detail=True)
      except FileNotFoundError:
        return
      for path in (info["name"] for info in found if info["type"] == "file"):
        target = self.folder / pathlib.PurePosixPath(path).name
        fs.get_file(path, str(target))
        state = target.stat()
        self._sent[target.name] = state.st_mtime_ns, state.st_size

  def _keep_sending(self) -> None:
    """Sends now and then, for people who watch."""
    while not self._done.wait(EVERY):
      try:
        self.send()
      except OSError as error:  # `send` by the loop will say it
        logging.warning("the logs cannot be sent now: %s", error)
