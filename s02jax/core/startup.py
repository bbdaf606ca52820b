"""Start of a process that uses JAX: logging and the compilation cache."""

import functools
import logging
import os
import pathlib
import threading
import time
from collections.abc import Sequence
from typing import Any

import jax

# Seconds of this process's work after which a program that is not there yet is
# being compiled: one from the cache is.
COMPILES = 1.0
_ASKED = "/jax/compilation_cache/compile_requests_use_cache"
_HIT = "/jax/compilation_cache/cache_hits"
_THERE = "/jax/core/compile/backend_compile_duration"


def set_up() -> None:
  """Turns the compilation cache on, and logs plain lines to stderr."""
  use_compilation_cache()
  log_to_stderr("%(message)s", quiet=("absl", "jax", "orbax"))


def log_to_stderr(line: str, quiet: Sequence[str]) -> None:
  """Logs lines of level INFO and above to stderr.

  Args:
    line: format of a line.
    quiet: loggers of libraries that log nothing below WARNING.
  """
  logging.basicConfig(level=logging.INFO, format=line, force=True)
  for name in quiet:
    logging.getLogger(name).setLevel(logging.WARNING)


class Programs:
  """Executables of this process: compiled, or read from the cache.

  The listeners are called by `jax.monitoring`, in the thread that needs a
  program.
  """

  hits = 0  # executables that were read from the cache
  _asked: dict[int, float] = {}  # thread -> CPU time since it waits for one

  @classmethod
  def listen(cls, event: str, **_: Any) -> None:
    """Listens to events."""
    if event == _ASKED:
      cls._asked[threading.get_ident()] = time.process_time()
    elif event == _HIT:
      cls.hits += 1

  @classmethod
  def listen_to_durations(cls, event: str, *_: Any, **__: Any) -> None:
    """Listens to events that have a duration."""
    if event == _THERE:
      cls._asked.pop(threading.get_ident(), None)

  @classmethod
  def compiling(cls) -> bool:
    """Whether a thread waits for a program that is not in the cache."""
    before = time.process_time() - COMPILES
    return any(since < before for since in list(cls._asked.values()))


def cache_folder() -> str:
  """Folder of compiled programs: $S02_CACHE, or s02jax/xla in the user's cache.

  JAX keeps those of each kind of processor and accelerator apart.
  """
  home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
  return os.environ.get("S02_CACHE") or str(
    pathlib.Path(home) / "s02jax" / "xla"
  )


@functools.cache
def use_compilation_cache() -> None:
  """Keeps executables for later runs in `cache_folder`.

  A process that has set a cache of its own for JAX keeps that one, unless
  S02_CACHE names another.
  """
  folder = cache_folder()
  present = jax.config.values["jax_compilation_cache_dir"]
  if present is None or ("S02_CACHE" in os.environ and present != folder):
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    present = folder
  jax.monitoring.register_event_listener(Programs.listen)
  jax.monitoring.register_event_duration_secs_listener(
    Programs.listen_to_durations
  )
  logging.info("compilation cache: %s", present)
