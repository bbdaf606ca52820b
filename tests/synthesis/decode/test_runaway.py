"""Loops and endless silences are found; ordinary speech passes."""

import numpy as np
import pytest

from s02jax.synthesis.decode.runaway import (
  LOOP,
  SILENT_TOKENS,
  SPAN,
  TOLERATED,
  RunawayDetector,
)


def judged(tokens) -> RunawayDetector:
  """Detector after these tokens, or after those up to a runaway."""
  detector, sure = RunawayDetector(), 0
  for token in tokens:
    detector.push(token)
    assert detector.sure >= sure  # nothing is taken back
    sure = detector.sure
    if detector.ran_away:
      break
  return detector


def test_speech_is_sure_at_once_and_short_repetitions_pass():
  random = np.random.default_rng(0)
  speech = random.integers(0, 60, 400).tolist()
  assert judged(speech).sure == 400
  stutter = speech[:50] + [3] * (LOOP - 1) + speech[50:90]
  detector = judged(stutter)
  assert not detector.ran_away
  assert detector.sure == len(stutter)
  assert judged(speech[:50] + [3] * 40).sure == 51 + TOLERATED


@pytest.mark.parametrize("period", [1, 2, 7, 16])
def test_loops_run_away_wherever_they_begin(period):
  speech = np.random.default_rng(1).integers(50, 99, 33).tolist()
  detector = judged(speech + list(range(period)) * 99)
  assert detector.ran_away
  assert detector.sure <= 33 + max(period + TOLERATED, SPAN)


def test_a_silence_of_few_tokens_runs_away():
  random = np.random.default_rng(2)
  speech = random.integers(0, 60, 40).tolist()
  silence = random.integers(70, 73, 200).tolist()
  detector = judged(speech + silence)
  assert detector.ran_away
  assert detector.sure < 40 + SPAN
  assert detector.sure > 40
  pause = speech + silence[: SPAN + SILENT_TOKENS - 5] + speech
  assert not judged(pause).ran_away
