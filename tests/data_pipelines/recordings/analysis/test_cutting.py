"""Cutting at pauses, sharing transcripts out, commas where people pause."""

import pytest

from data_pipelines.recordings.analysis import cutting
from data_pipelines.recordings.items import Said
from s02jax.core import languages

EN = languages.BY_CODE["en"]
LIMITS = {"pause": 0.4, "shortest": 1.0, "longest": 30.0}


def _random_islands(seed):
  import numpy as np

  random = np.random.default_rng(seed)
  at, found = 0.0, []
  for _ in range(60):
    at += random.exponential(0.5) + 0.1
    end = at + random.exponential(3.0) + 0.3
    found.append((float(at), float(end)))
    at = end
  return found, at + 1.0


@pytest.mark.parametrize("seed", range(20))
def test_clips_are_in_order_and_cover_all_speech(seed):
  islands, seconds = _random_islands(seed)
  spans = cutting.cut(islands, seconds, **LIMITS)
  edges = [0.0, *(x for span in spans for x in span), seconds]
  assert edges == sorted(edges)
  for a, b in islands:
    assert any(x <= a + 1e-3 and b <= y + 1e-3 for x, y in spans)
  for a, b in spans:
    lone = any(a <= x and y <= b and y - x > 29 for x, y in islands)
    assert b - a <= 30.5 or lone


def test_a_short_clip_joins_the_nearer_neighbour():
  spans = cutting.cut([(0, 3), (3.9, 4.3), (4.8, 9)], 10, **LIMITS)
  assert len(spans) == 2
  assert spans[1] == pytest.approx((3.78, 9.12), abs=0.2)


def test_a_timed_piece_of_a_transcript_is_never_cut():
  islands = [(0, 3), (3.8, 6), (7, 10)]
  assert len(cutting.cut(islands, 10, **LIMITS)) == 3
  spans = cutting.cut(islands, 10, whole=[(0.0, 6.0)], **LIMITS)
  assert len(spans) == 2


def test_a_timed_transcript_goes_where_most_of_it_lies():
  said = [Said(start=0, end=2, text="a"), Said(start=2.1, end=5, text="b"),
          Said(start=5, end=6, text="c")]  # fmt: skip
  assert cutting.pieces(said, [(0, 2.2), (2.6, 6)]) == ["a", "b c"]


def test_a_transcript_is_shared_out_by_what_was_heard():
  text = "One two, three four five. Six seven; eight!"
  heard = ["one too three", "four five", "sick seven eight"]
  assert cutting.share_out(text, heard, EN) == [
    "One two, three", "four five.", "Six seven; eight!"
  ]  # fmt: skip


def test_every_word_of_a_transcript_is_shared_out_once():
  text = "nobody said any of these words here"
  shares = cutting.share_out(text, ["quite other", "things were heard"], EN)
  assert " ".join(x for x in shares if x).split() == text.split()
  assert cutting.share_out(text, ["", ""], EN) == [text, ""]


def test_a_comma_stands_where_somebody_pauses():
  islands = [(0.0, 1.0), (1.5, 2.5)]
  said = cutting.punctuate("red cars pass blue cars wait", islands, EN, 0.3)
  assert said == "red cars pass, blue cars wait."
  assert cutting.punctuate("Red, he said", islands, EN, 0.3) == "Red, he said"
  short = [(0.0, 1.0), (1.1, 2.5)]
  assert "," not in cutting.punctuate("red cars pass by", short, EN, 0.3)
