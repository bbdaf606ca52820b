"""Judges over all rows: figures and groups of a speaker's clips."""

from s02jax.evaluation.report import judge, measures, recipes
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
