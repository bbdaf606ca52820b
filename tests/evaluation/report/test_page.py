"""Page of the report."""

import re

from s02jax.evaluation.report import recipes


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
