"""Normalisation of texts before they are compared: two pipelines.

`OFFICIAL` repeats the benchmarks' own scripts, flaws included, so that a figure
may stand beside a published one. `FAIR` forgives only differences that no
listener hears: case, punctuation of any script, digits for words, two spellings
of one word. Both are applied to the text that was to be spoken and to the
recogniser's transcript; `units` cuts the result into words or characters.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Literal

from s02jax.core.languages import Language
from s02jax.text.normalize.fair import STEPS, fair
from s02jax.text.normalize.numbers import WORDS, is_spoken
from s02jax.text.normalize.official import (
  official_hypothesis,
  official_reference,
)

__all__ = [
  "FAIR",
  "Metric",
  "OFFICIAL",
  "NORMALISATIONS",
  "STEPS",
  "WORDS",
  "Normalisation",
  "is_spoken",
  "units",
]

Metric = Literal["wer", "cer"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Normalisation:
  """Normalisation of the two texts that are compared."""

  name: str  # of the pipeline, in tables
  reference: Callable[[str, Language], str]  # of the text to be spoken
  hypothesis: Callable[[str, Language], str]  # of the transcript


OFFICIAL = Normalisation(
  name="official", reference=official_reference, hypothesis=official_hypothesis
)
FAIR = Normalisation(name="fair", reference=fair, hypothesis=fair)
NORMALISATIONS = {pipeline.name: pipeline for pipeline in (OFFICIAL, FAIR)}


def units(text: str, metric: Metric) -> list[str]:
  """Words of a normalised text, or its characters without the spaces.

  Words end where jiwer ends them, which the official rates are counted by: at a
  space, or at several characters that Unicode takes for one.
  """
  if metric == "cer":
    return list("".join(text.split()))
  text = re.sub(r"\s\s+", " ", text).strip()
  return [word for word in text.split(" ") if word]
