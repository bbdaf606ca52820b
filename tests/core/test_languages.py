"""Table of languages: complete, unambiguous, and enough for a new one."""

import dataclasses
import json
import subprocess
import sys

import pytest

from data_pipelines import words
from s02jax.audio import espeak
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.text import front, language_id, tokenizer
from tests import user_languages

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


# ------------------------------------------------------------ a user's own

SWAHILI = """
[sw]
name = "Swahili"
point = "nukta"
percent = "asilimia"
aliases = ["sw-ke"]
[gu]
name = "Gujarati"
script = "Gujr"
"""


@pytest.fixture
def added(tmp_path):
  """Swahili and Gujarati, of a file."""
  path = tmp_path / "own.toml"
  path.write_text(SWAHILI, "utf-8")
  with user_languages.kept():
    languages.add(languages.read_file(path))
    yield path


def test_a_language_of_a_file_is_read_aloud_and_told_apart(added):
  assert languages.resolve("sw_KE").name == "Swahili"
  assert front.words("25% au 3.5", "sw") == (
    "ishirini na tano asilimia au tatu nukta tano"
  )
  assert front.words("12", "gu") == "1 2"  # CLDR has no words for them
  assert language_id.detect("મારી પાસે") == "gu"
  assert language_id.detect("mambo", ["sw"]) == "sw"


def test_a_process_that_starts_later_knows_it(added):
  code = "from s02jax.core import languages as l; print(l.resolve('sw').point)"
  told = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert told.stdout.strip() == "nukta"


def test_a_card_tells_it_where_the_file_is_not(added):
  rows = json.loads(json.dumps(languages.rows(["en", "sw"])))
  assert [row["code"] for row in rows] == ["sw"]
  before = languages.BY_CODE["sw"]
  languages.add_rows(rows)  # once more is no matter
  del languages.BY_CODE["sw"]
  for code in ("sw", "sw-ke"):
    del languages._BY_ANY_CODE[code]
  languages.add_rows(rows)
  assert languages.BY_CODE["sw"] == before


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ("", "no language; write"),
    ("[EN]", "is no code such as sw"),
    ("sw = 3", "is no table"),
    ("[sw]", "name is missing"),
    ("[sw]\nname = 3", "name is 3; give a text"),
    ("[sw]\nname = 'S'\nmetric = 'per'", "give one of wer, cer"),
    ("[sw]\nname = 'S'\nnames = 'S'", "names is unknown"),
    ("[sw]\nname = 'S'\naliases = 'x'", "aliases is no list of codes"),
    ("[", "cannot be read as TOML"),
    ("[en]\nname = 'S'", "the code 'en' is that of English"),
    ("[sw]\nname = 'S'\naliases = ['nn']", "'nn' is that of Norwegian"),
  ],
)
def test_what_is_wrong_in_a_file_is_one_sentence(content, message, tmp_path):
  path = tmp_path / "own.toml"
  path.write_text(content)
  with user_languages.kept(), pytest.raises(UserError, match=message):
    languages.add(languages.read_file(path))
