"""Lines of training runs, as tests read them, and signals at a step."""

import json
import pathlib
import signal
from collections.abc import Callable
from typing import Any

import pytest

from s02jax.training import metrics


def lines(workdir: str | pathlib.Path) -> list[dict[str, Any]]:
  """Lines of a run's metrics.jsonl, in order."""
  text = (pathlib.Path(workdir) / "metrics.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]


def losses(workdir: str | pathlib.Path) -> dict[int, float]:
  """Training loss of every step; a step logged twice fails the test."""
  found = [line for line in lines(workdir) if "loss" in line]
  out = {line["step"]: line["loss"] for line in found}
  assert len(out) == len(found)
  return out


def at_step(
  monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], Any]
) -> None:
  """Calls `act` once the training line of `step` is written."""
  plain = metrics.MetricsWriter.write

  def write(self, at, values, *more):
    plain(self, at, values, *more)
    if at == step and "loss" in values:
      act()

  monkeypatch.setattr(metrics.MetricsWriter, "write", write)


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
  """Sends this process a SIGTERM once the line of `step` is written."""
  at_step(monkeypatch, step, lambda: signal.raise_signal(signal.SIGTERM))
