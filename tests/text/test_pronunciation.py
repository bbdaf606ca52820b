"""Pronunciation dictionaries: words found, files checked."""

import json

import pytest

from s02jax.core.errors import UserError
from s02jax.text.pronunciation import Pronunciation


def respell(entries, text, language="en"):
  return Pronunciation({"all": entries}).respell(text, language)


@pytest.mark.parametrize(
  "word,text,changed",
  [
    ("SQL", "SQL, sql and (Sql). MySQL", "X, X and (X). MySQL"),
    ("SQL", "SQL_1, SQLs, SQL's", "SQL_1, SQLs, X's"),
    ("é", "é née e\u0301 eé", "X née X eé"),
    ("Straße", "STRAßE straße Straßen", "X X Straßen"),
    ("кот", "Кот, котик", "X, котик"),
    ("क", "क कि का क।", "X कि का X।"),
    ("東京", "東京都は東京です", "X都はXです"),
    ("ソニー", "ソニーの", "Xの"),
    ("서울", "서울은", "X은"),
    ("กรุง", "ในกรุงเทพ", "ในXเทพ"),
    ("مصر", "مصر مصري", "X مصري"),
    ("C++", "C++ or C++. xC++", "X or X. xC++"),
    ("New York", "new york, New Yorker", "X, New Yorker"),
    ("1", "Wait <#1#> 1 s, 11", "Wait <#1#> X s, 11"),
    ("i", "I ı i", "X ı X"),
  ],
)  # fmt: skip
def test_whole_words_in_any_case(word, text, changed):
  assert respell({word: "X"}, text) == changed


def test_the_longest_entry_wins_and_nothing_is_replaced_twice():
  entries = {"a": "b", "b": "a", "a b": "c", "b a": "a a"}
  assert respell(entries, "a b a") == "c b"
  assert respell(entries, "b a b") == "a a a"
  assert respell(entries, "a, b") == "b, a"
  assert respell({}, "a") == "a"


def test_a_respelling_is_taken_as_it_stands():
  assert respell({"x": r"\1 \g<0> $1"}, "x") == r"\1 \g<0> $1"


def test_a_language_has_its_own_entries_before_those_of_all():
  words = Pronunciation({"all": {"Chat": "A", "s02": "B"}, "fr": {"chat": "C"}})
  assert words.respell("chat s02", "en") == "A B"
  assert words.respell("chat s02", "fr-FR") == "C B"


def write(path, content):
  path.write_text(content, "utf-8")
  return path


def test_both_kinds_of_file_say_the_same(tmp_path):
  tsv = write(
    tmp_path / "a.tsv",
    "# remark\nSQL\tsequel\n\n Nguyen \twin\ten-US\r\n東京\tとうきょう\tja\n",
  )
  entries = {
    "all": {"SQL": "sequel"},
    "en": {"Nguyen": "win"},
    "ja": {"東京": "とうきょう"},
  }
  as_json = write(tmp_path / "a.json", json.dumps(entries))
  for path in (tsv, as_json):
    words = Pronunciation.load(path)
    assert words.respell("SQL by Nguyen", "en") == "sequel by win"
    assert words.respell("SQL by Nguyen", "de") == "sequel by Nguyen"
    assert words.respell("東京", "ja") == "とうきょう"


@pytest.mark.parametrize(
  "name,content,match",
  [
    ("a.tsv", "a\tb\nc d\n", "line 2: 1 columns"),
    ("a.tsv", "a\tb\ten\tx\n", "line 1: 4 columns"),
    ("a.tsv", "\n#\na\t\n", "line 3: .*empty"),
    ("a.tsv", "a\tb\txx\n", "line 1: language 'xx' is unknown"),
    ("a.tsv", "a\tb\nb\tc\nA\tc\n", "line 3: 'A' is already .*line 1"),
    ("a.tsv", "a\t<#1#>\n", "line 1: pauses"),
    ("a.json", '{\n"en": {"a" "b"}}', "line 2: not JSON"),
    ("a.json", '{"a": "b"}', "line 1: must be"),
    ("a.json", "[]x", "line 1: not JSON"),
    ("a.json", '["a"]', "line 1: must be"),
    ("a.json", '{"en": {\n"a": "b",\n"a": "c"}}', "line 3: 'a' is already"),
    ("a.json", '{"en": {"b": "b",\n"a": 1}}', "line 2: .*string"),
    ("a.json", '{"xx": {"a": "b"}}', "line 1: language 'xx'"),
    ("a.txt", "a\tb\n", ".tsv or a .json"),
  ],
)
def test_a_wrong_entry_is_one_sentence_with_its_line(
  name, content, match, tmp_path
):
  with pytest.raises(UserError, match=match) as error:
    Pronunciation.load(write(tmp_path / name, content))
  assert "\n" not in str(error.value)
  assert name in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
  (tmp_path / "b.tsv").write_bytes(b"\xff\xfe\xff")
  for name in ("a.tsv", "b.tsv"):
    with pytest.raises(UserError, match=f"{name}: cannot be read"):
      Pronunciation.load(tmp_path / name)
