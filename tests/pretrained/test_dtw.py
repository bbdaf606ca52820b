"""Choice of a text by dynamic time warping."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from s02jax.pretrained import dtw, signal
from tests.spoken import SENTENCES, spoken


def test_warping_equals_three_loops():
  random = np.random.default_rng(0)
  frames = random.normal(size=(7, 3)).astype(np.float32)
  others = [random.normal(size=(s, 3)).astype(np.float32) for s in (5, 9, 1, 0)]

  def slowly(a, b):
    total = np.full((len(a), len(b)), np.inf)
    for i in range(len(a)):
      for j in range(len(b)):
        cost = np.linalg.norm(a[i] - b[j])
        before = [
          total[i - 1, j] + cost if i else np.inf,
          total[i, j - 1] + cost if j else np.inf,
          total[i - 1, j - 1] + 2 * cost if i and j else np.inf,
        ]
        total[i, j] = min(before) if i or j else cost
    return total[-1, -1] / (len(a) + len(b))

  expected = [slowly(frames, b) if len(b) else np.inf for b in others]
  assert_allclose(dtw.distances(frames, others), expected, rtol=1e-5)


def test_an_equal_template_is_at_no_distance():
  frames = signal.mfcc(spoken(SENTENCES[0]))
  near, far = dtw.distances(frames, [frames, frames[::-1].copy()])
  assert near < 1e-3 < far


@pytest.mark.parametrize("variant", ["f3", "klatt4", "m7"])
def test_the_right_text_is_nearest_in_another_voice_and_tempo(variant):
  heard = [
    dtw.choose(spoken(text, variant, rate=130), SENTENCES, "en-us")
    for text in SENTENCES[:5]
  ]
  assert heard == [0, 1, 2, 3, 4]


def test_silence_is_no_text():
  assert dtw.choose(np.zeros(16000, np.float32), SENTENCES, "en-us") == -1
