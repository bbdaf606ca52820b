"""One utterance on its way through decoding and rendering.

Shape letters: s tokens.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from s02jax.synthesis.decode.runaway import RunawayDetector
from s02jax.synthesis.decode.slots import ARPrompt
from s02jax.synthesis.render.streams import RenderStream


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spoken:
  """Tokens of a finished utterance, and how it ended."""

  tokens: np.ndarray  # int32 [s]
  ended: bool  # by itself, not by the limit or as a runaway
  redrawn: bool  # a loop or a long silence was drawn anew


class UtteranceJob:
  """Checked request with its progress: drawn tokens and their rendering.

  Attributes:
    prompt: for the AR model.
    stream: renders the tokens that are sure.
    redraw_seed: seed of what is drawn in place of a runaway.
    tokens: drawn so far, END excluded.
    spoken: outcome, None until the last token is drawn.
  """

  def __init__(
    self, prompt: ARPrompt, stream: RenderStream, redraw_seed: int, end: int
  ):
    """Starts a job without tokens.

    Args:
      prompt: for the AR model.
      stream: fresh, of the same voice.
      redraw_seed: 32 bits.
      end: the class END of the AR model.
    """
    self.prompt, self.stream = prompt, stream
    self.redraw_seed, self._end = redraw_seed, end
    self._detector = RunawayDetector()
    self._passed = 0  # tokens that the stream has
    self.tokens: list[int] = []
    self.spoken: Spoken | None = None
    self._redrawn = False

  @property
  def wanted(self) -> int:
    """Number of tokens until the first sound; 0 where nobody waits for it."""
    if self.stream.whole or not self.stream.silent:
      return 0
    return max(self.stream.missing - (len(self.tokens) - self._passed), 1)

  def add(self, drawn: Sequence[int]) -> int | None:
    """Adds drawn tokens up to END, the limit or a runaway.

    Args:
      drawn: codes and END.

    Returns:
      The seed to redraw with behind `tokens` where they ran away, else None.
    """
    for token in drawn:
      if token == self._end:
        self._finish(ended=True)
        return None
      self.tokens.append(token)
      self._detector.push(token)
      if self._detector.ran_away:
        return self._cut()
      if len(self.tokens) >= self.prompt.limit:
        self._finish(ended=False)
        return None
    self._pass(self._detector.sure)
    return None

  def _cut(self) -> int | None:
    """Drops the runaway's tokens; the seed to redraw with, or None at last."""
    del self.tokens[self._detector.sure :]
    self._pass(self._detector.sure)
    if self._redrawn:
      self._finish(ended=False)
      return None
    self._redrawn = True
    self._detector = RunawayDetector(len(self.tokens))
    return self.redraw_seed

  def _pass(self, count: int) -> None:
    """Passes the tokens up to number `count` on to the stream."""
    fresh = self.tokens[self._passed : count]
    if fresh:
      self.stream.append(np.array(fresh, np.int32))
      self._passed = count

  def _finish(self, *, ended: bool) -> None:
    """Passes all tokens on and records the outcome."""
    self._pass(len(self.tokens))
    self.stream.finish()
    self.spoken = Spoken(
      tokens=np.array(self.tokens, np.int32),
      ended=ended,
      redrawn=self._redrawn,
    )
