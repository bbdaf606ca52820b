"""Requests to synthesis, their settings and answers, and their checks."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

from s02jax.core.errors import UserError
from s02jax.core.inputs import check_names, check_numbers
from s02jax.synthesis.emotion import Emotion
from s02jax.synthesis.voice import Voice

WINDOW = 25  # tokens of the past that sampling can look at
MOST_STEPS = 1000  # of the solver: more would hold up other requests


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """Text to be spoken in somebody's voice."""

  text: str  # to be spoken
  language: str  # code or alias
  # Exactly one of reference and voice is given.
  reference: np.ndarray | None = None  # float [n], at the bundle's rate
  voice: Voice | None = None  # made before with the same bundle
  reference_text: str | None = None  # transcript of it; None is zero-shot
  # `text` is one of the passages of a long text, in words and checked.
  in_words: bool = False
  # Code or alias of the transcript's language; None is that of `text`.
  reference_language: str | None = None
  emotion: Emotion = None  # of the bundle's adapters; None is the base


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """Settings of sampling and of the solver for one request."""

  seed: int = 0  # the same seed and request give the same samples
  # Steps of the Euler solver, and guidance weight of flow matching, where 1 is
  # none. None is what the model is made for: 16 and 1.5, or a few and none.
  steps: int | None = None
  guidance: float | None = None
  temperature: float = 0.7  # of the AR model; 0 takes the likeliest token
  top_k: int = 0  # likeliest tokens to choose from; 0 is all
  top_p: float = 1.0  # probability mass to choose from
  repetition_penalty: float = 1.0  # above 1, what was just said is less likely
  # A token that makes up more than `share` of the last `window` ones is drawn
  # again, from all there are; a share of 1 never is.
  repetition_window: int = 10
  repetition_share: float = 1.0
  # Share of a text's average length before which the speech does not end.
  shortest: float = 0.3

  @classmethod
  def of(cls, values: Mapping[str, Any]) -> "Settings":
    """Makes settings of values by name; raises UserError for an unknown one."""
    check_names(values, cls.names(), "a setting of speech")
    return cls(**values)

  @classmethod
  def names(cls) -> list[str]:
    """Names of all settings."""
    return [field.name for field in dataclasses.fields(cls)]

  def check(self) -> None:
    """Checks that settings are in range; raises UserError that names one."""
    check_numbers(self)
    for name, good, want in (
      (
        "steps",
        self.steps is None or 1 <= self.steps <= MOST_STEPS,
        f"1 to {MOST_STEPS}",
      ),
      (
        "guidance",
        self.guidance is None or 0 <= self.guidance < np.inf,
        "0 or more",
      ),
      ("temperature", 0 <= self.temperature < np.inf, "0 or more"),
      ("top_k", self.top_k >= 0, "0 or more"),
      ("top_p", 0 < self.top_p <= 1, "above 0, at most 1"),
      (
        "repetition_penalty",
        0 < self.repetition_penalty < np.inf,
        "above 0",
      ),
      (
        "repetition_window",
        1 <= self.repetition_window <= WINDOW,
        f"1 to {WINDOW}",
      ),
      ("repetition_share", 0 <= self.repetition_share <= 1, "0 to 1"),
      ("shortest", 0 <= self.shortest <= 1, "0 to 1"),
    ):
      if not good:
        raise UserError(f"{name} is {getattr(self, name)}; it must be {want}.")


DEFAULTS = Settings()


def setting_kinds() -> dict[str, type]:
  """Kind of each setting, int or float, whether or not it may be None."""
  hints = typing.get_type_hints(Settings)
  return {
    name: (typing.get_args(hints[name]) or (hints[name],))[0]
    for name in Settings.names()
  }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Utterance:
  """Answer to a request: sound and tokens, and how it ended."""

  wave: np.ndarray  # float32 [n] at the bundle's rate
  tokens: np.ndarray  # int32 [s], drawn by the AR model
  ended: bool  # by itself, not by the limit
  redrawn: bool = False  # a loop or a long silence was drawn anew


def check_speaker(request: Request) -> None:
  """Checks that a request names one speaker, in one way; raises UserError."""
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
