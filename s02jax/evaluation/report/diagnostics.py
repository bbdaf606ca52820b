"""What the models themselves say on held-out clips: not a listener's verdict.

The audio tokenizer: how well its CTC head reads the text off its codes, and
how much of the codebook it uses. The AR Transformer: what a wrong reference
and a wrong text cost it, in nats an audio token; a model that ignores one of
them pays nothing.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from s02jax.core import languages
from s02jax.evaluation.figure import Figure
from s02jax.evaluation.report.panel import Case
from s02jax.text import edits


class Models(Protocol):
  """What is needed of `s02jax.synthesis.synthesizer.Synthesizer`."""

  def ctc_transcribe(self, waves: Sequence[np.ndarray]) -> list[str]: ...
  def codes_in_use(self, waves: Sequence[np.ndarray]) -> float: ...
  def ar_cost(
    self, items: Sequence[tuple[str, str, np.ndarray, np.ndarray]]
  ) -> float: ...


def diagnose(
  models: Models, cases: Sequence[Case], clips: Sequence[np.ndarray]
) -> dict[str, Figure]:
  """Measures the modules on one split.

  Args:
    models: of the bundle.
    cases: of the split.
    clips: more waves of the split, float [n] at the bundle's rate, for what
      needs many: the use of the codebook.
  """
  waves = [case.wave for case in cases]
  rows = [languages.BY_CODE[case.language] for case in cases]
  cer = edits.error_rate(
    [case.text for case in cases],
    models.ctc_transcribe(waves),
    rows,
    unit="character",
  )
  voices = [other_speaker(cases, i) for i in range(len(cases))]
  texts = [other_text(cases, i) for i in range(len(cases))]
  everyone = list(range(len(cases)))
  right = _cost(models, cases, everyone, everyone)
  return {
    "ctc_cer": Figure(value=cer.value, n=cer.n),
    "codes_in_use": Figure(
      value=float(models.codes_in_use(clips)), n=len(clips)
    ),
    "ar_cost": right,
    "ar_wrong_reference": _extra(right, _cost(models, cases, everyone, voices)),
    "ar_wrong_text": _extra(right, _cost(models, cases, texts, everyone)),
  }


def _cost(models, cases, texts, voices) -> Figure:
  """Cost with the text and the reference of the cases of these indices."""
  if None in texts or None in voices:
    return Figure(value=None, n=0)
  items = [
    (cases[t].text, case.language, cases[v].reference, case.wave)
    for case, t, v in zip(cases, texts, voices, strict=True)
  ]
  return Figure(value=float(models.ar_cost(items)), n=len(items))


def _extra(right: Figure, wrong: Figure) -> Figure:
  if wrong.value is None or right.value is None:
    return Figure(value=None, n=0)
  return Figure(value=wrong.value - right.value, n=wrong.n)


def other_speaker(cases: Sequence[Case], i: int) -> int | None:
  """The next case by another speaker, of the same language if there is one."""
  return _next(cases, i, lambda case: case.speaker != cases[i].speaker)


def other_text(cases: Sequence[Case], i: int) -> int | None:
  """The next case with another text, of the same language if there is one."""
  return _next(cases, i, lambda case: case.text != cases[i].text)


def _next(cases, i, differs) -> int | None:
  order = [(i + step) % len(cases) for step in range(1, len(cases))]
  found = [j for j in order if differs(cases[j])]
  same = [j for j in found if cases[j].language == cases[i].language]
  return (same or found or [None])[0]
