"""What one may ask of synthesis, and what is refused with a sentence."""

import dataclasses

import numpy as np

from s02jax.core.errors import UserError
from s02jax.synthesis.voice import Voice

MOST_STEPS = 1000  # of the solver: more hold up everybody else


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """A text to be said as somebody would say it."""

  text: str
  language: str  # code or alias
  # Exactly one of the two says who that is.
  reference: np.ndarray | None = None  # float [n], at the bundle's rate
  voice: Voice | None = None
  reference_text: str | None = None  # what is said there; None is zero-shot


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """How it is to be said."""

  seed: int = 0  # the same seed and request give the same samples
  steps: int = 16  # of the Euler solver
  guidance: float = 1.5  # of flow matching; 1 is none
  temperature: float = 0.7  # of the AR model; 0 takes the likeliest token
  top_k: int = 0  # likeliest tokens to choose from; 0 is all
  top_p: float = 1.0  # probability mass to choose from
  repetition_penalty: float = 1.0  # above 1, what was just said is less likely

  def check(self) -> None:
    """Raises UserError for a setting out of range, by its name."""
    for name, good, want in (
      ("steps", 1 <= self.steps <= MOST_STEPS, f"1 to {MOST_STEPS}"),
      ("guidance", 0 <= self.guidance < np.inf, "0 or more"),
      ("temperature", 0 <= self.temperature < np.inf, "0 or more"),
      ("top_k", self.top_k >= 0, "0 or more"),
      ("top_p", 0 < self.top_p <= 1, "above 0, at most 1"),
      (
        "repetition_penalty",
        0 < self.repetition_penalty < np.inf,
        "above 0",
      ),
    ):
      if not good:
        raise UserError(f"{name} is {getattr(self, name)}; it must be {want}.")


DEFAULTS = Settings()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Utterance:
  """An answer."""

  wave: np.ndarray  # float32 [n] at the bundle's rate
  tokens: np.ndarray  # int32 [s]
  ended: bool  # by itself, not by the limit
  redrawn: bool = False  # a loop or a long silence was drawn anew


def check_speaker(request: Request) -> None:
  """Raises UserError unless a request names one speaker, in one way."""
  if (request.reference is None) == (request.voice is None):
    raise UserError(
      f"the request {request.text[:40]!r} needs either a reference or a voice;"
      " give exactly one of the two."
    )
  if request.voice is not None and request.reference_text is not None:
    raise UserError(
      "reference_text is the transcript of a reference; a voice brings its own"
      " prompt."
    )
