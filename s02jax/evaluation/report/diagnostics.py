"""Diagnostics of the models on held-out clips, without an outside judge.

Audio tokenizer: error rate of the text that its CTC head reads off the codes,
the share of the codebook in use, and how often the codes tell the speaker. AR
Transformer: the rise of its cross-entropy, in nats an audio token, with a wrong
reference and with a wrong text; a model that ignores one of them shows no rise.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from s02jax.core import languages
from s02jax.evaluation.figure import Figure
from s02jax.evaluation.report.code_voices import told_by_codes
from s02jax.evaluation.report.panel import Case, Clip
from s02jax.text import edits


class DiagnosticMethods(Protocol):
  """Methods of the synthesizer that diagnostics call."""

  def ctc_transcribe(self, waves: Sequence[np.ndarray]) -> list[str]: ...
  def tokenize(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]: ...
  def codes_in_use(self, codes: Sequence[np.ndarray]) -> float: ...
  def ar_cost(
    self, items: Sequence[tuple[str, str, np.ndarray, np.ndarray]]
  ) -> float: ...


def diagnose(
  models: DiagnosticMethods, cases: Sequence[Case], clips: Sequence[Clip]
) -> dict[str, Figure]:
  """Measures the modules on one split.

  Args:
    models: of the bundle.
    cases: of the split.
    clips: more of the split, whose codes are counted.

  Returns:
    figures by the names of `measures.DIAGNOSTICS`.
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
  codes = models.tokenize([clip.wave for clip in clips])
  told, chance = told_by_codes(
    codes, [clip.speaker for clip in clips], [clip.language for clip in clips]
  )
  return {
    "ctc_cer": Figure(value=cer.value, n=cer.n),
    "codes_in_use": Figure(
      value=float(models.codes_in_use(codes)), n=len(clips)
    ),
    "codes_tell_speaker": told,
    "codes_tell_speaker_chance": chance,
    "ar_cost": right,
    "ar_wrong_reference": _extra(right, _cost(models, cases, everyone, voices)),
    "ar_wrong_text": _extra(right, _cost(models, cases, texts, everyone)),
  }


def _cost(models, cases, texts, voices) -> Figure:
  """Cross-entropy with texts and references of the cases of these indices."""
  if None in texts or None in voices:
    return Figure(value=None, n=0)
  items = [
    (cases[t].text, case.language, cases[v].reference, case.wave)
    for case, t, v in zip(cases, texts, voices, strict=True)
  ]
  return Figure(value=float(models.ar_cost(items)), n=len(items))


def _extra(right: Figure, wrong: Figure) -> Figure:
  """Rise of the cross-entropy."""
  if wrong.value is None or right.value is None:
    return Figure(value=None, n=0)
  return Figure(value=wrong.value - right.value, n=wrong.n)


def other_speaker(cases: Sequence[Case], i: int) -> int | None:
  """Index of the next case by another speaker, if possible in its language."""
  return _next(cases, i, lambda case: case.speaker != cases[i].speaker)


def other_text(cases: Sequence[Case], i: int) -> int | None:
  """Index of the next case with another text, if possible in its language."""
  return _next(cases, i, lambda case: case.text != cases[i].text)


def _next(cases, i, differs) -> int | None:
  """Index of the next case, cyclically, that differs; None if none does."""
  order = [(i + step) % len(cases) for step in range(1, len(cases))]
  found = [j for j in order if differs(cases[j])]
  same = [j for j in found if cases[j].language == cases[i].language]
  return (same or found or [None])[0]
