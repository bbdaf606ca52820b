"""Judgement of copies of recordings by several models, for the ablations.

None of the judges was trained here.
"""

import concurrent.futures
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from s02jax.evaluation.figure import Figure, mean
from s02jax.evaluation.report import clip_judge
from s02jax.evaluation.report.judge import joined, speaker_groups
from s02jax.evaluation.report.measures import GROUND_TRUTH
from s02jax.evaluation.report.panel import Panel
from s02jax.pretrained import ge2e, signal

_NAMES = tuple(f.name for f in dataclasses.fields(clip_judge.Copy))


def judge(
  panel: Panel,
  copies: Mapping[str, Sequence[np.ndarray]],
  *,
  rate: int,
  pool: concurrent.futures.Executor,
) -> dict[str, dict[str, Figure]]:
  """Compares the copies of each model, and the recordings as `ground_truth`.

  `self_sim` is the GE2E cosine of a copy and its recording, `prompt_sim` that
  of a copy and other clips of the speaker. Clips of a speaker are joined to
  three seconds, which the encoder needs.

  Args:
    panel: the cases.
    copies: of the cases' waves, by model.
    rate: sample rate of all waves, Hz.
    pool: worker processes.

  Returns:
    figures by model and measure.
  """
  truth = [case.wave for case in panel.cases]
  converted = {
    name: [signal.to_judge_rate(wave, rate) for wave in waves]
    for name, waves in {GROUND_TRUTH: truth, **copies}.items()
  }
  truth = converted[GROUND_TRUTH]
  pending = {
    name: [
      pool.submit(clip_judge.judge_copy, *pair)
      for pair in zip(truth, waves, strict=True)
    ]
    for name, waves in converted.items()
  }
  voices = _voices(panel, converted, rate, pool)
  figures = {}
  for name, futures in pending.items():
    found = [future.result() for future in futures]
    figures[name] = voices[name] | {
      measure: mean([getattr(copy, measure) for copy in found])
      for measure in _NAMES
    }
  return figures


def _voices(panel, converted, rate, pool) -> dict[str, dict[str, Figure]]:
  """Figures `self_sim` and `prompt_sim` of each model."""
  groups = speaker_groups(panel.cases, rate)
  of_speaker = pool.submit(
    ge2e.embed,
    [
      signal.to_judge_rate(panel.enrolment[panel.cases[g[0]].speaker], rate)
      for g in groups
    ],
  )
  pending = {
    name: pool.submit(ge2e.embed, [joined(waves, group) for group in groups])
    for name, waves in converted.items()
  }
  vectors = {name: future.result() for name, future in pending.items()}
  truth, others = vectors[GROUND_TRUTH], of_speaker.result()
  return {
    name: {
      "self_sim": mean(ge2e.similarity(x, truth)),
      "prompt_sim": mean(ge2e.similarity(x, others)),
    }
    for name, x in vectors.items()
  }
