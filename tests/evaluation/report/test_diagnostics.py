"""Diagnostics of the models."""

import numpy as np
import pytest

from s02jax.evaluation.report.code_voices import told_by_codes


def test_what_a_wrong_text_and_a_wrong_voice_cost(results):
  for result in results.values():
    found = {k: v.value for k, v in result.diagnostics.items()}
    del found["codes_tell_speaker"], found["codes_tell_speaker_chance"]
    assert found == {
      "ctc_cer": 0.0,
      "codes_in_use": 0.75,
      "ar_cost": 2.0,
      "ar_wrong_reference": 0.5,
      "ar_wrong_text": 1.0,
    }


def test_codes_are_counted_in_all_clips_of_a_split(results):
  """Two speakers have three clips each in unseen and one each in seen."""
  found = {
    split: (
      result.diagnostics["codes_tell_speaker"].n,
      result.diagnostics["codes_tell_speaker_chance"].value,
    )
    for split, result in results.items()
  }
  assert found == {"unseen": (6, 0.5), "seen": (0, None)}


def _clips(random, favourites, words):
  """Codes of clips: a share of them words, the others of each voice's own."""
  return [
    np.where(
      random.random(60) < words,
      random.integers(40, size=60),
      100 * voice + random.integers(5, size=60),
    )
    for voice in favourites
  ]


@pytest.mark.parametrize("words, low, high", [(0.5, 1.0, 1.0), (1.0, 0.0, 0.4)])
def test_codes_of_words_tell_no_speaker(words, low, high):
  """Each language has its own chance; voices of another are no candidates."""
  random = np.random.default_rng(0)
  speaker = [v for v in range(12) for _ in range(10)]
  language = ["en" if v < 8 else "es" for v in speaker]
  # Speakers of two languages may have the same favourites.
  codes = _clips(random, [v % 8 for v in speaker], words)
  told, chance = told_by_codes(codes, speaker, language)
  assert told.n == chance.n == 120
  assert chance.value == pytest.approx((80 / 8 + 40 / 4) / 120)
  assert low <= told.value <= high


def test_speakers_of_one_clip_are_not_asked_after():
  codes = [np.array([1, 2]), np.array([1, 3]), np.array([4, 5])] * 2
  told, chance = told_by_codes(codes, [0, 0, 1, 2, 2, 3], ["en"] * 6)
  assert (told.n, chance.value) == (4, 0.5)
  nobody, _ = told_by_codes(codes, range(6), ["en"] * 6)
  assert (nobody.n, nobody.value) == (0, None)
