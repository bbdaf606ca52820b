"""CTC paths of the audio tokenizer."""

import numpy as np

from s02jax.synthesis.transcripts import collapse


def test_ctc_path_collapses():
  assert collapse(np.array([9, 1, 1, 9, 1, 2, 2, 9]), blank=9) == [1, 1, 2]
  assert collapse(np.zeros(0, np.int32), blank=9) == []
