"""Signs of life of `s02 synthesize`: compiling, and seconds of speech so far.

On a terminal a line on stderr that is written anew; elsewhere lines of the log,
every EVERY seconds.

Shape letters: n samples.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from s02jax.core.startup import Programs

EVERY = 10.0  # seconds between two lines of a log
_TICK = 0.25  # seconds between two looks
_CLEAR = "\r\x1b[K"  # to the start of the line, and nothing behind
COMPILING = "compiling, once per bundle and machine"


class Progress:
  """Thread that tells what a command is doing while it does not say so.

  with Progress() as progress:
    for block in progress.count(blocks, rate):
      ...
  """

  def __init__(self, terminal: Any = None):
    """Says nothing yet.

    Args:
      terminal: stream whose last line is written anew; stderr where absent.
        Where it is no terminal, the log gets lines.
    """
    self._terminal = sys.stderr if terminal is None else terminal
    self._live = self._terminal.isatty()
    self._began = self._told = time.monotonic()
    self._seconds, self._compiling = 0.0, False
    self._stop = threading.Event()
    self._thread = threading.Thread(target=self._watch, daemon=True)

  def count(
    self, blocks: Iterable[np.ndarray], rate: int
  ) -> Iterator[np.ndarray]:
    """Passes blocks of sound float32 [n] on, and counts their seconds."""
    for block in blocks:
      self._seconds += len(block) / rate
      yield block

  def _watch(self) -> None:
    """Tells the state now and then, until the command is over."""
    while not self._stop.wait(_TICK):
      compiling = Programs.compiling()
      if self._live:
        self._rewrite(COMPILING if compiling else self._spoken())
      elif compiling and not self._compiling:
        logging.info("%s …", COMPILING)
      elif self._seconds and time.monotonic() - self._told >= EVERY:
        self._told = time.monotonic()
        logging.info("%s", self._spoken())
      self._compiling = self._compiling or compiling

  def _spoken(self) -> str:
    """Words on the speech so far."""
    if not self._seconds:
      return "loading and listening"
    return f"{self._seconds:.1f} s of speech"

  def _rewrite(self, line: str) -> None:
    """Replaces the last line of the terminal."""
    elapsed = time.monotonic() - self._began
    self._terminal.write(f"{_CLEAR}{line} ({elapsed:.0f} s)")
    self._terminal.flush()

  def _clear(self, _: logging.LogRecord) -> bool:
    """Clears the line in front of a line of the log."""
    self._terminal.write(_CLEAR)
    return True

  def __enter__(self) -> "Progress":
    if self._live:
      for handler in logging.root.handlers:
        handler.addFilter(self._clear)
    self._thread.start()
    return self

  def __exit__(self, *_: Any) -> None:
    self._stop.set()
    self._thread.join()
    if self._live:
      for handler in logging.root.handlers:
        handler.removeFilter(self._clear)
      self._terminal.write(_CLEAR)
      self._terminal.flush()
