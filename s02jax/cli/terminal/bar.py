"""Progress bar of a training run, on a terminal; elsewhere the log tells."""

import pathlib
import sys
import threading
from typing import Any

import tqdm

from s02jax.training.adapting import progress

_TICK = 0.5  # seconds between two looks


class TrainingBar:
  """Thread that shows the steps of the run in a folder while it trains."""

  def __init__(self, name: str, steps: int, workdir: pathlib.Path):
    """Shows nothing yet.

    Args:
      name: of what is trained.
      steps: of the whole run.
      workdir: folder of the run.
    """
    self._workdir = workdir
    self._bar = tqdm.tqdm(
      total=steps,
      desc=name,
      unit="step",
      disable=not sys.stderr.isatty(),
      initial=progress(workdir)[0],
    )
    self._stop = threading.Event()
    self._thread = threading.Thread(target=self._watch, daemon=True)

  def _watch(self) -> None:
    """Moves the bar until the run is over."""
    while not self._stop.wait(_TICK):
      self._show()

  def _show(self) -> None:
    """Moves the bar to the last step that is logged."""
    step, loss = progress(self._workdir)
    if step > self._bar.n:
      self._bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
      self._bar.update(step - self._bar.n)

  def __enter__(self) -> "TrainingBar":
    self._thread.start()
    return self

  def __exit__(self, *_: Any) -> None:
    self._stop.set()
    self._thread.join()
    self._show()
    self._bar.close()
