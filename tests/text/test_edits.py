"""Edits between texts: error rates and the normalisation before them."""

import pytest

from s02jax.core.languages import BY_CODE
from s02jax.text import edits


def test_error_rates_count_edits_over_the_corpus():
  en, zh = BY_CODE["en"], BY_CODE["zh"]
  rate = edits.error_rate(
    ["A red, red rose!", "one"],
    ["a red rose", "one two"],
    [en, en],
    unit="word",
  )
  assert rate == edits.ErrorRate(value=2 / 5, n=2)
  rate = edits.error_rate(
    ["你好，世界。"], ["你好 世间"], [zh], unit="character"
  )
  assert rate == edits.ErrorRate(value=1 / 4, n=1)
  rate = edits.error_rate(["…"], ["a"], [en], unit="word")
  assert rate == edits.ErrorRate(value=None, n=0)


@pytest.mark.parametrize(
  ("text", "language", "expected"),
  [
    ("Don’t  STOP—well-known!", "en", "don't stop well known"),
    ("हिन्दी।", "hi", "हिन्दी"),
    ("¿Dónde está?", "es", "dónde está"),
    ("السَّلَامُ عَلَيْكُمْ", "ar", "السلام عليكم"),
    ("ｱｲｳ、エ", "ja", "アイウエ"),
  ],
)
def test_normalisation_keeps_letters_and_marks(text, language, expected):
  found = edits.normalise(text, BY_CODE[language])
  assert found == expected
  assert edits.normalise(found, BY_CODE[language]) == found
