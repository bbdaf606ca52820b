"""Fit of transcripts to their recordings, by the audio tokenizer's CTC head.

One-shot cloning continues a recording as if its transcript had been read in it.
Where that names words that are not heard, the models say them first; where it
lacks some, they lose the thread. The CTC head knows how likely a text is, given
the codes of a recording, and which text is the likeliest:

  fit = (log p(transcript) − log p(likeliest reading)) / tokens

in nats an audio token: about 0 for what is heard, lower for anything else.

Shape letters: s tokens, v text vocabulary, l labels.
"""

import logging
from collections.abc import Sequence

import numpy as np

# Least fit of a transcript that is taken without a word; `docs/decisions.md`
# has the figures that it was chosen by.
LEAST_FIT = -0.3


def collapse(path: np.ndarray, blank: int) -> list[int]:
  """Labels of a CTC path [s]: repeats merged, blanks dropped."""
  fresh = np.ones(len(path), bool)
  fresh[1:] = path[1:] != path[:-1]
  return [int(x) for x in path[fresh] if x != blank]


def log_likelihood(log_probs: np.ndarray, labels: Sequence[int]) -> float:
  """Log-likelihood in nats of labels under CTC; -inf for more than fit.

  Args:
    log_probs: float [s, v + 1], the last class is the blank.
    labels: below v, l of them.
  """
  blank = log_probs.shape[1] - 1
  path = np.full(2 * len(labels) + 1, blank)
  path[1::2] = labels
  # A blank may be skipped between labels that differ.
  skips = np.zeros(len(path), bool)
  skips[3::2] = path[3::2] != path[1:-2:2]
  # A first token may be a blank or the first label.
  score = np.full(len(path), -np.inf)
  score[:2] = log_probs[0, path[:2]]
  for row in log_probs[1:].astype(np.float64):
    one, two = np.full((2, len(path)), -np.inf)
    one[1:] = score[:-1]
    two[2:] = np.where(skips[2:], score[:-2], -np.inf)
    score = np.logaddexp(np.logaddexp(score, one), two) + row[path]
  return float(np.logaddexp.reduce(score[-2:]))


def fit(log_probs: np.ndarray, labels: Sequence[int]) -> float:
  """Fit of a transcript's labels, in nats a token; see the module.

  Args:
    log_probs: float [s, v + 1] of a recording, the last class is the blank.
    labels: text ids of the transcript.
  """
  heard = collapse(np.argmax(log_probs, axis=1), log_probs.shape[1] - 1)
  told, best = (log_likelihood(log_probs, x) for x in (labels, heard))
  return (told - best) / len(log_probs)


def warn(text: str, value: float) -> None:
  """Warns of a transcript whose fit is below LEAST_FIT."""
  if value < LEAST_FIT:
    logging.warning(
      "the transcript %r does not seem to be what the reference says: speech"
      " may begin with wrong words; give the words of just this recording, or"
      " no transcript for zero-shot cloning",
      text if len(text) <= 60 else f"{text[:60]}…",
    )
