"""Panel: cases, references and line-up."""

import pytest
from numpy.testing import assert_array_equal

from s02jax.core.errors import UserError
from s02jax.evaluation.report.panel import choose_panel
from tests.evaluation.report.parrot import Clips, panel
from tests.spoken import SENTENCES, VOICES, spoken


@pytest.mark.parametrize("split", ["seen", "unseen"])
def test_references_and_enrolment_are_other_clips_of_the_speaker(split):
  found = panel(split)
  assert len(found.cases) == {"seen": 2, "unseen": 4}[split]
  assert set(found.enrolment) == set(VOICES)
  for case in found.cases:
    assert case.reference_text != case.text
    assert_array_equal(
      case.reference, spoken(case.reference_text, VOICES[case.speaker])
    )
    assert_array_equal(case.wave, spoken(case.text, VOICES[case.speaker]))
    enrolled = found.enrolment[case.speaker].tobytes()
    assert case.wave[1000:2000].tobytes() not in enrolled
    assert case.candidates[0] == case.text
    assert len(set(case.candidates)) == len(case.candidates) > 5


def test_the_draw_is_repeatable_and_no_larger_than_asked():
  assert [c.id for c in panel("unseen").cases] == [
    c.id for c in panel("unseen").cases
  ]
  assert len(panel("unseen", 1).cases) == 1


def test_a_split_without_second_clips_is_refused():
  alone = Clips("unseen", [SENTENCES[0]], ["cid"])
  with pytest.raises(UserError, match="unseen split has no clip"):
    choose_panel(alone, [], count=3, rate=16000, seed=0)
