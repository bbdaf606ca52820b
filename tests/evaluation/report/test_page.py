"""Page of the report."""

import re

from s02jax.evaluation.figure import Figure
from s02jax.evaluation.report import page as pages
from s02jax.evaluation.report import recipes
from s02jax.evaluation.report.measures import GROUND_TRUTH, MEASURES


def test_the_page_stands_alone(written):
  page = (written / "index.html").read_text()
  assert not re.search(r"(?:https?:)?//[a-z]", re.sub(r"base64,\S+", "", page))
  assert page.count("<audio") == page.count("data:audio/flac") == 6 * 7
  assert page.count("data:image/png") == 6 * 7
  assert "The vocabulary is closed &lt;here&gt;." in page
  assert "s02 report --bundle b" in page
  assert "<polyline" in page
  for recipe in recipes.RECIPES:
    assert recipe.label in page
  assert "nan" not in re.sub(r"base64,\S+", "", page).casefold().split()


def test_speech_from_text_is_first_beside_the_truth(written):
  page = (written / "index.html").read_text()
  captions = re.findall(r"<figcaption>([^<]+)<small>([^<]+)</small>", page)
  labels = [label for label, _ in captions]
  assert labels[:3] == ["Ground truth", "Zero-shot", "Reference"]
  rows = re.findall(
    r'<tr[^>]*><th scope="row"[^>]*>([^<]+)</th><td title', page
  )
  assert rows[:2] == ["Ground truth", "Zero-shot"]


def test_players_show_their_length(written):
  page = (written / "index.html").read_text()
  players = re.findall(r"<audio [^>]+", page)
  assert players and all('preload="metadata"' in player for player in players)
  lengths = re.findall(r"<figcaption>[^<]+<small>([0-9.]+) s</small>", page)
  assert len(lengths) >= len(players) and all(map(float, lengths))


def test_more_than_the_truth_is_as_good_as_the_truth():
  (measure,) = [m for m in MEASURES if m.name == "sentence_choice"]

  def cell(value):
    table = {
      GROUND_TRUTH: {measure.name: Figure(value=0.8, n=5)},
      "zero_shot": {measure.name: Figure(value=value, n=5)},
    }
    return pages._cell(measure, "zero_shot", table).replace("&nbsp;", " ")

  assert "<small>50 %</small>" in cell(0.4)
  assert "<small>100 %</small>" in cell(0.8)
  assert "100 %<small>as good as the truth</small>" in cell(1.0)
