"""Capitals: what is shouted is folded, what is an acronym is not."""

import pathlib

import pytest

from s02jax.core import languages
from s02jax.text.capitals import fold, lower
from tests.text.sentences import SENTENCES

CASES = pathlib.Path(__file__).parent / "spoken" / "cases"


@pytest.mark.parametrize(
  ("written", "language", "folded"),
  [
    ("HELLO WORLD", "en", "Hello world"),
    ("HELLO", "en", "Hello"),
    ("STOP IT! NOW!", "en", "Stop it! Now!"),
    ("I THINK SO, AND I'M SURE.", "en", "I think so, and I'm sure."),
    ("He said no. STOP IT NOW! Then he left.", "en",
     "He said no. Stop it now! Then he left."),
    ("CHAPTER ONE It was dark.", "en", "Chapter one It was dark."),
    ("This is VERY IMPORTANT, please.", "en",
     "This is very important, please."),
    ("CHAPTER IV", "en", "Chapter IV"),
    ("ON MAY 3 DR. SMITH RAN 5 KM FOR EUR 20 AT 2:30 PM", "en",
     "On May 3 Dr. Smith ran 5 km for EUR 20 at 2:30 PM"),
    ("AM 3. MAI UM 14:30 UHR IST ALLES GROß", "de",
     "Am 3. Mai um 14:30 Uhr ist alles groß"),
    ("DIE STRAẞE", "de", "Die straße"),
    ("IŞIK İSTANBUL'DA", "tr", "Işık istanbul'da"),
    ("İZMİR IN MAY", "en", "İzmir in May"),
    ("ΚΑΛΗΜΕΡΑ ΣΑΣ", "el", "Καλημερα σας"),
    ("ПРИВЕТ, МИР", "ru", "Привет, мир"),
    ("IJSLAND IS MOOI", "nl", "IJsland is mooi"),
    ("WAIT <#1.5#> HERE", "en", "Wait <#1.5#> here"),
  ],
)  # fmt: skip
def test_what_is_shouted_is_folded(written, language, folded):
  assert fold(written, language) == folded
  assert fold(folded, language) == folded


@pytest.mark.parametrize(
  ("text", "language"),
  [
    ("NASA", "en"),
    ("NASA and UNESCO met IBM in the USA.", "en"),
    ("It has USB HDMI VGA ports.", "en"),
    ("Vitamins A B C D and E", "en"),
    ("Henry VIII and Louis XIV", "en"),
    ("Die DB und der ADAC, die USA, UK, EU", "de"),
    ("播放 USB HDMI 接口", "zh"),
    ("McDonald's iPhone", "en"),
    ("", "en"),
    ("12 % ?!", "en"),
  ],
)
def test_what_is_not_shouted_stays(text, language):
  assert fold(text, language) == text


@pytest.mark.parametrize("code", languages.BY_CODE)
def test_a_sentence_in_capitals_is_one_in_small_letters(code):
  sentence = SENTENCES[code]
  assert fold(sentence, code) == sentence
  shouted = (
    sentence.replace("ı", "I").replace("i", "İ") if code == "tr" else (sentence)
  )
  folded = fold(shouted.upper(), code)
  assert lower(folded, code) == lower(shouted.upper(), code)
  if any(c.isupper() for c in sentence):
    assert not any(word.isupper() for word in folded.split() if len(word) > 1)


@pytest.mark.parametrize(
  "path", sorted(CASES.glob("*.tsv")), ids=lambda path: path.stem
)
def test_normal_texts_are_untouched(path):
  for line in path.read_text("utf-8").splitlines()[1:]:
    written = line.split("\t")[0]
    if sum(map(str.islower, written)) > 5:
      assert fold(written, path.stem) == written
