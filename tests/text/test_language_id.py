"""Language detection on a sentence of each language."""

import sys

import pytest

from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.text import language_id
from s02jax.text.language_id import detect
from tests.text.sentences import SENTENCES


@pytest.mark.parametrize("code", languages.BY_CODE)
def test_a_sentence_of_each_language_is_known(code):
  assert detect(SENTENCES[code]) == code
  assert detect(f"“{SENTENCES[code].upper()}” 2026!") == code


def test_candidates_are_a_choice():
  text = "Semalam kami pergi."
  assert detect(text, ["en", "id"]) == "id"
  assert detect(text, ["en", "ms"]) == "ms"
  assert detect(text, ["ms-MY"]) == "ms"
  assert detect("東京", ["ja", "en"]) == "ja"
  assert detect("東京", ["ko", "ja", "zh"]) == "zh"


BUNDLE = ["en", "es", "de"]


@pytest.mark.parametrize(
  ("text", "code"),
  [("Hello", "en"), ("Hi", "en"), ("Danke", "de"), ("Ja", "de"), ("Sí", "es"),
   ("Hola amigo", "es"), ("OK", "en"), ("Guten Tag", "de"), ("B", "en")],
)  # fmt: skip
def test_a_short_text_gets_the_likeliest_of_a_bundle(text, code):
  assert detect(text, BUNDLE) == code


@pytest.mark.parametrize("code", languages.BY_CODE)
def test_a_long_text_is_told_from_any_other_language_of_its_script(code):
  script = languages.BY_CODE[code].script
  others = [r.code for r in languages.LANGUAGES if r.script == script]
  text = " ".join([SENTENCES[code]] * 40)
  for other in others:
    assert detect(text, [other, code]) == code


def test_where_nothing_tells_two_apart_the_first_is_taken():
  assert detect("Xq", ["de", "en"]) == "de"
  assert detect("Xq", ["en", "de"]) == "en"
  assert detect("42", ["es"]) == "es"


def test_kana_is_japanese_also_where_only_chinese_is_known():
  with pytest.raises(UserError, match="none of zh, en"):
    detect("昨日は川のそばを散歩して", ["zh", "en"])
  assert detect("東京", ["zh", "en"]) == "zh"
  assert detect("東京", ["ja", "en"]) == "ja"


def test_quotations_do_not_decide():
  text = (
    "上周我参加了一个 workshop about old maps and new cities。有位来自大阪的"
    "建筑师说「この街は生きている」，大家都 laughed and clapped。"
  )
  assert detect(text) == "zh"
  assert detect("She said «добрый вечер» and closed the old door.") == "en"


@pytest.mark.parametrize("text", ["", "12 %", "?!", "🙂", "שלום"])
def test_no_letter_of_ours_is_undecidable(text):
  with pytest.raises(UserError, match="cannot be told") as error:
    detect(text)
  assert "\n" not in str(error.value)


def test_a_script_that_no_candidate_has_is_undecidable():
  with pytest.raises(UserError, match="cannot be told"):
    detect("Привет", ["en", "ja"])
  with pytest.raises(UserError, match="unknown"):
    detect("Hello", ["xx"])


def test_without_the_library_scripts_still_decide(monkeypatch):
  monkeypatch.setitem(sys.modules, "py3langid.langid", None)
  language_id.identifier.cache_clear()
  assert detect(SENTENCES["el"]) == "el"
  with pytest.raises(UserError, match=r"s02jax\[serve\]"):
    detect(SENTENCES["de"])
