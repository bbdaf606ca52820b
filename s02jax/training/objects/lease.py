"""One writer at a time for a folder in an object store, by a lease.

A store has no locks that end with their process. So the writer owns an object
`.lease/<number>` and writes it anew, with another count, every quarter of
LENGTH. Who finds the same count for all of LENGTH, by a clock of its own, makes
the object of the next number; a store makes an object that must not be there
yet for one of two that ask. An owner that finds a greater number, or could not
renew for three quarters of LENGTH, has lost the folder and ends: so it has
ended before anybody may follow. On the same host a dead owner is seen at once.
"""

import concurrent.futures
import contextlib
import json
import logging
import os
import pathlib
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from upath import UPath

FOLDER = ".lease"
LENGTH = 100.0  # seconds


class Lease:
  """Lease of a folder, which this process may or may not have."""

  def __init__(self, folder: "UPath", lost: Callable[[str], object]):
    """Asks nothing yet.

    Args:
      folder: folder in an object store.
      lost: called in another thread with the reason, where the lease that this
        process had is lost; the process must write no more.
    """
    self._fs: Any = folder.fs
    self._folder = f"{folder.path}/{FOLDER}"
    self._lost = lost
    self._me = f"{uuid.uuid4().hex[:12]}@{_host()}"
    self._number = self._count = 0
    # What the present owner had written, and the local time when it was new.
    self._seen: tuple[int, bytes] = 0, b""
    self._since = 0.0
    self._done = threading.Event()
    self._thread: threading.Thread | None = None

  def take(self) -> bool:
    """Tries once; False where another process has the folder.

    Raises:
      OSError: the store refuses.
    """
    newest = self._newest()
    if newest and not self._over(newest):
      return False
    self._number = newest + 1
    began = time.monotonic()
    try:
      self._fs.pipe_file(self._name(), self._content(), mode="create")
    except FileExistsError:
      return False
    for number in self._numbers():
      if number < self._number:
        with contextlib.suppress(FileNotFoundError):
          self._fs.rm_file(f"{self._folder}/{number}")
    self._thread = threading.Thread(
      target=self._keep, args=(began,), daemon=True, name="lease of the folder"
    )
    self._thread.start()
    return True

  def give_back(self) -> None:
    """Lets the next process in at once."""
    if self._thread is None:
      return
    self._done.set()
    self._thread.join(LENGTH)
    with contextlib.suppress(Exception):  # it runs out by itself
      if self._mine():
        self._fs.rm_file(self._name())

  def _name(self) -> str:
    return f"{self._folder}/{self._number}"

  def _content(self) -> bytes:
    """Content of the next renewal."""
    self._count += 1
    return json.dumps({"owner": self._me, "count": self._count}).encode()

  def _numbers(self) -> list[int]:
    """Numbers of all leases that there are."""
    try:
      found = self._fs.ls(self._folder, detail=False)
    except FileNotFoundError:
      return []
    names = [pathlib.PurePosixPath(path).name for path in found]
    return sorted(int(name) for name in names if name.isdigit())

  def _newest(self) -> int:
    """Number of the newest lease; 0 where there is none."""
    return max(self._numbers(), default=0)

  def _over(self, number: int) -> bool:
    """Whether a lease ran out, as far as this process has watched it."""
    try:
      content = bytes(self._fs.cat_file(f"{self._folder}/{number}"))
    except FileNotFoundError:  # given back in this moment
      return False
    if self._seen != (number, content):
      self._seen, self._since = (number, content), time.monotonic()
    if _is_dead(json.loads(content)["owner"]):
      return True
    return time.monotonic() - self._since > LENGTH

  def _mine(self) -> bool:
    """Whether the newest lease is this one's."""
    if self._newest() != self._number:
      return False
    content = json.loads(self._fs.cat_file(self._name()))
    return content["owner"] == self._me

  def _renew(self) -> bool:
    """Writes the object anew; False where it is no longer this one's."""
    if not self._mine():
      return False
    self._fs.pipe_file(self._name(), self._content())
    return True

  def _keep(self, renewed: float) -> None:
    """Renews until the lease is given back, or lost."""
    pool = concurrent.futures.ThreadPoolExecutor(1)
    why = ""
    while not self._done.wait(LENGTH / 50 if why else LENGTH / 4):
      began, why = time.monotonic(), ""
      left = renewed + LENGTH * 3 / 4 - began
      try:
        if not pool.submit(self._renew).result(max(left, 0.1)):
          self._lost("another job has taken it over")
          return
        renewed = began
      except Exception as error:  # a store's client has errors of its own
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        logging.warning("the lease of %s: %s", self._folder, why)
      if time.monotonic() - renewed > LENGTH * 3 / 4 and why:
        self._lost(f"its lease cannot be renewed ({why})")
        return


def _host() -> str:
  """Host, boot, namespace and number of this process."""
  parts = [socket.gethostname()]
  with contextlib.suppress(OSError):
    parts.append(pathlib.Path("/proc/sys/kernel/random/boot_id").read_text())
    parts.append(os.readlink("/proc/self/ns/pid"))
  return f"{'/'.join(x.strip() for x in parts)}/{os.getpid()}"


def _is_dead(owner: str) -> bool:
  """Whether the process of a lease was on this host, and is there no more."""
  here, _, me = _host().rpartition("/")
  there, _, process = owner.partition("@")[2].rpartition("/")
  if here != there or not process.isdigit():
    return False
  if process == me:  # this process has no lease, so that one is another's
    return True
  return not pathlib.Path(f"/proc/{process}").exists()
