"""Clips are encoded as a whole number of tokens."""

import io

import numpy as np
import pytest
import soundfile

from data_pipelines import clips


def test_a_wave_is_encoded_to_whole_tokens():
  audio, count = clips.encode(np.zeros(1999, np.float32), 16_000)
  assert count == 1920
  assert soundfile.info(io.BytesIO(audio)).frames == 1920
  with pytest.raises(clips.Unusable):
    clips.encode(np.zeros(639, np.float32), 16_000)
