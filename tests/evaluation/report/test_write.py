"""Files that a report reads and writes."""

import json

import pytest

from s02jax.core.errors import UserError
from s02jax.evaluation import media
from s02jax.evaluation.report import recipes, write
from tests.evaluation.report.parrot import MEASURED


def test_metrics_hold_every_figure_with_its_n(written):
  found = json.loads((written / "metrics.json").read_text())
  for split, n in {"unseen": 4, "seen": 2}.items():
    assert set(found["table"][split]) == {r.name for r in recipes.RECIPES}
    for row in found["table"][split].values():
      assert set(row) == MEASURED
      assert all({"value", "n"} <= set(figure) for figure in row.values())
      assert row["dtw_top1"]["n"] == n
  assert len(found["cases"]) == 6
  assert all(
    set(c["verdicts"]) == set(row)
    for c in found["cases"]
    for row in [{r.name for r in recipes.RECIPES}]
  )
  assert sorted(p.name for p in written.iterdir()) == [
    "index.html",
    "metrics.json",
  ]


def test_runs_without_metrics_and_odd_phases_are_refused(tmp_path):
  with pytest.raises(UserError, match="--runs"):
    write.read_curves(tmp_path)
  (tmp_path / "phases.json").write_text("[1]")
  with pytest.raises(UserError, match="--phases"):
    write.read_phases(tmp_path / "phases.json")
  (tmp_path / "phases.json").write_text('{"corpus": 3}')
  assert write.read_phases(tmp_path / "phases.json") == {"corpus": 3.0}


def test_curves_take_finite_values_of_training_and_held_out(tmp_path):
  lines = [
    {"step": 1, "loss": 2.0},
    {"step": 2, "loss": None},
    {"step": 2, "unseen/loss": 1.5},
    {"step": 3, "loss": 1.0},
  ]
  text = "\n".join(map(json.dumps, lines))
  (tmp_path / "metrics.jsonl").write_text(text)
  assert write.read_curves(tmp_path) == [
    media.Curve("training", [1, 3], [2.0, 1.0]),
    media.Curve("unseen", [2], [1.5]),
  ]
