"""Times of words: a forced alignment of a text with the tokens that say it.

The audio tokenizer's CTC head gives log-probabilities log p_t(k) of a text
piece or the blank ∅ for every token t, 25 a second. Between and around the
pieces y_1 … y_l of the text stand blanks: e = ∅ y_1 ∅ y_2 … y_l ∅. The
likeliest path is found by Viterbi's recursion

  δ_t(j) = log p_t(e_j) + max(δ_{t−1}(j), δ_{t−1}(j−1), δ_{t−1}(j−2) [1])   (1)

where [1] is allowed if e_j is a piece other than e_{j−2}; it begins in e_0 or
e_1 and ends in one of the last two.

Shape letters: t tokens, l pieces, j = 2 l + 1 states, v ids and the blank.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from s02jax.core import languages
from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.synthesis.long_text import Heard
from s02jax.text.tokenizer import TextModel

IMPOSSIBLE = -1e30
_UNIT = 128  # least padded number of tokens and of pieces; others are 4^i of it
_SINGLE = ("Hans", "Hant", "Jpan")  # scripts whose every letter is timed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Word:
  """Word with the time at which it is heard."""

  text: str  # with the signs around it
  begin: float  # seconds
  end: float  # seconds


# --------------------------------------------------------------------- paths


@jax.jit
def _viterbi(
  log_probs: Float[Array, "t v"],
  labels: Int[Array, "l"],
  tokens: Int[Array, ""],
  pieces: Int[Array, ""],
) -> Int[Array, "t"]:
  """States of the likeliest path, by equation 1.

  Args:
    log_probs: of ids, the blank last; anything behind `tokens`.
    labels: ids of the pieces; anything behind `pieces`.
    tokens: number of tokens that exist.
    pieces: number of pieces that exist.
  """
  blank = log_probs.shape[1] - 1
  states = 2 * labels.shape[0] + 1
  number = jnp.arange(states)
  extended = jnp.full(states, blank).at[1::2].set(labels)
  before = jnp.concatenate([jnp.full(2, blank), extended[:-2]])
  skips = (extended != blank) & (extended != before)
  heard = log_probs[:, extended]
  start = jnp.where((number < 2) & (number <= 2 * pieces), heard[0], IMPOSSIBLE)

  def shifted(x, by):
    return jnp.concatenate([jnp.full(by, IMPOSSIBLE), x[:-by]])

  def forward(delta, t):
    ways = jnp.stack(
      [
        delta,
        shifted(delta, 1),
        jnp.where(skips, shifted(delta, 2), IMPOSSIBLE),
      ]
    )
    way = jnp.argmax(ways, axis=0)
    after = jnp.maximum(jnp.max(ways, axis=0) + heard[t], IMPOSSIBLE)
    # Behind the last token nothing moves.
    moves = t < tokens
    return jnp.where(moves, after, delta), jnp.where(moves, way, 0)

  times = jnp.arange(1, log_probs.shape[0])
  delta, ways = jax.lax.scan(forward, start, times)
  last = 2 * pieces
  end = jnp.where(
    (pieces > 0) & (delta[jnp.maximum(last - 1, 0)] > delta[last]),
    last - 1,
    last,
  )

  def backward(state, way):
    return state - way[state], state

  first, path = jax.lax.scan(backward, end, ways, reverse=True)
  return jnp.concatenate([first[None], path])


def path(log_probs: np.ndarray, labels: Sequence[int]) -> np.ndarray | None:
  """Number of the piece that each token says, -1 for none.

  Args:
    log_probs: float [t, v] of ids, the blank last.
    labels: ids [l] of the pieces.

  Returns:
    int [t], each piece at least once and in order; None where there are too
    few tokens for the pieces.
  """
  repeats = sum(a == b for a, b in zip(labels, labels[1:], strict=False))
  t, count = len(log_probs), len(labels)
  if not t or t < count + repeats:
    return None
  padded = np.zeros((_padded(t), log_probs.shape[1]), np.float32)
  padded[:t] = np.maximum(log_probs, IMPOSSIBLE / 1e6)
  ids = np.zeros(_padded(count), np.int32)
  ids[:count] = labels
  states = _viterbi(padded, ids, np.int32(t), np.int32(count))
  states = np.array(states)[:t]
  return np.where(states % 2, states // 2, -1)


def _padded(n: int) -> int:
  """Least of _UNIT · 4^i that is not below n: few programs, for each stays."""
  size = _UNIT
  while size < n:
    size *= 4
  return size


# --------------------------------------------------------------------- words


def word_spans(text: str, language: str) -> list[tuple[int, int]]:
  """First and last + 1 character of each word, with the signs around it.

  Every letter is a word where the script has no spaces between words.

  Args:
    text: that is spoken, NFC.
    language: its code.
  """
  spans = [match.span() for match in re.finditer(r"\S+", text)]
  if languages.BY_CODE[language].script in _SINGLE:
    spans = [(i, i + 1) for a, b in spans for i in range(a, b)]
  merged: list[tuple[int, int]] = []
  for begin, end in spans:
    # A sign belongs to the word before it, or to the first one.
    alone = merged and not all(
      any(c.isalnum() for c in text[a:b]) for a, b in (merged[-1], (begin, end))
    )
    if alone:
      merged[-1] = merged[-1][0], end
    else:
      merged.append((begin, end))
  return merged


class Aligner:
  """Aligner of texts with the tokens of one audio tokenizer."""

  def __init__(
    self, text: TextModel, log_probs: Callable[[np.ndarray], np.ndarray]
  ):
    """Stores the models.

    Args:
      text: model whose pieces the CTC head knows.
      log_probs: of tokens int32 [t], float32 [t, v + 1]; the blank is last.
    """
    self._text, self._log_probs = text, log_probs

  def heard(self, passage: Heard) -> list[Word]:
    """Words of a passage with their times in the whole sound."""
    found = self.words(passage.text, passage.language, passage.tokens)
    return [
      Word(
        text=word.text,
        begin=passage.begin + word.begin / passage.speed,
        end=passage.begin + word.end / passage.speed,
      )
      for word in found
    ]

  def words(self, text: str, language: str, tokens: np.ndarray) -> list[Word]:
    """Times of the words of a text in the tokens that say it.

    Where there are too few tokens for the pieces, words share the time by
    their lengths.

    Args:
      text: in words, as it was spoken.
      language: its code.
      tokens: int32 [t].
    """
    if not len(tokens):
      return []
    spans = word_spans(text, language)
    pieces = self._text.spans(text)
    found = path(self._log_probs(tokens), [p.id for p in pieces])
    if found is None:
      edges = _by_length(spans, len(tokens))
    else:
      edges = _by_path(spans, [(p.begin, p.end) for p in pieces], found)
    return [
      Word(
        text=text[a:b],
        begin=begin / TOKENS_PER_SECOND,
        end=end / TOKENS_PER_SECOND,
      )
      for (a, b), (begin, end) in zip(spans, edges, strict=True)
    ]


def _by_length(
  spans: Sequence[tuple[int, int]], tokens: int
) -> list[tuple[float, float]]:
  """Begin and end of words, in tokens, by their numbers of characters."""
  lengths = np.cumsum([0, *(b - a for a, b in spans)])
  edges = lengths / max(lengths[-1], 1) * tokens
  return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _by_path(
  spans: Sequence[tuple[int, int]],
  pieces: Sequence[tuple[int, int]],
  found: np.ndarray,
) -> list[tuple[float, float]]:
  """Begin and end of words, in tokens, by the pieces that tokens say.

  Args:
    spans: characters of the words.
    pieces: characters of the pieces.
    found: number of the piece of each token, -1 for none.
  """
  firsts, lasts = [], []
  for begin, end in spans:
    inside = [i for i, (a, b) in enumerate(pieces) if a < end and b > begin]
    at = np.flatnonzero(np.isin(found, inside))
    firsts.append(int(at[0]) if len(at) else None)
    lasts.append(int(at[-1]) + 1 if len(at) else None)
  return _edges(firsts, lasts)


def _edges(
  firsts: list[int | None], lasts: list[int | None]
) -> list[tuple[float, float]]:
  """Begin and end of words whose first and last tokens are known."""
  edges: list[tuple[float, float]] = []
  at = 0.0
  for first, last in zip(firsts, lasts, strict=True):
    begin = at if first is None else max(float(first), at)
    at = begin if last is None else max(float(last), begin)
    edges.append((begin, at))
  return edges
