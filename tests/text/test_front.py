"""Front end: one way for corpora and synthesis, and nothing lost in silence."""

import re

import pytest

from s02jax.core.errors import UserError
from s02jax.text import front
from s02jax.text.front import Audience
from s02jax.text.tokenizer import TextModel
from tests import tiny
from tests.text.sentences import SENTENCES

BUNDLE = Audience(languages=("en", "es", "de"))


@pytest.mark.parametrize(
  ("dirty", "bare"),
  [
    ("Wait\u200b he\u00adre,\u00a0please\ufeff.", "Wait here, please."),
    ("IT WAS 5 KM, <b>REALLY</b>.", "It was 5 km, really."),
    ("On\u202fMay 3\u20e3", "On May 3"),
  ],
)
def test_a_dirty_text_is_read_as_the_clean_one(dirty, bare):
  assert front.read(dirty, "en").text == front.words(bare, "en")
  marks = re.sub("<.*?>", "", dirty)
  assert front.words(marks, "en") == front.words(bare, "en")


def test_steps_are_listed_in_their_order():
  found = front.read("IT\u00ad IS <b>5</b> KM", "en")
  assert [name for name, _ in found.steps] == [
    "clean", "marks", "capitals", "words"
  ]  # fmt: skip
  assert found.steps[-1] == ("words", found.text)
  assert front.read("It is here.", "en").steps == ()


@pytest.mark.parametrize(
  ("text", "code"),
  [("Hello", "en"), ("Hi", "en"), ("Danke", "de"), ("Hola", "es"),
   ("Chapter 4", "en"), ("<speak>Gracias</speak>", "es"), ("x", "en"),
   ("Please call me on 030 1234567 and ask for my brother", "en")],
)  # fmt: skip
def test_the_language_is_one_of_the_bundle(text, code):
  markup = "ssml" if text.startswith("<speak") else "none"
  found = front.read(text, None, audience=BUNDLE, markup=markup)
  assert found.language == code


@pytest.mark.parametrize("text", ["東京", "こんにちは", "안녕", "Привет"])
def test_a_script_of_none_of_the_languages_is_one_sentence(text):
  with pytest.raises(UserError, match="none of en, es, de") as error:
    front.read(text, None, audience=BUNDLE)
  assert "\n" not in str(error.value)


def test_what_is_not_spoken_is_named_once():
  model = TextModel(tiny.text_model())
  audience = Audience(languages=("en", "es"), model=model)
  found = front.read("Ж 🎉 <x>fox</x> Ж ♥🎉", "en", audience=audience)
  assert found.text == "Ж fox Ж"
  assert found.warnings == (
    "marks without effect: <x>",
    "not spoken, for they are pictures: 🎉 ♥",
    "the models never met these characters, and will hardly speak them: Ж",
  )
  assert front.read("fox dog", "en", audience=audience).warnings == ()
  many = "".join(map(chr, range(0x400, 0x440)))
  (warning,) = front.read("fox " + many, "en", audience=audience).warnings
  assert warning.endswith("and 44 more")


def test_a_capital_that_the_models_never_met_is_a_small_letter():
  model = TextModel(tiny.text_model())
  alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
  strange = [c for c in model.unknown(alphabet) if not model.unknown(c.lower())]
  assert strange  # of this model
  audience = Audience(languages=("en",), model=model)
  for capital in strange:
    found = front.read(f"{capital}o fox", "en", audience=audience)
    assert found.text == f"{capital.lower()}o fox"
    assert not found.warnings and found.steps[-1] == (
      "known letters",
      found.text,
    )


def test_a_model_of_capitals_gets_capitals():
  text = "THE QUICK BROWN FOX"
  assert front.read(text, "en").text == "The quick brown fox"
  loud = Audience(folds=False)
  assert front.read(text, "en", audience=loud).text == text


@pytest.mark.parametrize("code", SENTENCES)
def test_a_normal_text_is_read_as_before_there_were_steps(code):
  text = f"{SENTENCES[code]} “{SENTENCES[code]}”"
  assert front.read(text, code).text == text
  assert front.words(text, code) == text
