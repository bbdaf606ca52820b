"""Words by their sounds: alike in corpora and synthesis, never cut in two."""

import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.text import front, phonetic
from s02jax.text.chunks import chunks, expected_seconds
from s02jax.text.front import Audience
from s02jax.text.pronunciation import Pronunciation


@pytest.mark.parametrize(
  ("text", "code", "said"),
  [
    ("小心危险/(wei1)(xian3)！", "zh", "小心(wei1)(xian3)！"),
    ("银行/(yin2)(hang2)行长/(hang2)(zhang3)", "zh",
     "(yin2)(hang2)(hang2)(zhang3)"),
    ("女儿/(nü3)(er2)", "zh", "(nv3)(er2)"),
    ("女/(nu:3)", "zh-CN", "(nv3)"),
    ("我的/(WO3)(DE5) 5 本书", "zh", "(wo3)(de5) 五 本书"),
    ("I read/(R EH1 D) 5 books.", "en", "I (R-EH1-D) five books."),
    ("She'll live/(l ih1 v) here", "en", "She'll (L-IH1-V) here"),
    ("the (T UW1) of them", "en", "the (T-UW1) of them"),
    ("$5/(R EH1 D)/(R EH1 D)", "en", "five dollars(R-EH1-D)(R-EH1-D)"),
    ("I SAID READ/(R EH1 D) NOW", "en", "I said (R-EH1-D) now"),
  ],
)  # fmt: skip
def test_sounds_stand_for_their_word(text, code, said):
  """Corpora read the sounds that synthesis reads, any number of times."""
  assert front.read(text, code).text == said
  assert front.words(text, code) == said
  assert front.words(said, code) == said


@pytest.mark.parametrize(
  ("text", "code"),
  [
    ("Smith (D) and/or (see there)", "en"),
    ("either/(or)", "en"),
    ("(R) is a mark", "en"),
    ("read/(R EH D)", "en"),  # no stress
    ("wir lesen/(R EH1 D)", "de"),
    ("看/(kan)", "zh"),  # no tone
    ("他(她)来了", "zh"),
  ],
)
def test_other_brackets_are_ordinary_text(text, code):
  assert not phonetic.hold(phonetic.written(text, code), code)[1]


SYLLABLES = (
  "zhuang1 shi4 er2 nve4 lv3 yong3 xiong1 jue2 wo3 n2 ng4 m2 a1 o1 e4 ai4 wen4"
  " zi5 ri4 yu2 yuan2 quan2 liao3 gui4 duo1 shuo1 qiu1 bing4 hng5"
)


@pytest.mark.parametrize("syllable", SYLLABLES.split())
def test_syllables_of_every_shape_are_known(syllable):
  run = f"({syllable})"
  assert phonetic.hold(run, "zh")[1] == [run]
  assert expected_seconds(run) == expected_seconds("好")


def test_the_language_is_told_by_the_words():
  assert front.read("危险/(wei1)(xian3)", None).language == "zh"
  assert front.read("小心/(xiao3)(xin1)", "zh").text == "(xiao3)(xin1)"
  with pytest.raises(UserError, match="Chinese script"):
    front.read("(R EH D)", "zh")


def test_models_that_never_met_sounds_get_the_word_and_a_warning():
  audience = Audience(languages=("zh",), sounds=())
  found = front.read("小心危险/(wei1)(xian3)！", "zh", audience=audience)
  assert found.text == "小心危险！"
  (warning,) = found.warnings
  assert "危险/(wei1)(xian3)" in warning
  assert front.words("危险/(wei1)(xian3)", "zh", sounds=()) == "危险"


def test_a_dictionary_may_give_sounds():
  words = Pronunciation({"zh": {"重庆": "(chong2)(qing4)"},
                         "en": {"SQL": "(S IY1 K W AH0 L)"}})  # fmt: skip
  for text, code, said in (
    ("我在重庆。", "zh", "我在(chong2)(qing4)。"),
    ("My SQL and read/(R EH1 D)", "en", "My (S-IY1-K-W-AH0-L) and (R-EH1-D)"),
  ):
    assert front.read(text, code, pronunciation=words).text == said
  steps = dict(front.read("READ/(R EH1 D) THIS NOW", "en").steps)
  assert steps["sounds"] == "(R-EH1-D) THIS NOW"
  assert steps["capitals"] == "(R-EH1-D) This now"


@pytest.mark.parametrize("code", ["zh", "en"])
def test_no_chunk_ends_inside_of_sounds(code):
  sounds = {"zh": "(zhuang1)", "en": "(S-T-R-EH1-NG-TH-S)"}[code]
  text = sounds * 200
  cut = [part.text for part in chunks(text, code, 8.0)]
  assert len(cut) > 2 and "".join(cut) == text
  assert all(part.count("(") == part.count(")") for part in cut)
  assert all(part.startswith("(") for part in cut)


@pytest.mark.parametrize("share", [0.0, 0.15, 1.0])
def test_a_share_of_the_words_of_a_corpus_is_written_by_sounds(share, random):
  pytest.importorskip("pypinyin")
  from data_pipelines.sounds import with_sounds

  english = (
    "the house stands near a quiet river and nobody will read there " * 40
  )
  chinese = "我们在银行门口看到了很多小鸟，天气很好。" * 40
  for text, code, most in ((english, "en", 0.5), (chinese, "zh", 1.0)):
    made = with_sounds(text, code, share, random)
    assert front.words(made, code) == made.strip()
    if share == 0.0:
      assert made == text
    held, runs = phonetic.hold(made, code)
    if code == "en":
      found = len(runs) / len(text.split())
      assert "read" in held  # of two pronunciations: it stays
    else:
      found = 1 - sum("\u3400" <= c <= "\u9fff" for c in held) / (18 * 40)
    assert found == pytest.approx(share * most, abs=0.1)
  assert (
    with_sounds("das Haus", "de", 1.0, np.random.default_rng(0)) == "das Haus"
  )
