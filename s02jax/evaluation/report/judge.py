"""All judges over all rows of the table: waves in, figures out.

A row is a way of making the sentence of each case: the recording itself, a
copy through one of the models, or speech made from text. The same judges hear
every row in the same way, so that each figure can be read beside the ground
truth's.
"""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from s02jax.core import languages
from s02jax.evaluation.figure import Figure, mean, share
from s02jax.evaluation.report import clip_judge
from s02jax.evaluation.report.clip_judge import CaseTask, Verdict
from s02jax.evaluation.report.measures import (
  FIT,
  GROUND_TRUTH,
  QUALITY_CASES,
  TRANSCRIBED_CASES,
)
from s02jax.evaluation.report.panel import SPEAKERS, Case, Panel
from s02jax.pretrained import dnsmos, ge2e, hama, signal
from s02jax.pretrained.whisper import recogniser as whisper
from s02jax.text import edits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Renditions:
  """Sentences of a panel's cases as one system made them."""

  waves: Sequence[np.ndarray]  # one for each case, at the bundle's rate
  aligned: bool  # copies of the recordings, sample by sample
  transcripts: Sequence[str]  # by the audio tokenizer's own CTC head
  # Whether each ended with the end token; None if made from audio.
  ended: Sequence[bool] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judgement:
  """Figures and verdicts of one split."""

  figures: dict[str, dict[str, Figure]]  # by row and measure
  verdicts: dict[str, list[Verdict]]  # by row, one for each case


def judge(
  panel: Panel,
  rows: Mapping[str, Renditions],
  *,
  rate: int,
  pool: concurrent.futures.Executor,
) -> Judgement:
  """Asks every judge about every row.

  Args:
    panel: the cases.
    rows: by name, `ground_truth` among them.
    rate: sample rate of all waves, Hz.
    pool: worker processes.

  Raises:
    UserError: a judge is not installed.
  """
  converted = {
    name: [signal.to_judge_rate(wave, rate) for wave in row.waves]
    for name, row in rows.items()
  }
  pending = [
    pool.submit(clip_judge.judge_case, task)
    for task in _tasks(panel, rows, converted)
  ]
  heard = _heard(panel.cases, converted, pool)
  voices = _voices(panel, converted, rate, pool)
  by_case = [future.result() for future in pending]
  verdicts = {
    name: [by_row[i] for by_row in by_case] for i, name in enumerate(rows)
  }
  figures = {
    name: _figures(panel.cases, row, verdicts[name])
    | voices[name]
    | heard.get(name, {})
    for name, row in rows.items()
  }
  return Judgement(figures=figures, verdicts=verdicts)


# ------------------------------------------------------------ single clips


def _tasks(panel, rows, converted) -> list[CaseTask]:
  """Tasks of the workers, one a case, from waves at 16 kHz by row."""
  return [
    CaseTask(
      candidates=case.candidates,
      language=case.language,
      phonemes=i < TRANSCRIBED_CASES
      and case.language == hama.LANGUAGE.code
      and hama.installed(),
      quality=i < QUALITY_CASES and dnsmos.installed(),
      truth=converted[GROUND_TRUTH][i],
      waves=tuple(converted[name][i] for name in rows),
      aligned=tuple(row.aligned for row in rows.values()),
    )
    for i, case in enumerate(panel.cases)
  ]


# ------------------------------------------------------------------- words


def _heard(cases, converted, pool) -> dict[str, dict[str, Figure]]:
  """Error rate of each row by Whisper; nothing where it is not installed.

  A language counts whose recordings themselves it hears; where it hears none
  of them, all count, and the ground truth's rate says so.
  """
  if not whisper.installed():
    return {}
  of_language = collections.defaultdict(list)
  for i, case in enumerate(cases[:TRANSCRIBED_CASES]):
    of_language[case.language].append(i)
  pending = {
    (row, code): pool.submit(
      clip_judge.hear, tuple(waves[i] for i in places), code
    )
    for row, waves in converted.items()
    for code, places in of_language.items()
  }
  answers = {key: future.result() for key, future in pending.items()}

  def rate(row: str, codes: Sequence[str]) -> edits.ErrorRate:
    texts, heard, rows = [], [], []
    for code in codes:
      texts += [cases[i].text for i in of_language[code]]
      heard += answers[row, code]
      rows += [languages.BY_CODE[code]] * len(of_language[code])
    return edits.error_rate(texts, heard, rows, unit="character")

  fit = [
    code
    for code in of_language
    if (found := rate(GROUND_TRUTH, [code]).value) is not None and found < FIT
  ]
  return {
    row: {"asr_cer": _rate(rate(row, fit or list(of_language)))}
    for row in converted
  }


# ------------------------------------------------------------------ voices


def _voices(panel, converted, rate, pool) -> dict[str, dict[str, Figure]]:
  """Similarity to the speaker and, in a line-up of several, the rank.

  The clips of a speaker are joined until they last three seconds, which the
  encoder needs; all rows are grouped by the lengths of the ground truth.
  """
  names = list(panel.enrolment)
  groups = speaker_groups(panel.cases, rate)
  gallery_of = pool.submit(
    ge2e.embed,
    [signal.to_judge_rate(panel.enrolment[name], rate) for name in names],
  )
  tests_of = {
    row: pool.submit(ge2e.embed, [joined(waves, group) for group in groups])
    for row, waves in converted.items()
  }
  gallery = gallery_of.result()
  owner = np.array([names.index(panel.cases[g[0]].speaker) for g in groups])
  # The speaker and the 15 that follow it: the same chance for everybody.
  line_up = (owner[:, None] + np.arange(min(SPEAKERS, len(names)))) % len(names)
  figures = {}
  for row, future in tests_of.items():
    test = future.result()
    cosine = ge2e.similarity(test[:, None], gallery[line_up])
    hit = (np.argmax(cosine, axis=1) == 0) & np.any(test, axis=1)
    figures[row] = {"similarity": mean(cosine[:, 0])}
    if line_up.shape[1] > 1:
      figures[row]["nearest_speaker"] = share(hit)
  return figures


def joined(waves: Sequence[np.ndarray], group: Sequence[int]) -> np.ndarray:
  """Joins waves at 16 kHz after cutting the silence at their ends."""
  return np.concatenate([signal.trim_silence(waves[i]) for i in group])


def speaker_groups(cases: Sequence[Case], rate: int) -> list[list[int]]:
  """Groups indices of cases by speaker, three seconds of ground truth each.

  The rest of a speaker's cases joins the speaker's last group.
  """
  of_speaker = collections.defaultdict(list)
  for i, case in enumerate(cases):
    of_speaker[case.speaker].append(i)
  groups = []
  for indices in of_speaker.values():
    first = len(groups)
    current: list[int] = []
    for i in indices:
      current.append(i)
      samples = sum(len(cases[j].wave) for j in current)
      if samples >= ge2e.SECONDS_NEEDED * rate:
        groups.append(current)
        current = []
    if current and len(groups) > first:
      groups[-1] += current
    elif current:
      groups.append(current)
  return groups


# ----------------------------------------------------------------- figures


def _figures(
  cases: Sequence[Case], row: Renditions, verdicts: Sequence[Verdict]
) -> dict[str, Figure]:
  """Figures of a row by measure, but for those of the voice."""
  texts = [case.text for case in cases]
  rows = [languages.BY_CODE[case.language] for case in cases]
  figures = {
    "dtw_top1": share([v.dtw for v in verdicts]),
    "sentence_choice": share([v.choice for v in verdicts]),
    "ctc_cer": _rate(
      edits.error_rate(texts, row.transcripts, rows, unit="character")
    ),
    "phoneme_errors": _phoneme_errors(texts, verdicts),
    "stoi": mean([v.stoi for v in verdicts]),
    "pesq": mean([v.pesq for v in verdicts]),
    "spectral_distance": mean([v.distance for v in verdicts]),
    "dnsmos": mean([v.dnsmos for v in verdicts]),
    "ended": share(row.ended or []),
  }
  if not signal.has_pesq():
    del figures["pesq"]
  if not dnsmos.installed():
    del figures["dnsmos"]
  if not hama.installed():
    del figures["phoneme_errors"]
  return figures


def _phoneme_errors(texts, verdicts) -> Figure:
  """Phoneme error rate of the cases that hama heard."""
  asked = [i for i, v in enumerate(verdicts) if v.phonemes is not None]
  return _rate(
    hama.error_rate(
      [texts[i] for i in asked], [verdicts[i].phonemes for i in asked]
    )
  )


def _rate(rate: edits.ErrorRate) -> Figure:
  """Error rate as a figure without an interval."""
  return Figure(value=rate.value, n=rate.n)
