"""Fixed vectors of a speaker-verification model: GE2E, trained elsewhere.

What the AR model takes instead of its own speaker encoder's where
`model.speaker.kind` is "embedding" (an ablation: report, table 4).
"""

from collections.abc import Sequence

import numpy as np

SIZE = 256  # features


def vectors(waves: Sequence[np.ndarray], rate: int) -> list[np.ndarray]:
  """float32 [256] of mean square one for each wave; zeros for silence.

  Args:
    waves: float32 [n], better three seconds than one.
    rate: of them, Hz.

  Raises:
    UserError: the package with the weights is not installed.
  """
  # Training needs the extra "eval" for these vectors only.
  from s02jax.pretrained import ge2e, signal

  found = ge2e.embed([signal.to_judge_rate(wave, rate) for wave in waves])
  return list(found * np.float32(SIZE**0.5))
