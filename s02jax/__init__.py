"""s02jax: training MiniMax-Speech (Speech-02) on JAX, and speaking with it.

import s02jax

system = s02jax.load("bundle")
system.say("The light is on.", voice="voice.wav").save("out.wav")
"""

from typing import TYPE_CHECKING

from s02jax.core.errors import UserError
from s02jax.core.version import VERSION as __version__

if TYPE_CHECKING:
  from s02jax.synthesis.voice_system import VoiceSystem

__all__ = ["UserError", "__version__", "load"]


def load(path) -> "VoiceSystem":
  """Loads the voice system of a bundle.

  Args:
    path: folder that `s02 bundle` wrote.

  Raises:
    UserError: no bundle, an incomplete one, or one of another version.
  """
  # Imports JAX, which takes seconds that `import s02jax` need not.
  from s02jax.synthesis.voice_system import VoiceSystem

  return VoiceSystem.load(path)
