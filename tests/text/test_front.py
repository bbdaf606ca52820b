"""Front end: one way for corpora and synthesis, and nothing lost in silence."""

import random
import re
import unicodedata

import pytest

from s02jax.core.errors import UserError
from s02jax.synthesis import long_text
from s02jax.text import front
from s02jax.text.front import Audience
from s02jax.text.tokenizer import TextModel
from tests import tiny
from tests.text.test_language_id import SENTENCES

BUNDLE = Audience(languages=("en", "es", "de"))
SEED, COUNT = 0, 200  # of the mutated texts


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


# ------------------------------------------------------------- mutated texts

WORDS = {
  "en": "the river went over old stones while nobody came house",
  "de": "die alte mühle stand lange still wasser größe straße",
  "es": "el niño corría por la calle mañana corazón perro",
  "ru": "старый дом стоял тихо около реки ёлка",
  "zh": "今天 天气 很好 我们 去 公园",
  "hi": "हम नदी किनारे टहले बहुत पक्षी",
  "ar": "مشينا بجانب النهر طيورا كثيرة",
}
PIECES = (
  "🎉", "❤\ufe0f", "\u200b", "\u00ad", "\ufeff", "\u202e", "\u00a0", "\x00",
  "<b>", "</b>", "<br>", "<x y='1'>", "<", ">", "&amp;", "&nbsp;", "&", "#",
  "**", "_", "`", "|", "\n\n", "\n- ", "\n1. ", "\n# ", "***", "—", "…", "?!",
  "<#0.5#>", "<break time='1s'/>", "12", "3.5.2024", "$5", "50 %", "(", ")",
  "☃", "∀", "\ue000", "שלום", "東京", "привет", "Ωμέγα", "\u0301", "...", "--",
  "x" * 60, "-" * 300, "http://a.bc/d", "MP3", "IV", "\t", "“", "”", "*",
)  # fmt: skip


def mutated(rng, code):
  """Text of known words, and what people's texts have between them."""
  words = rng.choices(WORDS[code].split(), k=rng.randrange(1, 30))
  made, known = [], []
  for word in words:
    for _ in range(rng.choice((0, 0, 1, 1, 3))):
      made.append(rng.choice(PIECES) + rng.choice(("", " ")))
    made.append(" ")
    known.append(word)
    cut = rng.randrange(len(word) + 1)
    hidden = rng.choice(("", "", "\u00ad", "\u200b", "\u2060"))
    loud = word.upper() if rng.random() < 0.1 and code != "de" else word
    made += [loud[:cut] + hidden + loud[cut:], " "]
  text = "".join(made)
  return (text.upper() if rng.random() < 0.05 and code != "de" else text), known


def heard(text):
  """Letters of a text, to compare by."""
  folded = unicodedata.normalize("NFKD", text.casefold())
  return [w for w in re.split(r"[\W\d_]+", folded.replace("\u0301", "")) if w]


def check(rng, caplog):
  """Reads a mutated text in passages: all of its words are there or named."""
  code = rng.choice(sorted(WORDS))
  text, known = mutated(rng, code)
  markup = rng.choice(("none", "none", "markdown"))
  caplog.clear()
  try:
    read = long_text.read(text, code, audience=BUNDLE, markup=markup)
  except UserError as error:  # a malformed pause, which is the writer's
    assert "pause" in str(error), ascii(text)
    return
  parts = read.parts(rng.choice((4.0, 10.0, 40.0)))
  said = " ".join(p.text for p in parts if isinstance(p, long_text.Passage))
  everything, place = "".join(heard(said)), 0
  for word in known:
    letters = "".join(heard(word))
    place = everything.find(letters, place) + len(letters)
    assert place >= len(letters), (word, ascii(text), said)
  everything = " ".join([said, caplog.text])
  lone = [w for w in ("שלום", "東京", "привет", "Ωμέγα") if w in text]
  for word in lone:
    found = "".join(heard(word)) in "".join(heard(everything))
    assert found, (word, ascii(text), everything)


def test_mutated_texts_lose_no_word_in_silence(caplog):
  rng = random.Random(SEED)
  for _ in range(COUNT):
    check(rng, caplog)


@pytest.mark.parametrize("markup", ["none", "markdown", "ssml", "srt"])
def test_any_text_is_read_or_refused_in_one_sentence(markup):
  rng = random.Random(markup)
  pieces = [*PIECES, *"<>&/=\"'[](){}!-", "<p>", "</p>", "<s>", "-->", "\n",
            "00:00:01,0 --> 00:00:02,0\n", "<!--", "<![CDATA[", "\ud800",
            "<#", "#>", "```", "    ", "|-|", "[a](b)", "word"]  # fmt: skip
  for _ in range(COUNT):
    text = "".join(rng.choices(pieces, k=rng.randrange(30)))
    try:
      found = front.read(text, rng.choice(("en", None)), markup=markup)
    except UserError as error:
      assert str(error).count("\n") == 0, ascii(text)
      continue
    again = front.words(found.text, found.language)
    assert again == found.text, ascii(text)
