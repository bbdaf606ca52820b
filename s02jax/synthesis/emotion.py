"""Emotions of a request: names of adapters with strengths, checked.

"sad" is sad at its full strength, "sad:0.6" less of it, "sad:0.5,happy:0.3" a
mixture. `neutral` is the base where no adapter has that name.

Shape letters: e adapters.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from s02jax.core import inputs
from s02jax.core.errors import UserError

MOST = 2.0  # strengths together: beyond, what is said is lost
NEUTRAL = "neutral"
# An emotion as people give it: see the module.
Emotion = str | Mapping[str, float] | None


def parse(emotion: Emotion) -> dict[str, float]:
  """Strengths by name, those of 0 left out.

  Raises:
    UserError: a strength that is no number from 0 on, or more than MOST
      together; a name twice.
  """
  if emotion is None:
    return {}
  if isinstance(emotion, Mapping):
    items = list(emotion.items())
  elif isinstance(emotion, str):
    parts = (part.partition(":") for part in emotion.split(","))
    items = [(n.strip(), w.strip() if colon else 1.0) for n, colon, w in parts]
  else:
    raise UserError(
      f"the emotion is a {type(emotion).__name__}; give a name such as sad,"
      " sad:0.6, or sad:0.5,happy:0.3."
    )
  found: dict[str, float] = {}
  for name, weight in items:
    if name in found:
      raise UserError(
        f"the emotion {name[:40]!r} is given twice; give it once."
      )
    found[name] = _strength(name, weight)
  if sum(found.values()) > MOST:
    raise UserError(
      f"the strengths of {', '.join(found)[:80]!r} are"
      f" {sum(found.values()):g} together; give at most {MOST:g}."
    )
  return {name: weight for name, weight in found.items() if weight > 0}


def _strength(name: str, weight: str | float) -> float:
  """Strength of an emotion; raises UserError where it is none."""
  try:
    value = float(weight)
  except (TypeError, ValueError, OverflowError):
    value = float("nan")
  if not name or not 0 <= value < float("inf"):
    written = f"{name}:{weight}"
    raise UserError(
      f"{written[:40]!r} is no emotion; give a name and a strength of 0 or"
      " more, as in sad:0.6."
    )
  return value


def strengths(emotion: Emotion, adapters: Sequence[str]) -> np.ndarray:
  """Strengths float32 [e] of an emotion in the order of the adapters.

  Raises:
    UserError: as `parse`; or an emotion that no adapter has.
  """
  out = np.zeros(len(adapters), np.float32)
  places = {name.casefold(): i for i, name in enumerate(adapters)}
  for name, weight in parse(emotion).items():
    place = places.get(name.casefold())
    if place is not None:
      out[place] = weight
    elif name.casefold() != NEUTRAL:
      held = ", ".join(adapters) or "none yet: `s02 adapt emotion` trains some"
      name = name[:40]
      raise UserError(
        f"there is no emotion {name!r} here{inputs.hint(name, adapters)}; there"
        f" are {held}."
      )
  return out
