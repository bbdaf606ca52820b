"""Fit of transcripts to their recordings, by the audio tokenizer's CTC head.

One-shot cloning continues a recording as if its transcript had been read in it.
Where that names words that are not heard, the models say them first; where it
lacks some, they lose the thread. The CTC head knows how likely a text is, given
the codes of a recording, and which text is the likeliest:

  fit = (log p(transcript) − log p(likeliest reading)) / tokens

in nats a token of audio: about 0 for what is heard, lower for anything else.

Shape letters: s tokens, v text vocabulary, l labels.
"""

import logging
from collections.abc import Sequence

import numpy as np

from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.synthesis.render.codecs import collapse

# Least fit of a transcript that is taken without a word; `docs/decisions.md`
# has the figures that it was chosen by.
LEAST_FIT = -0.4
# A head that hears fewer labels a token than this (one a second), or is less
# sure of them than so many nats a token, knows too little to be asked.
_HEARD, _SURE = 1 / TOKENS_PER_SECOND, -0.5
_SHOWN = 60  # characters of a transcript in a warning


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


def fit(log_probs: np.ndarray, labels: Sequence[int]) -> float | None:
  """Fit of a transcript's labels, in nats a token; see the module.

  Args:
    log_probs: float [s, v + 1] of a recording, the last class is the blank.
    labels: text ids of the transcript.

  Returns:
    the fit, or None where the head hears too little to say.
  """
  if not len(log_probs):
    return None
  heard = collapse(np.argmax(log_probs, axis=1), log_probs.shape[1] - 1)
  likeliest = log_likelihood(log_probs, heard) / len(log_probs)
  if len(heard) < _HEARD * len(log_probs) or likeliest < _SURE:
    return None
  return log_likelihood(log_probs, labels) / len(log_probs) - likeliest


def warn(name: str, text: str, value: float | None) -> None:
  """Warns where a transcript's fit to the recording `name` is too small."""
  if value is not None and value < LEAST_FIT:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    logging.warning(
      "%s: the transcript %r does not seem to be what is said there: speech may"
      " begin with wrong words; give the words of just this recording, or none,"
      " which is zero-shot cloning",
      name,
      shown,
    )
