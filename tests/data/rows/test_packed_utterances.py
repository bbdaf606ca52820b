"""Packed utterances of the audio tokenizer: whole, apart, with their text."""

import numpy as np
import pytest

from s02jax.core import errors
from s02jax.data.rows.packed_utterances import GAP, SEPARATOR
from tests import fakes
from tests.data.rows.makers import check_reference, make, utterances


def test_packed_utterances_are_whole_and_apart():
  corpus, rows = make("utterances")
  for i in range(2 * len(rows)):
    row = rows[i]
    records = rows.records(i)
    assert row["segment"].shape == row["text"].shape == (120,)
    assert row["wave"].shape == (120 * fakes.HOP,)
    pieces = []
    end = -GAP
    for k, record in enumerate(records):
      here = np.flatnonzero(row["segment"] == k + 1)
      assert here[0] == end + GAP
      end = here[-1] + 1
      assert (
        len(here) == corpus.num_samples[record] // fakes.HOP == end - here[0]
      )
      wave = row["wave"][here[0] * fakes.HOP : end * fakes.HOP]
      assert (fakes.record_of(wave) == record).all()
      pieces += [SEPARATOR] * (k > 0)
      pieces += [100 + record] * int(corpus.text_tokens[record] - 1)
    nothing = np.repeat(row["segment"] == 0, fakes.HOP)
    assert (row["wave"][nothing] == 0).all()
    assert row["text"].tolist() == pieces + [0] * (120 - len(pieces))
    assert row["padding"] == pytest.approx(np.mean(row["segment"] == 0))


def test_every_utterance_comes_once_per_epoch():
  corpus, rows = make("utterances", n=600)
  assert rows.excluded["too long"] == 0
  for epoch in range(3):
    spoken = [
      record
      for i in range(epoch * len(rows), (epoch + 1) * len(rows))
      for record in rows.records(i)
    ]
    assert len(set(spoken)) == len(spoken) > 0.9 * len(corpus)


def test_utterances_that_cannot_be_aligned_have_no_text():
  """Equal pieces need a blank between them: twice the frames."""
  corpus = fakes.FakeCorpus(20, 2)
  corpus.text_tokens[:] = corpus.num_samples // fakes.HOP * 3 // 4
  corpus.pieces = corpus.text_tokens - 1
  rows = utterances(corpus, fakes.FakeText())
  assert all(rows[i]["text_length"] == 0 for i in range(len(rows)))
  corpus.text_tokens[:] += corpus.num_samples // fakes.HOP
  with pytest.raises(errors.UserError, match="'more text than tokens': 20"):
    utterances(corpus, fakes.FakeText())


def test_references_are_other_clips_of_the_speaker():
  corpus, rows = make("utterances")
  for i in range(len(rows)):
    row, members = rows[i], rows.members(i)
    assert not row["told"].any()
    assert (row["reference_samples"][len(members) :] == 0).all()
    for k, (target, _) in enumerate(members):
      wave, samples = row["references"][k], row["reference_samples"][k]
      check_reference(corpus, wave, samples, [target], target)


def test_the_only_clip_of_a_speaker_is_scored_on_what_was_not_heard():
  """The reference lies in one marked half; either half is used."""
  corpus = fakes.FakeCorpus(40, 40)
  corpus.speaker = np.arange(40)
  rows = utterances(corpus, fakes.FakeText(), reference_seconds=0.2)
  firsts = []
  for i in range(2 * len(rows)):
    row = rows[i]
    for k, (target, reference) in enumerate(rows.members(i)):
      here = row["segment"] == k + 1
      told = np.flatnonzero(row["told"][here])
      assert reference == -1 and (np.diff(told) == 1).all()
      assert len(told) in (here.sum() // 2, here.sum() - here.sum() // 2)
      samples = row["reference_samples"][k]
      assert 0 < samples <= len(told) * fakes.HOP
      heard = fakes.record_of(row["references"][k][:samples])
      assert (heard == target).all()
      firsts.append(told[0] == 0)
    assert not row["told"][row["segment"] == 0].any()
  assert 0.2 < np.mean(firsts) < 0.8


def test_another_text_model_is_one_sentence():
  corpus, rows = make("utterances")
  corpus.text_tokens += 1
  with pytest.raises(errors.UserError, match="s02 text --corpus fake"):
    rows[0]


class FakeTeacher:
  """States that tell the record and the place in it."""

  size = 2

  def __init__(self, corpus):
    self._lengths = corpus.num_samples // fakes.HOP

  def states(self, record):
    place = np.arange(self._lengths[record])
    return np.stack([np.full(len(place), record), place], 1).astype(np.float32)


def test_states_of_a_teacher_lie_where_their_utterance_does():
  corpus = fakes.FakeCorpus(200, 20)
  teacher = FakeTeacher(corpus)
  rows = utterances(corpus, fakes.FakeText(), teacher=teacher)
  for i in range(5):
    row = rows[i]
    assert row["teacher"].shape == (120, 2)
    for k, record in enumerate(rows.records(i)):
      here = row["segment"] == k + 1
      np.testing.assert_array_equal(
        row["teacher"][here], teacher.states(record)
      )
    assert not row["teacher"][row["segment"] == 0].any()
