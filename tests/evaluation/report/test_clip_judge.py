"""Judges of single clips."""

from s02jax.evaluation.report import clip_judge
from tests.spoken import SENTENCES, spoken


def test_a_clip_is_judged_alike_after_any_other():
  task = clip_judge.CaseTask(
    candidates=SENTENCES,
    language="en",
    phonemes=False,
    quality=False,
    truth=spoken(SENTENCES[0], "m7"),
    waves=tuple(spoken(s, "m7") for s in (*SENTENCES[:3], SENTENCES[0])),
    aligned=(True, False, False, True),
  )
  first, _, _, last = clip_judge.judge_case(task)
  assert first == last
  assert [v.dtw for v in clip_judge.judge_case(task)] == [1, 0, 0, 1]
