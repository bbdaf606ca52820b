"""Table of languages: complete, unambiguous, and enough for a new one."""

import dataclasses

import pytest

from data_pipelines import words
from s02jax.audio import espeak
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.text import tokenizer

CODES = (
  "zh en yue ja ko ar es tr id pt fr it nl vi de ru uk th pl ro el cs fi hi"
  " bg hr da hu ms nb sk sv"
)
# The languages the published test set judges by characters.
BY_CHARACTER = {"zh", "yue", "ja", "ko", "th", "ar", "vi", "hi", "el"}


def test_the_table_has_its_32_rows():
  assert [row.code for row in languages.LANGUAGES] == CODES.split()
  assert len({row.name for row in languages.LANGUAGES}) == 32
  by_character = {r.code for r in languages.LANGUAGES if r.metric == "cer"}
  assert by_character == BY_CHARACTER


def test_rows_are_frozen():
  with pytest.raises(dataclasses.FrozenInstanceError):
    setattr(languages.BY_CODE["en"], "name", "Anglic")  # noqa: B010


@pytest.mark.parametrize(
  ("written", "code"),
  [
    ("en", "en"), ("EN_us", "en"), ("zh-tw", "zh"), ("pt-BR", "pt"),
    ("nn", "nb"), ("no", "nb"), ("zh-HK", "yue"), (" sv ", "sv"),
  ],
)  # fmt: skip
def test_codes_of_other_people_resolve(written, code):
  assert languages.resolve(written).code == code


@pytest.mark.parametrize("written", ["", "xx", "english", "fil", "e n"])
def test_unknown_codes_are_refused_with_the_known_ones(written):
  with pytest.raises(UserError, match="zh, en, yue, .*, sv"):
    languages.resolve(written)


def test_a_code_claimed_twice_is_a_bug():
  twin = dataclasses.replace(
    languages.BY_CODE["sv"], code="xx", aliases=("en",)
  )
  with pytest.raises(ValueError, match="'en' is claimed twice"):
    languages.by_any_code([*languages.LANGUAGES, twin])


def test_every_language_has_a_tag():
  assert all(f"<{code}>" in tokenizer.CONTROLS for code in languages.BY_CODE)


@pytest.mark.parametrize("language", languages.LANGUAGES, ids=lambda r: r.code)
def test_every_list_is_distinct_words_that_are_spoken(language):
  known = words.WORDS[language.code]
  assert 40 <= len(known) == len(set(known))
  waves = [espeak.render(word, language.espeak)[0] for word in known[:12]]
  assert all(abs(wave).max() > 0.01 for wave in waves)
  assert len({wave.tobytes() for wave in waves}) == len(waves)


def test_a_list_is_not_asked_for_more_than_it_has():
  english = languages.BY_CODE["en"]
  assert words.first_words(english, 5) == words.WORDS["en"][:5]
  for count in (3, 10_000):
    with pytest.raises(UserError, match="--words"):
      words.first_words(english, count)
