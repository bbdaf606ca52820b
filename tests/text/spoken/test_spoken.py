"""Texts as they are spoken: cases of every language, and what always holds."""

import pathlib

import pytest

from s02jax.text.spoken import spoken

CASES = pathlib.Path(__file__).with_name("cases")


def read_cases():
  for path in sorted(CASES.glob("*.tsv")):
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
      if number > 1:
        yield pytest.param(path.stem, *line.split("\t"), id=f"{path.stem}{number}")


@pytest.mark.parametrize(("code", "written", "words"), read_cases())
def test_a_text_is_read_as_a_speaker_reads_it(code, written, words):
  assert spoken(written, code) == words
