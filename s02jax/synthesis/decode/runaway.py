"""Detection of runaway speech: a loop, or a silence that does not end.

Tokens are judged one by one, so the verdict depends on the tokens alone. Tokens
in which a run may be beginning are not yet sure; those that are sure are never
taken back.
"""

MAX_PERIOD = 16  # tokens of the longest n-gram that may loop
TOLERATED = 12  # tokens of a repetition that pass without suspicion
LOOP = 50  # tokens of a repetition that is a loop, 2 s
SPAN, FEW = 25, 3  # silence: a span of so many tokens, so few of them different
SILENT_TOKENS = 50  # tokens that silence may go on for beyond its first SPAN


class RunawayDetector:
  """Detector of loops and endless silences in the tokens of one utterance.

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
    self._matches = [0] * MAX_PERIOD  # tokens equal to the one i + 1 before
    self._silent = 0  # tokens since the last SPAN of them are few

  def push(self, token: int) -> None:
    """Judges the next token; updates `sure` and `ran_away`."""
    recent = self._recent
    for i in range(MAX_PERIOD):
      same = len(recent) > i and recent[-1 - i] == token
      self._matches[i] = self._matches[i] + 1 if same else 0
    recent.append(token)
    del recent[:-SPAN]
    few = len(recent) == SPAN and len(set(recent)) <= FEW
    self._silent = self._silent + 1 if few else 0
    self._count += 1
    loop = max(self._matches)
    self.sure = self._count - max(loop - TOLERATED, self._silent, 0)
    self.ran_away = loop >= LOOP or self._silent >= SILENT_TOKENS
