"""Requests and settings that make no sense are refused."""

import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.synthesis.request import Request, check_speaker
from s02jax.synthesis.voice import Voice

VOICE = Voice(
  ar_vector=np.zeros(4, np.float32),
  flow_vector=np.zeros(4, np.float32),
  prompt=None,
  fingerprint="a",
)


def test_a_request_has_one_speaker():
  wave = np.zeros(9, np.float32)
  check_speaker(Request(text="Hi", language="en", voice=VOICE))
  check_speaker(Request(text="Hi", language="en", reference=wave))
  for wrong in (
    {},
    {"voice": VOICE, "reference": wave},
    {"voice": VOICE, "reference_text": "Hi"},
  ):
    with pytest.raises(UserError):
      check_speaker(Request(text="Hi", language="en", **wrong))
