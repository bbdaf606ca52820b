"""Doubts about a recording that is taken: in a corpus, or as a reference."""

import numpy as np

from s02jax.pretrained import signal, silero
from s02jax.text import pace


def doubts(wave: np.ndarray, rate: int, text: str | None) -> tuple[str, ...]:
  """Says what is doubtful about a recording, in phrases for a person.

  Whether anybody speaks is asked only where the detector is installed.

  Args:
    wave: float32 [n], trimmed and levelled.
    rate: Hz.
    text: transcript in spoken words; None or empty where there is none.
  """
  found = [pace.doubtful(text or "", len(wave) / rate)]
  if silero.is_installed() and silero.nobody_speaks(
    signal.to_judge_rate(wave, rate)
  ):
    found.append("nobody seems to speak in it")
  return tuple(reason for reason in found if reason)
