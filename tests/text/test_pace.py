"""Recordings and transcripts that cannot belong together."""

import pytest

from s02jax.text import pace
from s02jax.text.chunks import expected_seconds

TEXT = "The old doctor walked to the river, and nobody saw him again."


@pytest.mark.parametrize("text", [TEXT, "我们在车站等了一个小时。", "Да."])
@pytest.mark.parametrize("share", [0.55, 1, 2, 4])
def test_people_may_read_fast_and_slow(text, share):
  seconds = share * expected_seconds(text)
  assert pace.impossible(text, seconds) is None
  assert pace.doubtful(text, seconds) is None


def test_nobody_reads_five_times_as_fast():
  seconds = 0.15 * expected_seconds(TEXT)
  assert "part of the recording is missing" in str(
    pace.impossible(TEXT, seconds)
  )


@pytest.mark.parametrize(
  "share,more", [(0.4, "the text may"), (9, "the recording may")]
)
def test_what_is_rare_is_doubtful(share, more):
  seconds = share * expected_seconds(TEXT)
  assert pace.impossible(TEXT, seconds) is None
  assert more in str(pace.doubtful(TEXT, seconds))


def test_without_a_text_all_lengths_are_good():
  assert pace.impossible("", 100) is None
  assert pace.doubtful("", 100) is None
