"""Texts as they are spoken: cases of every language, and what always holds."""

import concurrent.futures
import dataclasses
import pathlib
import random
import re
import subprocess
import sys
import time
import unicodedata

import pytest

from s02jax.core.errors import UserError
from s02jax.core.languages import LANGUAGES
from s02jax.text.spoken import classes, spoken, table, tokens

CASES = pathlib.Path(__file__).with_name("cases")
TABLES = pathlib.Path(table.__file__).with_name("tables")
FEWEST = 40  # cases of a language
CODES = [row.code for row in LANGUAGES]
# Characters and forms that texts with digits are made of.
PIECES = [
  *"0123456789.,:/-+%$€£°§#@&=<>~_ ()'\"ABCabcXIVe\n\u200d\u0301年月点日و",
  *"½²①Ⅳ🎉٣५５éг‰々𝟘〇万–—",
  *("a.b@c.de", "www.x.com", "kg ", "km/h", "p.m.", "Jan ", "st", "1er"),
  *("e\u0301", "<#0.5#>", "<#"),
]  # fmt: skip


def read_cases():
  for path in sorted(CASES.glob("*.tsv")):
    lines = path.read_text("utf-8").splitlines()
    for number, line in enumerate(lines[1:], 2):
      yield path.stem, f"{path.name}:{number}", *line.split("\t")


ALL_CASES = [
  pytest.param(c, *pair, id=where) for c, where, *pair in read_cases()
]


@pytest.mark.parametrize(("code", "written", "words"), ALL_CASES)
def test_a_text_is_read_as_a_speaker_reads_it(code, written, words):
  assert spoken(written, code) == words
  assert spoken(unicodedata.normalize("NFD", written), code) == words
  assert spoken(words, code) == words


@pytest.mark.parametrize(
  "path", sorted(CASES.glob("*.tsv")), ids=lambda p: p.stem
)
def test_every_file_of_cases_has_a_table_and_enough_cases(path):
  assert path.stem in CODES
  assert (TABLES / path.name).with_suffix(".toml").is_file()
  written = [line.split("\t")[0] for line in path.read_text().splitlines()[1:]]
  assert len(set(written)) == len(written) >= FEWEST


@pytest.mark.parametrize(
  "path", sorted(TABLES.glob("??*.toml")), ids=lambda p: p.stem
)
def test_the_words_of_a_table_hold_nothing_to_read(path):
  if path.stem == "common":
    return
  found = table.load(path.stem)
  named = [*found.abbreviations.values(), *found.symbols.values()]
  named += [*found.fractions.values(), *found.months]
  for words in named:
    assert spoken(words, path.stem) == words
  for name, template in found.patterns.items():
    bare = re.sub(r"\{.*?\}", "", template)
    assert not any(c.isdecimal() for c in bare), name


def random_text(rng):
  def piece():
    if rng.random() < 0.7:
      return rng.choice(PIECES)
    return chr(rng.choice((rng.randrange(32, 0x3000), rng.randrange(0x110000))))

  return "".join(piece() for _ in range(rng.randrange(1, 25)))


@pytest.mark.parametrize("code", CODES)
def test_any_text_is_read_to_the_end_and_no_letter_is_lost(code):
  rng = random.Random(code)
  for _ in range(150):
    text = unicodedata.normalize("NFC", random_text(rng))
    words = spoken(text, code)
    assert spoken(words, code) == words, ascii(text)
    left = re.sub(r"<#[^<>]*#>", "", words)
    assert not any(c.isdecimal() for c in left), ascii(text)
    end, letters = 0, 0
    for token in tokens(text, code):
      assert text[token.start : token.end].strip() or token.kind == "range"
      assert token.start >= end
      end = token.end
      if any(c.isalpha() for c in token.written):
        assert any(c.isalpha() for c in token.spoken), ascii(text)
        letters += 1
    outside = without(text, tokens(text, code))
    assert is_within(outside, words), ascii(text)


def without(text, found):
  kept, end = [], 0
  for token in found:
    kept.append(text[end : token.start])
    end = token.end
  return "".join(c for c in "".join([*kept, text[end:]]) if c.isalpha())


def is_within(letters, text):
  """Whether letters occur in a text in their order."""
  rest = iter(unicodedata.normalize("NFD", text))
  return all(
    c in rest for c in unicodedata.normalize("NFD", letters) if c.isalpha()
  )


@pytest.mark.parametrize("code", CODES)
def test_words_come_back_as_they_are(code):
  for text in (
    "",
    " ",
    "\n\n",
    "\u0301",
    "?!",
    "<#0.5#>",
    "ǅ Ꙁ ꩜\u2003x\t\r\n",
  ):
    assert spoken(text, code) == unicodedata.normalize("NFC", text)


def test_a_reading_names_its_place_and_class():
  (date, money) = tokens("On March 3, 2024 it was $5.", "en")
  assert (date.kind, date.written) == ("date", "March 3, 2024")
  assert (money.kind, money.start, money.end) == ("money", 24, 26)
  assert money.spoken == "five dollars"
  assert {date.kind, money.kind} <= set(classes.KINDS)


def test_an_alias_is_known_and_another_language_is_not():
  assert spoken("5", "de-AT") == "fünf"
  with pytest.raises(UserError, match="xx"):
    spoken("5", "xx")


@pytest.mark.parametrize(
  ("code", "written", "words"),
  [
    ("sv", "5 marsvin", "fem marsvin"),
    ("nl", "3 meiden", "drie meiden"),
    ("da", "1 mio. kristne", "en million kristne"),
    ("nl", "3 mei", "drie mei"),
    ("da", "1 mio. kr.", "en million kroner."),
  ],
)
def test_a_word_of_a_list_is_not_the_beginning_of_another(code, written, words):
  assert spoken(written, code) == words


def compiled(written, **lists):
  found = dataclasses.replace(
    table.load("fi"), lists={n: dict.fromkeys(w, w) for n, w in lists.items()}
  )
  return classes.Classes(found).compiler.rule("number", written, "{i}").regex


def test_a_list_may_hold_endings_but_not_begin_a_rule():
  rule = compiled("{i} {where}", where=["*ssa", "Turku"])
  for text in ("5 talossa", "5 suuressa", "5 Turku"):
    assert rule.fullmatch(text)
  for text in ("5 ssa", "5 Talossa", "5 talossani", "5 talo"):
    assert not rule.match(text)
  with pytest.raises(ValueError, match="begins with a list of endings"):
    compiled("{where} {i}", where=["*ssa"])


def test_a_word_of_a_list_does_not_begin_another_word():
  assert spoken("5 amps at 5 a.m.", "en") == "five amps at five a m."
  assert spoken("25–30 minuuttia", "fi").endswith(" minuuttia")


def test_a_capital_is_one_in_every_script():
  rule = compiled("{i}.{Next}")
  for capital in "AÉİŞŽΏДЁ":
    assert rule.match(f"3. {capital}"), capital
    assert not rule.match(f"3. {capital.lower()[0]}"), capital


def test_the_period_of_a_unit_stays_where_a_sentence_ends():
  for text, words in (
    ("5 min. e poi", "cinque minuti e poi"),
    ("5 min. Poi", "cinque minuti. Poi"),
    ("5 min.", "cinque minuti."),
  ):
    assert spoken(text, "it") == words


def test_threads_read_alike():
  text = "On 3/5/2024 at 2:30 pm, Dr. Smith paid $5.20 for 3.5 kg."
  table.load.cache_clear()
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    found = set(pool.map(lambda _: spoken(text, "en"), range(32)))
  assert len(found) == 1


@pytest.mark.parametrize(
  "text",
  ["1" * 5000, "a." * 5000, "a-" * 5000, "1,1.1/" * 2000, "a@" * 5000,
   "<#" * 5000, "1" * 5000 + " kg", "$" + "9" * 5000 + ".50", "+1 " * 3000,
   "1000 000 " * 1000, "www." * 500],
  ids=lambda text: text[:6],
)  # fmt: skip
def test_a_hostile_text_takes_no_longer_than_its_length(text):
  start = time.process_time()
  for code in ("en", "ru", "zh"):
    assert spoken(text, code)
  assert time.process_time() - start < 20


def test_jax_is_not_imported():
  program = (
    "import sys; import s02jax.text.spoken; assert 'jax' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", program], check=True)
