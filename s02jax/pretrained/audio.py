"""Input of the judges: 16 kHz waves of files; optional packages on demand."""

import importlib
import importlib.util
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from s02jax.audio import recording
from s02jax.core.errors import UserError
from s02jax.pretrained import signal

SHORTEST = signal.JUDGE_RATE // 10  # samples: shorter clips hold no word


def require(*names: str) -> list[Any]:
  """Imports optional packages.

  Args:
    names: as pip knows them.

  Returns:
    the modules, in the order of their names.

  Raises:
    UserError: one is not installed.
  """
  modules = [name.replace("-", "_") for name in names]
  for name, module in zip(names, modules, strict=True):
    if importlib.util.find_spec(module) is None:
      raise UserError(
        f"the package {name} is not installed; run: pip install"
        f" {' '.join(names)}"
      )
  return [importlib.import_module(module) for module in modules]


def read_wave(path: pathlib.Path) -> np.ndarray:
  """Reads an audio file as float32[n] at 16 kHz. Raises UserError."""
  return signal.to_judge_rate(*recording.read(path))


def transcribe_each(
  paths: Sequence[pathlib.Path], hear: Callable[[np.ndarray], str]
) -> list[str]:
  """Transcribes files one by one; clips below a tenth of a second are empty.

  Args:
    paths: audio files.
    hear: float32[n] at 16 kHz to its text.
  """
  waves = (read_wave(path) for path in paths)
  return [hear(wave) if len(wave) >= SHORTEST else "" for wave in waves]
