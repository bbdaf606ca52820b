"""Checks of texts to be spoken: letters, script, length."""

import pytest

from s02jax.core.errors import UserError
from s02jax.text.checks import check_text, token_limit


@pytest.mark.parametrize("text", ["", "  \n", "?!", "123 …", "\u0301"])
def test_text_without_a_letter_is_refused(text):
  with pytest.raises(UserError, match="no letter"):
    check_text(text, "en")


def test_unknown_language_lists_the_codes():
  with pytest.raises(UserError, match="xx.*zh, en, yue"):
    check_text("Hello", "xx")


@pytest.mark.parametrize(
  "text,language,script",
  [
    ("你好", "en", "Latin"),
    ("Hello", "zh", "Chinese"),
    ("Hello", "ru", "Cyrillic"),
    ("Привет", "el", "Greek"),
    ("สวัสดี", "hi", "Devanagari"),
  ],
)
def test_another_script_is_named(text, language, script):
  with pytest.raises(UserError, match=f"{script} script"):
    check_text(text, language)


@pytest.mark.parametrize(
  "text,language",
  [
    ("你好 world", "en"),
    ("MP3 播放器", "zh"),
    ("かな", "ja"),
    ("東京", "ja"),
    ("안녕", "ko"),
    ("naïve café", "fr"),
    ("ไทย", "th"),
    ("नमस्ते", "hi"),
    ("مرحبا", "ar"),
    ("Tiếng Việt", "vi"),
    ("ok", "no"),
  ],
)
def test_a_letter_of_the_script_is_enough(text, language):
  assert check_text(f" {text}\n", language) == text


def test_token_limit_grows_with_the_text_up_to_a_bound():
  assert token_limit("a") < token_limit("a" * 10) < token_limit("7" * 10)
  assert token_limit("a" * 10**6) == 3000
