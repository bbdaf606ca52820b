"""Fixtures of synthesis: tiny random models of the real classes."""

import pytest

from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.synthesis.voice import Transcript
from tests import tiny


@pytest.fixture(scope="session")
def synthesizer():
  """Synthesizer of the tiny bundle; tests must not change it."""
  return Synthesizer(tiny.bundle())


@pytest.fixture(scope="session")
def voices(synthesizer):
  """Two voices, one without and one with a prompt."""
  waves = [tiny.wave(0.8, seed) for seed in (3, 4)]
  said = Transcript(text="Good morning", language="en")
  return synthesizer.voices(waves, [None, said])
