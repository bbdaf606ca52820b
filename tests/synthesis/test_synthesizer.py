"""Measurements of the models of a bundle."""

import jax
import numpy as np
import pytest

from s02jax.synthesis.synthesizer import Synthesizer
from tests import tiny


def test_measurements_keep_lengths(synthesizer):
  waves = [tiny.wave(1.0), tiny.wave(1.5, 1)[: 37 * tiny.SAMPLES + 5]]
  tokens = synthesizer.tokenize(waves)
  assert [len(t) for t in tokens] == [25, 37]
  for result in (
    synthesizer.tokenizer_reconstruction(waves, waves[::-1]),
    synthesizer.resynthesize(waves),
    synthesizer.from_tokens(tokens, waves, steps=2),
  ):
    assert [len(w) for w in result] == [25 * tiny.SAMPLES, 37 * tiny.SAMPLES]
    assert all(np.isfinite(w).all() for w in result)
  assert all(
    isinstance(text, str) for text in synthesizer.ctc_transcribe(waves)
  )
  used = len(set(np.concatenate(tokens).tolist()))
  assert synthesizer.codes_in_use(tokens) == used / 64


def test_cost_is_a_mean_over_all_target_tokens(synthesizer):
  reference = tiny.wave(1.0, 4)
  first = ("Good morning", "en", reference, tiny.wave(1.0, 1))
  second = ("El perro", "es", reference, tiny.wave(0.6, 2))
  costs = [synthesizer.ar_cost([item]) for item in (first, second)]
  expected = (26 * costs[0] + 16 * costs[1]) / 42
  assert synthesizer.ar_cost([first, second]) == pytest.approx(
    expected, rel=1e-5
  )
  assert 0 < costs[0] < 20
  other = ("Why?", *first[1:])
  assert abs(synthesizer.ar_cost([other]) - costs[0]) > 1e-4


def test_loading_compiles_nothing():
  """Each shape of a weight was a program of its own, 120 in a demo's bundle."""
  bundle, compiled = tiny.bundle(), []
  jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: (
      "backend_compile" in event and compiled.append(event)
    )
  )
  jax.clear_caches()
  Synthesizer(bundle)
  assert compiled == []
  jax.jit(lambda x: x + 1)(1.0)
  assert compiled  # the listener hears
