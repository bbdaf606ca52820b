"""Error rates and speaker similarity."""

import jiwer
import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.core.languages import BY_CODE
from s02jax.evaluation.benchmark.metrics import (
  Embeddings,
  Transcript,
  by_language,
  compare,
  score_texts,
  score_voices,
)
from s02jax.text.normalize import OFFICIAL


def clip(key, text, heard, language="en", seed=0):
  return Transcript(
    key=key, language=language, text=text, heard=heard, seed=seed
  )


LONG = clip("long", "one two three four five six seven eight", "one two three "
            "four five six seven ate")  # fmt: skip
SHORT = clip("short", "Yes!", "no")


def test_the_two_rates_are_what_their_names_say():
  score = score_texts([LONG, SHORT])
  assert score.metric == "wer"
  assert score.pipeline == "fair"
  assert score.rates.utterance_mean.value == pytest.approx((1 / 8 + 1) / 2)
  assert score.rates.corpus_level.value == pytest.approx(2 / 9)
  assert (
    score.rates.substitutions,
    score.rates.deletions,
    score.rates.insertions,
  ) == (2, 0, 0)
  assert (score.rates.units, score.clips, score.rates.utterance_mean.n) == (
    9,
    2,
    2,
  )
  assert score.missing == ()


def test_each_kind_of_edit_is_counted_and_aligned():
  found = compare(
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
  found = score_texts([zh])
  assert found.metric == "cer"
  assert found.rates.units == 4
  assert found.rates.corpus_level.value == pytest.approx(1 / 4)
  assert score_texts([zh], metric="wer").rates.units == 1


def test_a_missing_clip_is_wholly_wrong_and_named():
  text = "one two three"
  seeds = [None, text, None]
  gone = [clip("gone", text, heard, seed=i) for i, heard in enumerate(seeds)]
  score = score_texts([LONG, *gone])
  assert score.missing == ("gone", "gone (seed 2)")
  found = [u.edits for u in score.comparisons if u.missing]
  assert [e.rate for e in found] == [1, 1]
  assert [e.deletions for e in found] == [3, 3]
  assert score.rates.utterance_mean.value == pytest.approx((1 / 8 + 2 / 3) / 2)
  assert score.rates.corpus_level.value == pytest.approx(7 / 17)


def test_hearing_nothing_is_wrong_but_not_missing():
  score = score_texts([clip("a", "one two", "…")])
  assert score.rates.corpus_level.value == 1
  assert score.missing == ()


def test_the_pipeline_decides_what_is_an_error():
  arabic = clip("a", "كيف حالك؟", "كيف حالك", language="ar")
  assert score_texts([arabic]).rates.corpus_level.value == 0
  official = score_texts([arabic], pipeline=OFFICIAL)
  assert official.pipeline == "official"
  assert official.rates.corpus_level.value == pytest.approx(1 / 8)


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
  found = compare(clip("a", text, heard, language=code), pipeline=OFFICIAL)
  assert found.edits.rate > 0
  assert found.edits.rate == jiwer.wer(
    OFFICIAL.reference(text, row), OFFICIAL.hypothesis(heard, row)
  )


def test_two_runaways_among_a_thousand_stay_two():
  """Runaways count as they are and change nothing of the other clips."""
  text = "one two three four five six seven eight"
  good = [
    clip(f"c{i}", text, text.replace("two", "too") if i % 4 else text)
    for i in range(998)
  ]
  loops = [clip(f"r{i}", text, " ".join([text] * 50)) for i in range(2)]
  alone, all_of_them = score_texts(good), score_texts([*good, *loops])
  assert all_of_them.comparisons[:998] == alone.comparisons
  others = sum(bool(i % 4) for i in range(998)) / 8
  assert alone.rates.utterance_mean.value == pytest.approx(others / 998)
  assert all_of_them.rates.utterance_mean.value == pytest.approx(
    (others + 2 * 49) / 1000, rel=1e-12
  )
  worst = sorted(all_of_them.comparisons, key=lambda c: -c.edits.rate)
  assert [c.transcript.key for c in worst[:2]] == ["r0", "r1"]
  assert [c.edits.rate for c in worst[:3]] == [49, 49, 1 / 8]
  # Two clips decide the mean: its interval says so.
  figure = all_of_them.rates.utterance_mean
  assert figure.low < figure.value / 1.5 < figure.value * 1.5 < figure.high


def test_what_cannot_be_scored_is_said():
  with pytest.raises(UserError, match="'dots'.*nothing"):
    score_texts([clip("dots", "…!", "a")])
  with pytest.raises(UserError, match="no clip"):
    score_texts([])
  with pytest.raises(UserError, match="'long' is there 2 times with seed 0"):
    score_texts([LONG, LONG])


def test_languages_are_scored_apart():
  zh = clip("z", "你好", "你好", language="zh")
  with pytest.raises(ValueError, match="by_language"):
    score_texts([LONG, zh])
  scores = by_language([LONG, zh, SHORT])
  assert {code: s.clips for code, s in scores.items()} == {"en": 2, "zh": 1}
  assert scores["zh"].metric == "cer"


# --------------------------------------------------------------- similarity


def voice(key, prompt_name, prompt, made, truth=None, **more):
  fields = {"key": key, "language": "en", "prompt_name": prompt_name,
            "prompt": prompt, "clip": made, "truth": truth}  # fmt: skip
  return Embeddings(**fields | more)


def test_similarity_stands_beside_its_calibration():
  x, y, z = 3 * np.eye(3, dtype=np.float32)
  found = score_voices(
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
  assert found.cosines.to_prompt.value == pytest.approx((root + 0.5 + 0) / 3)
  assert found.cosines.to_prompt.n == 3
  assert (
    found.cosines.to_prompt.low
    < found.cosines.to_prompt.value
    < found.cosines.to_prompt.high
  )
  assert (found.cosines.same_speaker.value, found.cosines.same_speaker.n) == (
    1,
    1,
  )
  assert found.cosines.other_speaker.value == pytest.approx(root)
  assert found.cosines.other_speaker.n == 1
  assert found.missing == ("c",)
  # Prompts of texts in another language are not compared.
  other = score_voices(
    [voice("a", "ann", x, x), voice("b", "bob", z, 0 * x, language="fr")],
    judge="ge2e",
  )
  assert (other.cosines.other_speaker.value, other.cosines.other_speaker.n) == (
    None,
    0,
  )
  assert other.cosines.same_speaker.value is None
  assert other.cosines.to_prompt.value == pytest.approx(0.5)
