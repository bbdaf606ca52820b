"""Clips as pretrained networks take them; optional packages on demand."""

import importlib
import importlib.util
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from s02jax.audio import spectra
from s02jax.core.errors import UserError
from s02jax.pretrained import signal

SHORTEST = signal.JUDGE_RATE // 10  # samples in which there may be a word


def require(*names: str) -> list[Any]:
  """All of them, imported: none is a requirement of this package."""
  modules = [name.replace("-", "_") for name in names]
  for name, module in zip(names, modules, strict=True):
    if importlib.util.find_spec(module) is None:
      raise UserError(
        f"the package {name} is not installed; run: pip install"
        f" {' '.join(names)}"
      )
  return [importlib.import_module(module) for module in modules]


def read_wave(path: pathlib.Path) -> np.ndarray:
  """float32[n] at 16 kHz."""
  return signal.to_judge_rate(*spectra.read(path))


def each_clip(
  paths: Sequence[pathlib.Path], hear: Callable[[np.ndarray], str]
) -> list[str]:
  """What is heard in each file: nothing in less than a tenth of a second."""
  waves = (read_wave(path) for path in paths)
  return [hear(wave) if len(wave) >= SHORTEST else "" for wave in waves]
