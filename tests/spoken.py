"""Sentences by espeak-ng at 16 kHz, and noise, for tests of the judges."""

import functools

import numpy as np
import pytest

from s02jax.audio import espeak
from s02jax.pretrained import signal

SENTENCES = (
  "the old doctor walked to the river",
  "seven yellow birds sing every morning",
  "my little sister likes apple juice",
  "we waited an hour at the station",
  "nobody opened the green letter",
  "winter nights are long and quiet",
  "he bought bread and butter today",
  "the children ran across the garden",
  "music played under the old bridge",
  "please close the door behind you",
)
VOICES = {"ann": "f3", "ben": "klatt2", "cid": "m7", "dot": "klatt4"}
needs_pesq = pytest.mark.skipif(not signal.has_pesq(), reason=signal.NO_PESQ)


@functools.cache
def spoken(text, variant=None, voice="en-us", rate=160):
  """Sentence in a voice of espeak-ng, float32[n]."""
  wave, found = espeak.render(text, voice, variant=variant, rate=rate)
  return signal.to_judge_rate(wave, found)


def noise(n, seed=0, scale=0.1):
  """White noise, float32[n]."""
  return np.random.default_rng(seed).normal(0, scale, n).astype(np.float32)
