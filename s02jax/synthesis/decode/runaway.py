"""Speech that has run away: a loop, or a silence that does not end.

Judged token by token, so that the verdict depends on the tokens alone. Tokens
in which a run may be beginning are not yet sure; those that are sure are never
taken back.
"""

PERIOD = 16  # tokens of the longest n-gram that may loop
HELD = 12  # tokens of a repetition that pass without suspicion
LOOP = 50  # tokens of a repetition that is a loop, 2 s
SPAN, FEW = 25, 3  # silence: so many tokens with so few different ones among
SILENCE = 50  # tokens that silence may go on for beyond its first SPAN


class Watch:
  """Looks at the tokens of one utterance as they come.

  Attributes:
    sure: tokens that stay whatever comes.
    ran_away: whether the last token showed a runaway.
  """

  def __init__(self, sure: int = 0):
    """Begins behind `sure` tokens, which it does not look at."""
    self.sure = sure
    self.ran_away = False
    self._count = sure
    self._recent: list[int] = []  # newest last
    self._matches = [0] * PERIOD  # tokens equal to the one i + 1 before
    self._silent = 0  # tokens since the last SPAN of them are few

  def push(self, token: int) -> None:
    """Looks at the next token."""
    recent = self._recent
    for i in range(PERIOD):
      same = len(recent) > i and recent[-1 - i] == token
      self._matches[i] = self._matches[i] + 1 if same else 0
    recent.append(token)
    del recent[:-SPAN]
    few = len(recent) == SPAN and len(set(recent)) <= FEW
    self._silent = self._silent + 1 if few else 0
    self._count += 1
    loop = max(self._matches)
    self.sure = self._count - max(loop - HELD, self._silent, 0)
    self.ran_away = loop >= LOOP or self._silent >= SILENCE
