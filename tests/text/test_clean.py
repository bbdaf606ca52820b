"""Clean-up: what cannot be seen makes no difference, and no letter is lost."""

import random
import unicodedata

import pytest

from s02jax.core.errors import UserError
from s02jax.text.clean import clean, visible

PREPENDED = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2}
PREPENDED |= {0x110BD, 0x110CD, *range(0x13430, 0x13440)}  # are seen


@pytest.mark.parametrize(
  ("dirty", "bare"),
  [
    ("so\u00adft hy\u00adphen", "soft hyphen"),
    ("\ufeffzero\u200b wi\u2060dth", "zero width"),
    ("\u202bright\u202c \u2067left\u2069\u200f", "right left"),
    ("a\u200d b\u200c", "a b"),
    ("heart\ufe0f 葛\U000e0100城", "heart 葛城"),
    ("nul\x00l, b\x08ell\x07, \x1b[31mred\x1b[0m", "null, bell, red"),
    ("no\u00a0break\u202fat\u3000all\u2003here", "no break at all here"),
    ("5\u00a0km", "5 km"),
    ("non\u2011breaking hy\u2010phens", "non-breaking hy-phens"),
    ("e\u200b\u0301", "é"),
    ("ﬁnd ｆｕｌｌ 𝐛𝐨𝐥𝐝 ﾊﾟﾝ", "find full bold パン"),
    ("\u202eabc\r\nd\re\x0bf\x85g\u2028h", "abc d e f g h"),
    ("one\u2029two\n \nthree", "one\ntwo\nthree"),
    ("\u3164ㅤ\u115f", ""),
  ],
)
def test_a_dirty_text_gives_the_bytes_of_the_clean_one(dirty, bare):
  assert clean(dirty) == bare
  assert clean(bare).split() == bare.split()


def test_everything_unseen_goes():
  for code in range(0x110000):
    character = chr(code)
    if unicodedata.category(character) in ("Cc", "Cf"):
      kept = code in PREPENDED
      assert (clean(f"a{character}b") in ("ab", "a b", "a\nb")) != kept, code


@pytest.mark.parametrize("text", ["می‌خواهم", "क्‍ष", "क्‌ष", "क्ष"])
def test_joiners_stay_where_words_are_spelt_with_them(text):
  assert clean(f"{text}\u200c \u200d{text}") == f"{text} {text}"


def test_a_space_that_holds_a_number_together_stays_one():
  assert clean("10\u00a0000\u2009000") == "10\u202f000\u202f000"
  assert clean("10\u00a0000") == clean("10\u202f000")
  assert clean("in 10\u00a05") == "in 10 5"


def test_lines_stay_where_only_what_is_seen_is_asked_for():
  assert visible("# a\r\n\n  -\u00a0b\u200b\n") == "# a\n\n  - b\n"


@pytest.mark.parametrize("sign", ["-", "=-", "* ", "..", "#"])
def test_a_line_across_the_page_does_not_fill_a_pass(sign):
  assert len(clean(f"a {9999 * sign} b")) <= len(f"a {4 * sign} b")
  assert clean(f"a {sign * 20} b").split() == f"a {sign * 20} b".split()


def test_half_a_pair_is_one_sentence():
  with pytest.raises(UserError, match="unpaired surrogate"):
    clean("a\ud800")


@pytest.mark.parametrize("seed", range(20))
def test_clean_lines_stay_and_letters_are_never_lost(seed):
  rng = random.Random(seed)
  for _ in range(50):
    codes = rng.choices([*range(0x300), *range(0x600, 0x700)], k=20)
    text = "".join(
      map(chr, [*codes, *rng.choices(range(0xE000, 0x20000), k=5)])
    )
    once = clean(text)
    assert clean(" ".join(once.split())) == " ".join(once.split())
    letters = unicodedata.normalize("NFKD", text)
    found = iter(unicodedata.normalize("NFKD", once))
    assert all(c in found for c in letters if c.isalpha() and c != "\uffa0")
