"""Pace of speech: whether a recording may hold the text that it is said to."""

from s02jax.text.chunks import expected_seconds

# Of 800 recordings in 20 languages, the fastest took 0.52 of the seconds that
# `expected_seconds` gives an unhurried reader, the median 1.05.
_IMPOSSIBLE = 0.2  # less than this share cannot be the text
_HASTY = 0.45  # less than this share is rarely the whole text
_SLOW, _PAUSES = 5.0, 5.0  # more than so many times, and so many seconds on top


def impossible(text: str, seconds: float) -> str | None:
  """Says why a recording cannot hold its transcript; None where it may.

  Args:
    text: transcript in spoken words; empty where there is none.
    seconds: of the recording, without silence at its ends.
  """
  expected = expected_seconds(text)
  if seconds >= _IMPOSSIBLE * expected:
    return None
  return (
    f"{seconds:.2f} s for a text that takes about {expected:.1f} s to read:"
    " part of the recording is missing, or the text is not what it says"
  )


def doubtful(text: str, seconds: float) -> str | None:
  """Says why a transcript may not be all, or more than, what is heard.

  Args:
    text: transcript in spoken words; empty where there is none.
    seconds: of the recording, without silence at its ends.
  """
  expected = expected_seconds(text)
  if not text or (_HASTY * expected <= seconds <= _SLOW * expected + _PAUSES):
    return None
  more = "text" if seconds < expected else "recording"
  return (
    f"{seconds:.2f} s for a text that takes about {expected:.1f} s to read: the"
    f" {more} may hold more than the other"
  )
