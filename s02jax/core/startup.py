"""Start of a process that uses JAX: logging and the compilation cache."""

import logging
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax


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


class CacheCounter:
  """Count of the executables that this process read from the cache."""

  hits = 0

  @classmethod
  def listen(cls, event: str, **_: Any) -> None:
    """Listener for `jax.monitoring`."""
    if event == "/jax/compilation_cache/cache_hits":
      cls.hits += 1


def use_compilation_cache() -> None:
  """Keeps executables for later runs in $S02_CACHE, or ~/.cache/s02jax/xla."""
  default = pathlib.Path.home() / ".cache" / "s02jax" / "xla"
  folder = os.environ.get("S02_CACHE", str(default))
  jax.config.update("jax_compilation_cache_dir", folder)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
  jax.monitoring.register_event_listener(CacheCounter.listen)
  logging.info("compilation cache: %s", folder)
