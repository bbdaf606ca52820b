"""Engine that the tests of the natural corpus use: buzzes instead of speech."""

import numpy as np

from data_pipelines.natural import engines

_SECONDS_A_LETTER = 0.06


class Buzz:
  """Engine whose pitch is that of its style, and whose length the text's."""

  def render(self, text, style, speed):
    """Speaks, as `Engine` says."""
    pitch = 120.0 + 40 * sum(
      weight * (2 + engines.STYLES.index(name)) for name, weight, _ in style
    )
    count = int(len(text) * _SECONDS_A_LETTER / speed * engines.RATE)
    time = np.arange(count) / engines.RATE
    harmonics = np.arange(1, 20)[:, None]
    wave = np.sin(2 * np.pi * pitch * harmonics * time) / harmonics
    return (0.1 * wave.sum(axis=0)).astype(np.float32)


class Silent:
  """Engine that says nothing."""

  def render(self, text, style, speed):
    """Speaks, as `Engine` says."""
    del text, style, speed
    return np.zeros(0, np.float32)


class Forbidden:
  """Engine that fails."""

  def render(self, text, style, speed):
    """Speaks, as `Engine` says."""
    raise AssertionError((text, style, speed))


FACTORIES = {"hibari": Buzz, "kokoro": Buzz}
SILENT = {"hibari": Silent, "kokoro": Buzz}
FORBIDDEN = {"hibari": Forbidden, "kokoro": Forbidden}
