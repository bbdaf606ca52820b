"""Error rates, their intervals, and voice similarity."""

import jiwer
import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.core.languages import BY_CODE
from s02jax.evaluation import figure as figure_lib
from s02jax.evaluation.benchmark import score as score_lib
from s02jax.evaluation.benchmark.score import Clip, Voice
from s02jax.text.normalize import OFFICIAL


def clip(key, text, heard, **more):
  return Clip(**{"key": key, "language": "en", "text": text, "heard": heard}
              | more)  # fmt: skip


LONG = clip("long", "one two three four five six seven eight", "one two three "
            "four five six seven ate")  # fmt: skip
SHORT = clip("short", "Yes!", "no")


def test_the_two_rates_are_what_their_names_say():
  score = score_lib.score([LONG, SHORT])
  assert score.metric == "wer"
  assert score.pipeline == "fair"
  assert score.utterance_mean.value == pytest.approx((1 / 8 + 1) / 2)
  assert score.corpus_level.value == pytest.approx(2 / 9)
  assert (score.substitutions, score.deletions, score.insertions) == (2, 0, 0)
  assert (score.units, score.clips, score.utterance_mean.n) == (9, 2, 2)
  assert score.missing == ()


def test_each_kind_of_edit_is_counted_and_aligned():
  found = score_lib.compare(
    clip("a", "The big, red house stands.", "A red house still stands")
  ).edits
  assert (found.substitutions, found.deletions, found.insertions) == (1, 1, 1)
  assert found.units == 5
  assert found.rate == pytest.approx(3 / 5)
  parts = [(part.op, part.ref, part.hyp) for part in found.alignment]
  assert [unit for _, ref, _ in parts for unit in ref] == (
    ["the", "big", "red", "house", "stands"]
  )
  assert [unit for _, _, hyp in parts for unit in hyp] == (
    ["a", "red", "house", "still", "stands"]
  )
  assert ("equal", ("red", "house"), ("red", "house")) in parts
  assert ("insert", (), ("still",)) in parts


def test_characters_are_counted_where_the_language_is():
  zh = clip("a", "你好，世界。", "你好世间", language="zh")
  found = score_lib.score([zh])
  assert found.metric == "cer"
  assert found.units == 4
  assert found.corpus_level.value == pytest.approx(1 / 4)
  assert score_lib.score([zh], metric="wer").units == 1


def test_a_missing_clip_is_wholly_wrong_and_named():
  text = "one two three"
  seeds = [None, text, None]
  gone = [clip("gone", text, heard, seed=i) for i, heard in enumerate(seeds)]
  score = score_lib.score([LONG, *gone])
  assert score.missing == ("gone", "gone (seed 2)")
  found = [u.edits for u in score.utterances if u.missing]
  assert [e.rate for e in found] == [1, 1]
  assert [e.deletions for e in found] == [3, 3]
  assert score.utterance_mean.value == pytest.approx((1 / 8 + 2 / 3) / 2)
  assert score.corpus_level.value == pytest.approx(7 / 17)


def test_hearing_nothing_is_wrong_but_not_missing():
  score = score_lib.score([clip("a", "one two", "…")])
  assert score.corpus_level.value == 1
  assert score.missing == ()


def test_the_pipeline_decides_what_is_an_error():
  arabic = clip("a", "كيف حالك؟", "كيف حالك", language="ar")
  assert score_lib.score([arabic]).corpus_level.value == 0
  official = score_lib.score([arabic], pipeline=OFFICIAL)
  assert official.pipeline == "official"
  assert official.corpus_level.value == pytest.approx(1 / 8)


@pytest.mark.parametrize(
  ("code", "text", "heard"),
  [
    (
      "en",
      "Well-known,  isn't it —   the Café?",
      " well known isnt it the cafe",
    ),
    ("zh", "你好， 世界！ＯＫ", "妳好世间 OK"),
    ("de", "Die Straße … ist «lang»", "die strasse ist lang lang"),
    # jiwer ends words at a space, or at two of whatever kind.
    ("fr", "Il a 20\u202f000 amis", "il a 20\u00a0000 \u2009 amis\tou"),
  ],
)
def test_the_official_rate_is_jiwers_own(code, text, heard):
  row = BY_CODE[code]
  found = score_lib.compare(
    clip("a", text, heard, language=code), pipeline=OFFICIAL
  )
  assert found.edits.rate > 0
  assert found.edits.rate == jiwer.wer(
    OFFICIAL.reference(text, row), OFFICIAL.hypothesis(heard, row)
  )


def test_what_cannot_be_scored_is_said():
  with pytest.raises(UserError, match="'dots'.*nothing"):
    score_lib.score([clip("dots", "…!", "a")])
  with pytest.raises(UserError, match="no clip"):
    score_lib.score([])
  with pytest.raises(UserError, match="'long' is there 2 times with seed 0"):
    score_lib.score([LONG, LONG])


def test_languages_are_scored_apart():
  zh = clip("z", "你好", "你好", language="zh")
  with pytest.raises(ValueError, match="by_language"):
    score_lib.score([LONG, zh])
  scores = score_lib.by_language([LONG, zh, SHORT])
  assert {code: s.clips for code, s in scores.items()} == {"en": 2, "zh": 1}
  assert scores["zh"].metric == "cer"


# ---------------------------------------------------------------- intervals


def test_the_interval_is_that_of_the_mean():
  random = np.random.default_rng(3)
  values = random.normal(2.0, 1.0, 400)
  figure = figure_lib.item_mean([[v] for v in values])
  half = 1.96 * values.std() / np.sqrt(len(values))
  assert figure.value == pytest.approx(values.mean())
  assert figure.low == pytest.approx(values.mean() - half, abs=half / 5)
  assert figure.high == pytest.approx(values.mean() + half, abs=half / 5)
  assert figure == figure_lib.item_mean([[v] for v in values])
  assert figure.low != figure_lib.item_mean([[v] for v in values], seed=1).low


def test_the_interval_covers_the_truth_as_often_as_it_says():
  random = np.random.default_rng(5)
  hits = 0
  for trial in range(120):
    items = random.normal(0.0, 1.0, (40, 1)) + random.normal(0, 0.5, (40, 2))
    figure = figure_lib.item_mean(items.tolist(), seed=trial)
    hits += figure.low <= 0.0 <= figure.high
  assert 105 <= hits <= 119  # 95 % of 120 is 114


def test_seeds_of_an_item_are_not_items():
  """Forty copies of a clip say no more about the set than one."""
  random = np.random.default_rng(4)
  values = random.normal(0.0, 1.0, 30)
  once = figure_lib.item_mean([[v] for v in values])
  often = figure_lib.item_mean([[v] * 40 for v in values])
  assert often.n == once.n == 30
  assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.15)
  # But seeds that differ widen it.
  apart = figure_lib.item_mean([[v - 6, v + 6] for v in values])
  assert apart.high - apart.low > 2 * (once.high - once.low)


def test_items_with_fewer_seeds_count_the_same():
  figure = figure_lib.item_mean([[0.0] * 4, [1.0]] * 40)
  assert figure.value == pytest.approx(0.5)
  assert 0.35 < figure.low < 0.45
  assert 0.55 < figure.high < 0.65


def test_one_item_has_no_interval():
  figure = figure_lib.ratio([[1.0]], [[4.0]])
  assert (figure.value, figure.n) == (0.25, 1)
  assert figure.low is None
  assert figure.high is None


# --------------------------------------------------------------- similarity


def voice(key, prompt_name, prompt, made, truth=None, **more):
  fields = {"key": key, "language": "en", "prompt_name": prompt_name,
            "prompt": prompt, "clip": made, "truth": truth}  # fmt: skip
  return Voice(**fields | more)


def test_similarity_stands_beside_its_calibration():
  x, y, z = 3 * np.eye(3, dtype=np.float32)
  found = score_lib.similarity(
    [
      voice("a", "ann", x, x + y, truth=2 * x),
      voice("b", "ann", x, y),
      voice("b", "ann", x, x, seed=1),
      voice("c", "bob", x + y, None),
    ],
    judge="ge2e",
  )
  root = 2**-0.5
  assert found.judge == "ge2e"
  assert found.to_prompt.value == pytest.approx((root + 0.5 + 0) / 3)
  assert found.to_prompt.n == 3
  assert found.to_prompt.low < found.to_prompt.value < found.to_prompt.high
  assert (found.same_speaker.value, found.same_speaker.n) == (1, 1)
  assert found.other_speaker.value == pytest.approx(root)
  assert found.other_speaker.n == 1
  assert found.missing == ("c",)
  # Prompts of texts in another language are not compared.
  other = score_lib.similarity(
    [voice("a", "ann", x, x), voice("b", "bob", z, 0 * x, language="fr")],
    judge="ge2e",
  )
  assert (other.other_speaker.value, other.other_speaker.n) == (None, 0)
  assert other.same_speaker.value is None
  assert other.to_prompt.value == pytest.approx(0.5)
