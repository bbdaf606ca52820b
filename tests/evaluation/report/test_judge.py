"""Judges over all rows: figures and groups of a speaker's clips."""

import concurrent.futures
import types

import numpy as np
import pytest

from s02jax.evaluation.report import clip_judge, judge, measures, recipes
from s02jax.pretrained.whisper import recogniser as whisper
from tests.evaluation.report.parrot import MEASURED, panel


def test_groups_hold_one_speaker_and_every_case_once():
  cases = panel("unseen").cases
  groups = judge.speaker_groups(cases, 16000)
  assert sorted(i for g in groups for i in g) == list(range(len(cases)))
  assert all(len({cases[i].speaker for i in g}) == 1 for g in groups)


def test_rows_that_equal_the_ground_truth_are_judged_alike(results):
  for result in results.values():
    figures = result.judgement.figures
    assert list(figures) == [recipe.name for recipe in recipes.RECIPES]
    truth = figures[measures.GROUND_TRUTH]
    assert set(truth) == MEASURED
    for name, row in figures.items():
      for measure, figure in row.items():
        if measure == "ended":
          expected = 1.0 if name.endswith("_shot") else None
          assert figure.value == expected
        elif figure.value is not None:
          assert figure == truth[measure], (name, measure)
    assert truth["dtw_top1"].value == 1
    assert truth["nearest_speaker"].value == 1
    assert truth["ctc_cer"].value == 0
    assert truth["stoi"].value > 0.999
    assert figures["zero_shot"]["stoi"].value is None


@pytest.mark.parametrize(
  ("deaf", "expected"), [({"fi"}, (0.0, 1.0)), ({"fi", "en"}, (1.0, 1.0))]
)
def test_a_language_counts_whose_recordings_are_heard(
  deaf, expected, monkeypatch
):
  cases = [
    types.SimpleNamespace(text=text, language=code)
    for text, code in (("one two", "en"), ("yksi kaksi", "fi"))
  ]
  truth = {"en": "one two", "fi": "yksi kaksi"}
  waves = {measures.GROUND_TRUTH: [np.ones(1)] * 2, "row": [np.zeros(1)] * 2}

  def hear(clips, code):
    said = clips[0][0] and code not in deaf
    return [truth[code] if said else ""] * len(clips)

  monkeypatch.setattr(clip_judge, "hear", hear)
  monkeypatch.setattr(whisper, "installed", lambda: True)
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    found = judge._heard(cases, waves, pool)
  counted = 2 if len(deaf) == 2 else 1
  for row, value in zip(waves, expected, strict=True):
    assert found[row]["asr_cer"].value == value
    assert found[row]["asr_cer"].n == counted
  monkeypatch.setattr(whisper, "installed", lambda: False)
  assert judge._heard(cases, waves, None) == {}
