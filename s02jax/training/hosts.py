"""Multi-process jobs: check that processes agree; end all when one fails.

A job of several processes cannot go on without one of them: the others wait
in a collective for ever. So each process sends a heartbeat every BEAT seconds
to the key-value store that JAX keeps on process 0. Process 0 names the one that
has been silent for SILENCE seconds, and every process ends with LOST. A process
that fails by itself tells why before it ends, and the others repeat it.

Exit codes: LOST, another process is gone (another start may help); STUCK, a
step did not end (the stacks of all threads are in the log); PASSING, the
runtime aborted, as XLA and NCCL do on faults of a device or a link; otherwise
the code of the process that failed first.
"""

import contextlib
import ctypes
import faulthandler
import hashlib
import importlib.metadata
import json
import logging
import os
import pathlib
import signal
import socket
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable, Generator, Mapping
from typing import Any, NoReturn

import jax

from s02jax.core.errors import PASSING, UserError
from s02jax.core.version import VERSION
from s02jax.training.clock import Clock

# Exit codes.
LOST = 69
STUCK = 70

# Times in seconds. A killed process is named after SILENCE and a few BEATs.
BEAT = 2.0
SILENCE = 30.0
# Time that a process has to end by itself, once another's end has been told.
GRACE = 4.0
# Time that process 0 outlasts what ends the job: JAX aborts the others, without
# a word from us, as soon as it is gone.
OUTLAST = 2 * (GRACE + BEAT)
# JAX's own timeout, which ends processes without a word from us; half of it may
# be enough. So it must be longer than ours.
HEARTBEAT_TIMEOUT = 100
# Time for all processes to join, and for all of them to leave.
START_TIMEOUT = 300
LEAVE_TIMEOUT = 60

# Keys in the job's store, and the heartbeat of a process that is done.
_BEATS, _END, _HOSTS = "s02jax/beat/", "s02jax/end/", "s02jax/host/"
_LEFT = "left"


def connect(
  coordinator: str | None, processes: int | None, process: int | None
) -> None:
  """Joins the job and waits until all of its processes have.

  Args:
    coordinator: host:port of process 0.
    processes: how many there are.
    process: number of this one. Where all three are None, the cluster's
      environment has them.
  """
  _on_abort(
    lambda: (
      LOST,
      "no process 0, or not all processes, within "
      f"{START_TIMEOUT} s; see the logs of the others.",
    )
  )
  jax.distributed.initialize(
    coordinator,
    processes,
    process,
    initialization_timeout=START_TIMEOUT,
    heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
    shutdown_timeout_seconds=LEAVE_TIMEOUT,
  )


def _state() -> Any:
  """JAX's record of the job: its client of the key-value store, and ids."""
  # The one place where JAX keeps it has no public name.
  from jax._src import distributed

  return distributed.global_state


def store() -> Any:
  """Client of the job's key-value store; None in a job of one process."""
  return _state().client


# -------------------------------------------------------- the same everywhere

# Packages whose versions decide what is drawn, compiled and summed.
_DECISIVE = ("numpy", "jax", "jaxlib", "libtpu", "jax-cuda12-plugin",
             "jax-cuda13-plugin")  # fmt: skip


def fingerprint() -> str:
  """Version of the package and a digest of its sources."""
  root = pathlib.Path(__file__).parents[1]  # s02jax/
  digest = hashlib.sha256()
  for path in sorted(root.rglob("*.py")):
    digest.update(path.relative_to(root).as_posix().encode())
    digest.update(path.read_bytes())
  return f"{VERSION}+{digest.hexdigest()[:12]}"


def versions() -> dict[str, str]:
  """Versions of the installed packages that results depend on, by name."""
  found = {}
  for name in _DECISIVE:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      found[name] = importlib.metadata.version(name)
  return found


def meet(name: str, seconds: float) -> None:
  """Waits until every process is here, at most so long beyond the usual.

  Args:
    name: of the place, one for each call.
    seconds: that one of them may have to wait for something else.
  """
  if (client := _state().client) is not None:
    client.wait_at_barrier(
      f"s02jax/{name}", int(1000 * (START_TIMEOUT + seconds))
    )


def agree(facts: Mapping[str, Any]) -> None:
  """Compares facts of every process with those of process 0.

  Args:
    facts: names and JSON values.

  Raises:
    UserError: on every process, naming those that differ, and in what.
  """
  client, me = _state().client, _state().process_id
  if client is None:
    return
  wait = START_TIMEOUT * 1000
  if me == 0:
    client.key_value_set("s02jax/facts", json.dumps(facts))
  first = json.loads(client.blocking_key_value_get("s02jax/facts", wait))
  mine = json.loads(json.dumps(facts))
  different = [
    f"{name} is {mine.get(name)!r}, not {first.get(name)!r}"
    for name in sorted(first | mine)
    if first.get(name) != mine.get(name)
  ]
  if different:
    sentence = f"process {me} ({socket.gethostname()}): {', '.join(different)}"
    client.key_value_set(f"s02jax/differs/{me}", sentence)
  client.wait_at_barrier("s02jax/agree", wait)
  found = sorted(s for _, s in client.key_value_dir_get("s02jax/differs/"))
  if found:
    raise UserError(
      "the processes of this job differ from process 0: "
      f"{'; '.join(found[:4])}{f'; {len(found) - 4} more' * (len(found) > 4)}"
      "; start all of them with the same code, config and devices."
    )


class Total:
  """Counter shared by all processes of a job; thread-safe."""

  def __init__(self, name: str):
    """Begins at zero.

    Args:
      name: name of the counter, the same on every process.
    """
    self._name = f"s02jax/total/{name}"
    self._lock = threading.Lock()
    self._alone = 0

  def add(self, more: int) -> int:
    """Adds to the counter; returns the sum after that."""
    client = _state().client
    if client is not None:
      return client.key_value_increment(self._name, more)
    with self._lock:
      self._alone += more
      return self._alone

  def read(self) -> int:
    """Sum of what all processes have added until now."""
    return self.add(0)  # the job's store has no number before the first add


class Alarm:
  """Alarm at the same step on all processes, by the clock of process 0."""

  def __init__(self, seconds: float, every: int):
    """Begins to count.

    Args:
      seconds: time from one alarm, or `reset`, to the next; 0 for none.
      every: number of steps between two looks at the clock.
    """
    self._seconds, self._every = seconds, max(every, 1)
    self.reset()

  def reset(self) -> None:
    """Begins to count anew."""
    self._began = time.monotonic()

  def due(self, step: int) -> bool:
    """Whether the time is over; every process must ask after every step."""
    if not self._seconds or step % self._every:
      return False
    over = time.monotonic() - self._began >= self._seconds
    client, me = _state().client, _state().process_id
    if client is not None:
      key = f"s02jax/alarm/{step}"
      if me == 0:
        client.key_value_set(key, "over" if over else "")
      wait = START_TIMEOUT * 1000
      over = bool(client.blocking_key_value_get(key, wait))
    if over:
      self.reset()
    return over


# ------------------------------------------------------------- ending together


# What Google Cloud tells a virtual machine of its maintenance.
_MAINTENANCE = (
  "http://metadata.google.internal/computeMetadata/v1/instance/"
  "maintenance-event"
)
_NO_MAINTENANCE = "NONE"
_VENDOR = pathlib.Path("/sys/class/dmi/id/sys_vendor")


def heed_maintenance(
  address: str = _MAINTENANCE, vendor: pathlib.Path = _VENDOR
) -> threading.Thread | None:
  """Watches for a notice of maintenance, and answers it as a SIGTERM.

  Args:
    address: that the notice is read from.
    vendor: file that says whose machine this is.

  Returns:
    The thread that waits for it; None where this is no machine of Google's.
  """
  try:
    if "Google" not in vendor.read_text():
      return None
  except OSError:
    return None
  thread = threading.Thread(
    target=_wait_for_maintenance,
    args=(address,),
    daemon=True,
    name="watch for maintenance",
  )
  thread.start()
  return thread


def _wait_for_maintenance(address: str) -> None:
  """Reads the notice until there is one; then sends this process a SIGTERM."""
  request = urllib.request.Request(
    f"{address}?wait_for_change=true&timeout_sec=60",
    headers={"Metadata-Flavor": "Google"},
  )
  while True:
    try:
      with urllib.request.urlopen(request, timeout=90) as answer:
        notice = answer.read().decode().strip()
    except OSError:  # away for a moment, as its own machine may be
      time.sleep(5.0)
      continue
    if notice and notice != _NO_MAINTENANCE:
      logging.warning("maintenance is announced (%s): saving", notice)
      os.kill(os.getpid(), signal.SIGTERM)
      return


class StopSignal:
  """Context that remembers a SIGTERM, to end the loop at a step boundary."""

  def __init__(self):
    self._received = False

  def __enter__(self) -> "StopSignal":
    # JAX's own service listens where there are several processes.
    if jax.process_count() == 1:
      self._before = signal.signal(signal.SIGTERM, self._receive)
    return self

  def __exit__(self, *_: Any) -> None:
    if jax.process_count() == 1:
      signal.signal(signal.SIGTERM, self._before)

  def _receive(self, *_: Any) -> None:
    """Handler of the signal."""
    self._received = True

  def requested(self, step: int) -> bool:
    """Whether to stop: on every process at the same step, after one SIGTERM."""
    if jax.process_count() == 1:
      return self._received
    from jax.experimental import multihost_utils

    return multihost_utils.reached_preemption_sync_point(step)


@contextlib.contextmanager
def together() -> Generator[None]:
  """Context that ends this process with another, and the others with this."""
  if _state().client is None:
    yield
    return
  global _watch
  watch = _watch = Watch(_state().client, _state().process_id)
  watch.explain_abort()
  watch.start()
  try:
    yield
  except UserError as error:
    print(f"s02: {error}", file=sys.stderr)
    watch.end(error.code, str(error))
  except KeyboardInterrupt:
    watch.end(130, "stopped by the keyboard")
  except BaseException as error:
    traceback.print_exc()
    watch.wait_for_a_silent_one()
    watch.end(1, " ".join(f"{type(error).__name__}: {error}".split())[:500])
  watch.leave()


_watch: "Watch | None" = None


class Watch(threading.Thread):
  """Thread that sends this process's heartbeats and looks for missing ones.

  Attributes:
    left: event that is set once the process has done its part.
  """

  def __init__(self, client: Any, me: int):
    """Joins the job's store.

    Args:
      client: client of the store, as JAX has it.
      me: number of this process.
    """
    super().__init__(daemon=True, name="watch over the processes")
    self._client = client
    self._me = me
    self.left = threading.Event()
    # process -> its last beat, and the local time when that was new
    self._seen: dict[int, tuple[str, float]] = {}
    client.key_value_set(f"{_HOSTS}{me}", socket.gethostname())
    wait = START_TIMEOUT * 1000
    self._first = client.blocking_key_value_get(f"{_HOSTS}0", wait)

  def explain_abort(self) -> None:
    """Puts a sentence on abort(), which JAX calls when process 0 is gone.

    XLA and NCCL call it as well, after a message of their own.
    """
    if self._me:
      _on_abort(
        lambda: why_aborted(self._me, self._first, _state().coordinator_address)
      )
    else:
      signal.signal(signal.SIGABRT, signal.SIG_DFL)

  def run(self) -> None:
    """Sends a heartbeat every BEAT seconds, until `leave`."""
    beat = 0
    while not self.left.is_set():
      beat += 1
      answer = threading.Timer(SILENCE, self._no_answer)
      answer.daemon = True
      if self._me:
        answer.start()
      try:
        self._beat(str(beat))
      except Exception as error:  # the client has no class of its own
        self._no_answer(f": {error}")
      answer.cancel()
      self.left.wait(BEAT)

  def _no_answer(self, why: str = "") -> None:
    """Ends this process: process 0, with the job's store, is out of reach."""
    if not self.left.is_set():
      die(LOST, f"process 0 ({self._first}) does not answer{why}")

  def _beat(self, beat: str) -> None:
    """Sends one heartbeat, and follows what other processes have told."""
    self._client.key_value_set(
      f"{_BEATS}{self._me}", beat, allow_overwrite=True
    )
    for _, told in self._client.key_value_dir_get(_END):
      self.follow(json.loads(told))
    if self._me == 0:
      silent = self._silent()
      if silent:
        hosts = dict(self._client.key_value_dir_get(_HOSTS))
        names = [f"process {p} ({hosts[f'{_HOSTS}{p}']})" for p in silent[:8]]
        more = f" and {len(silent) - 8} more" if len(silent) > 8 else ""
        self.end(
          LOST, f"no sign of {', '.join(names)}{more} for {SILENCE:.0f} s"
        )

  def _silent(self) -> list[int]:
    """Processes without a new beat for SILENCE seconds."""
    now, out = time.monotonic(), []
    for key, beat in self._client.key_value_dir_get(_BEATS):
      process = int(key.rpartition("/")[2])
      if self._seen.get(process, ("", 0.0))[0] != beat:
        self._seen[process] = beat, now
      elif beat != _LEFT and now - self._seen[process][1] > SILENCE:
        out.append(process)
    return sorted(out)

  def follow(self, told: dict[str, Any]) -> None:
    """Ends as another process told, if this one does not end by itself."""
    if told["by"] == self._me:
      return
    if told["code"] == STUCK:
      faulthandler.dump_traceback(all_threads=True)
    self.left.wait(GRACE if self._me else OUTLAST)
    if not self.left.is_set():
      die(told["code"], f"{told['why']}; process {self._me} ends with it")

  def wait_for_a_silent_one(self) -> None:
    """Sleeps until a dead peer would be named: a collective fails sooner."""
    self.left.wait(SILENCE + 3 * BEAT)

  def end(self, code: int, why: str) -> NoReturn:
    """Tells the others why this process ends, and ends it."""
    why = f"process {self._me} ({socket.gethostname()}) ends: {why}"
    told = json.dumps({"by": self._me, "code": code, "why": why})
    with contextlib.suppress(Exception):  # process 0 may be what is gone
      self._client.key_value_set(f"{_END}{self._me}", told)
    # The store goes with process 0: let the others read first. And let them log
    # their stacks, before a collective without this process fails.
    if self._me == 0:
      time.sleep(OUTLAST)
    elif code == STUCK:
      time.sleep(GRACE + 2 * BEAT)
    die(code, why)

  def leave(self) -> None:
    """Stops the heartbeats of a process that has done its part."""
    self.left.set()
    self.join(10 * BEAT)
    self._client.key_value_set(
      f"{_BEATS}{self._me}", _LEFT, allow_overwrite=True
    )


def give_up(code: int, why: str) -> NoReturn:
  """Ends the process from any thread, and its job with it."""
  _watch.end(code, why) if _watch else die(code, why)


def die(code: int, why: str) -> NoReturn:
  """Ends the process at once, as its other threads may wait for ever."""
  logging.error("%s (exit code %d)", why, code)
  logging.shutdown()
  sys.stderr.flush()
  os._exit(code)


_handler: Any = None


def why_aborted(me: int, first: str, address: str | None) -> tuple[int, str]:
  """Exit code and sentence for an abort() in this process.

  Args:
    me: number of this process.
    first: host of process 0.
    address: host:port of the job's store on process 0.
  """
  here = f"process {me} ({socket.gethostname()})"
  if _answers(address):
    return PASSING, (
      f"the runtime aborted {here} while process 0 ({first}) is there; what it"
      " said of itself, as XLA or NCCL do, is above."
    )
  return LOST, (
    f"JAX aborted {here}, as it does when process 0 ({first}) is gone."
  )


def _answers(address: str | None) -> bool:
  """Whether a port takes connections."""
  host, _, port = (address or "").rpartition(":")
  try:
    socket.create_connection((host.strip("[]"), int(port)), timeout=2.0).close()
  except (OSError, ValueError):
    return False
  return True


def _on_abort(explain: Callable[[], tuple[int, str]]) -> None:
  """Turns abort() of the runtime, in any thread, into a sentence and its code.

  Python's own handlers run after the one in C has returned, which is too late.
  """
  global _handler

  def handle(_: int) -> None:
    code, why = explain()
    os.write(2, f"{why} (exit code {code})\n".encode())
    os._exit(code)

  handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(handle)
  set_handler = ctypes.CDLL(None).signal
  set_handler.restype = ctypes.c_void_p
  set_handler(int(signal.SIGABRT), handler)
  _handler = handler  # C holds no reference to it


# ---------------------------------------------------------------- stuck steps

# Phases of a step. Compiling and restoring have no limit.
_LIMITED = ("data", "step", "checkpoint", "evaluate")


@contextlib.contextmanager
def limited(clock: Clock, seconds: float) -> Generator[None]:
  """Context that ends the process with STUCK when a phase takes too long.

  Args:
    clock: clock of the loop.
    seconds: limit of each phase of a step; 0 means none.
  """
  if not seconds:
    yield
    return
  done = threading.Event()
  threading.Thread(
    target=_look_for_stuck,
    args=(clock, seconds, done.wait),
    daemon=True,
    name="watch over the steps",
  ).start()
  try:
    yield
  finally:
    done.set()


def _look_for_stuck(
  clock: Clock, seconds: float, wait: Callable[[float], bool]
) -> None:
  """Compares the clock with the limit until `wait` returns True."""
  while not wait(min(seconds / 4, 10.0)):
    phase, since = clock.phase, clock.since
    if phase in _LIMITED and time.perf_counter() - since > seconds:
      faulthandler.dump_traceback(all_threads=True)
      why = (
        f"the phase {phase!r} of a step takes longer than "
        f"config.stuck_seconds, {seconds:g}; the stacks of all threads are "
        "above"
      )
      give_up(STUCK, why)
