"""Sentences, chunks and pauses of long texts, in every script."""

import itertools
import unicodedata

import numpy as np
import pytest

from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.text import chunks as text_chunks
from s02jax.text.chunks import (
  Emotion,
  Pause,
  Speech,
  chunks,
  expected_seconds,
  sentences,
)
from s02jax.text.clean import clean

# What each script is written with; every language of a script shares it.
ALPHABETS = {
  "Latn": ("aàbcdeéfghijklmnoøpqrsßtuüvwxyzAÉIØ", ".!?…", ",;:—"),
  "Cyrl": ("абвгґдеёжзиіїйклмнопрстуфхцчшщъыьэюяАБ", ".!?…", ",;:—"),
  "Grek": ("αβγδεζηθικλμνξοπρσςτυφχψωάΑΒ", ".!;…", ",·:"),
  "Arab": ("ابتثجحخدذرزسشصضطظعغفقكلمنهويَُِ", ".؟!۔", "،؛"),
  "Deva": ("अआइईकखगघचछजझटठडढतथदधनपफबभमयरलवशसहािीुूेैो्ं", "।?!", ","),
  "Thai": ("กขคงจฉชซญฐณดตถทธนบปผพฟมยรลวสหอะาำิีึืุู่้", "", ""),
  "Hans": ("今天气很好你吗我们去公园走一二三", "。！？", "，、；："),
  "Hant": ("今日天氣好好你食咗飯未我哋去街", "。！？", "，、；："),
  "Jpan": ("今日は良い天気ですカタナ私たちのー", "。！？", "、"),
  "Kore": ("안녕하세요오늘날씨가좋네정말", ".!?", ","),
}
SPACELESS = ("Hans", "Hant", "Jpan")
OTHER = (
  *"\"()“”「」«»'🙂\u200d",
  *("3.5", "1 299,50", "Dr.", "z. B.", "a.m.", "e\u0301", "x" * 90, "..."),
)


def random_text(random, script, words):
  letters, stops, commas = ALPHABETS[script]
  space = "" if script in SPACELESS else " "
  parts = []
  for _ in range(words):
    word = "".join(random.choice(list(letters), random.integers(1, 9)))
    draw = random.random()
    if draw < 0.05:
      word = str(random.choice(OTHER))
    elif draw < 0.15 and stops:
      word += random.choice(list(stops)) + " " * (space != "")
    elif draw < 0.25 and commas:
      word += random.choice(list(commas))
    elif draw < 0.26:
      word += "\n\n"
    parts.append(word)
  return space.join(parts)


def texts_of(parts):
  return [part.text for part in parts if isinstance(part, Speech)]


@pytest.mark.parametrize("code", languages.BY_CODE)
def test_no_character_is_lost_or_moved_and_no_chunk_is_too_long(code, random):
  script = languages.BY_CODE[code].script
  for words, budget in ((1, 5.0), (40, 8.0), (400, 20.0)):
    text = random_text(random, script, words)
    parts = texts_of(chunks(text, code, 2 * budget))
    assert "".join(parts) == clean(text)
    assert all(parts)
    whole = expected_seconds(text) <= 2 * budget
    most = 2 * budget if whole else budget
    assert max(map(expected_seconds, parts)) <= most + 1e-9


@pytest.mark.parametrize("seed", range(20))
def test_any_characters_at_all_survive(seed):
  random = np.random.default_rng(seed)
  points = random.integers(1, 0x3000, 300)
  text = "".join(map(chr, points)) + " ".join(map(chr, points[:50]))
  text = text.replace("<#", "")
  parts = texts_of(chunks(text, "en", 8.0))
  assert "".join(parts) == clean(text)
  assert max(map(expected_seconds, parts)) <= 4.0 + 1e-9


@pytest.mark.parametrize("script", ALPHABETS)
def test_chunks_are_of_like_length(script, random):
  """Chunks of ordinary sentences are of like length, the last one included."""
  code = next(row.code for row in languages.LANGUAGES if row.script == script)
  letters, stops, _ = ALPHABETS[script]
  space = "" if script in SPACELESS else " "
  for count in (40, 43, 47, 50):
    text = ""
    for _ in range(count):
      words = [
        "".join(random.choice(list(letters), 3))
        for _ in range(random.integers(1, 8))
      ]
      text += space.join(words).capitalize() + stops[:1] + space
    lengths = list(map(expected_seconds, texts_of(chunks(text, code, 30.0))))
    assert len(lengths) > 2
    assert min(lengths) > 0.5 * max(lengths)
    # No more of them than shortness needs.
    assert len(lengths) <= 1.3 * sum(lengths) / 15.0 + 1


def test_chunks_come_before_the_text_is_read_to_its_end(monkeypatch):
  """The look-ahead behind a chunk does not grow with 30,000 characters."""
  text = "The rain went on, and nobody came to the old house. " * 580
  read = []

  def seconds(part):
    read.append(len(part))
    return expected_seconds(part)

  monkeypatch.setattr(text_chunks, "expected_seconds", seconds)
  ahead, given = [], 0
  for chunk in chunks(text, "en", 40.0):
    given += len(chunk.text)
    # The first call measures the whole text, to know whether it is one chunk.
    ahead.append(sum(read[1:]) - given)
  assert len(ahead) > 80
  assert max(ahead) <= 1.1 * max(ahead[:3])


SENTENCES = {
  "en": ["Dr. Smith paid 3.5 million. ", '"Is it true?" he asked. ',
         "It was 5 p.m. when J. R. Hart came. ", "Yes (really!). ", "Good."],
  "de": ["Das ist z. B. am 3. Mai so. ", "Dr. Maier kam. ",
         "Das kostet 3,5 Mio. Euro. ", "Gut!"],
  "fr": ["M. Petit est venu. ", "« Vraiment ? » dit-il. ", "Oui !"],
  "es": ["¿Qué tal? ", "¡Muy bien! ", "El Sr. Ruiz vino."],
  "nb": ["Det er f.eks. bra. ", "Hva?"],
  "ru": ["Это т. е. так. ", "Правда? ", "Да!"],
  "el": ["Τι κάνεις; ", "Είμαι καλά. ", "Ναι!"],
  "ar": ["كيف حالك؟ ", "أنا بخير. ", "شكرا!"],
  "hi": ["आप कैसे हैं? ", "डॉ. शर्मा आए। ", "मैं ठीक हूँ।"],
  "th": ["สวัสดีครับ วันนี้อากาศดีมาก"],
  "zh": ["今天很好。", "你好吗？", "走了3.5公里。", "好！"],
  "yue": ["今日好好。", "你食咗飯未？", "我食咗喇！"],
  "ja": ["今日は良い天気です。", "「元気ですか？」", "はい！"],
  "ko": ["안녕하세요. ", "오늘 날씨가 좋네요! ", "3.5킬로입니다."],
}  # fmt: skip


@pytest.mark.parametrize("code", SENTENCES)
def test_sentences_end_where_they_end(code):
  assert list(sentences("".join(SENTENCES[code]), code)) == SENTENCES[code]


@pytest.mark.parametrize("code", ["en", "de", "zh", "ja", "hi", "ru"])
def test_chunks_end_with_sentences_where_they_can(code):
  parts = SENTENCES[code] * 12
  ends = set(itertools.accumulate(map(len, parts)))
  made = texts_of(chunks("".join(parts), code, 50.0))
  assert set(itertools.accumulate(map(len, made))) <= ends


def test_a_long_sentence_is_cut_at_its_clauses():
  clause = "and the water rose above the second of the stones; "
  made = texts_of(chunks(clause * 12, "en", 20.0))
  assert len(made) > 3
  assert all(text.rstrip().endswith(";") for text in made)


def test_thai_is_cut_at_its_spaces():
  text = " ".join(["วันนี้อากาศดีมากและเราจะไปเที่ยวทะเล"] * 20)
  made = texts_of(chunks(text, "th", 20.0))
  assert len(made) > 3
  assert all(text.endswith(" ") for text in made[:-1])


def test_a_mark_stays_with_its_letter():
  text = "कि" * 400
  for chunk in texts_of(chunks(text, "hi", 20.0)):
    assert not unicodedata.category(chunk[0]).startswith("M")


def test_what_fits_into_one_pass_is_not_cut():
  text = "The rain went on. " * 6
  seconds = expected_seconds(text)
  assert len(texts_of(chunks(text, "en", seconds + 0.1))) == 1
  assert len(texts_of(chunks(text, "en", seconds - 0.3))) >= 2


def test_a_paragraph_of_several_languages_is_one_chunk():
  text = (
    "上周我参加了一个 workshop about old maps and new cities。有位来自大阪的"
    "建筑师说「この街は生きている」，大家都 laughed and clapped。晚饭时服务员问"
    " '¿Quieren algo más?'，我们说 'No, thank you very much'。"
  )
  assert list(chunks(text, "zh")) == [Speech(text)]


# -------------------------------------------------------------------- pauses


def test_pauses_stand_between_what_is_said():
  text = "<#0.01#>Wait <#1.5#> let me think.<#99.99#><#2#>"
  assert list(chunks(text, "en")) == [
    Pause(0.01),
    Speech("Wait "),
    Pause(1.5),
    Speech(" let me think."),
    Pause(99.99),
    Pause(2.0),
  ]


@pytest.mark.parametrize(
  "mark",
  ["<##>", "<#x#>", "<#0#>", "<#100#>", "<#-1#>", "<#1,5#>", "<#1.5>",
   "<#1.5", "<# 1 #>", "<#1.555#>", "<#nan#>", "<#1e1#>", "<#١#>"],
)  # fmt: skip
def test_a_malformed_pause_is_one_sentence(mark):
  with pytest.raises(UserError, match="pause") as error:
    list(chunks(f"Wait {mark} here.", "en"))
  assert "\n" not in str(error.value)
  assert "<#1.5#>" in str(error.value)


def test_what_is_no_text_is_refused():
  with pytest.raises(UserError, match="surrogate"):
    list(chunks("a\ud800", "en"))
  assert list(chunks(" \n ", "en")) == []


def test_emotions_part_a_text():
  text = "One. <#emotion sad:0.6#> Two. <#0.5#> Three. <#emotion#> Four."
  found = list(chunks(text, "en"))
  moods = [part.written for part in found if isinstance(part, Emotion)]
  assert moods == ["sad:0.6", ""]
  assert [type(part).__name__ for part in found] == [
    *("Speech", "Emotion", "Speech", "Pause", "Speech", "Emotion", "Speech")
  ]
  with pytest.raises(UserError, match="pause"):
    list(chunks("a <#emotion very sad#> b", "en"))
