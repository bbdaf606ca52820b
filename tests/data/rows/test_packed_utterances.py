"""Packed utterances of the audio tokenizer: whole, apart, with their text."""

import numpy as np
import pytest

from s02jax.core import errors
from s02jax.data.rows.packed_utterances import GAP, SEPARATOR, PackedUtterances
from tests import fakes
from tests.data.rows.makers import BATCH, make


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
  rows = PackedUtterances(corpus, fakes.FakeText(), BATCH, 0, row_seconds=4.8)
  assert all(rows[i]["text_length"] == 0 for i in range(len(rows)))
  corpus.text_tokens[:] += corpus.num_samples // fakes.HOP
  with pytest.raises(errors.UserError, match="'more text than tokens': 20"):
    PackedUtterances(corpus, fakes.FakeText(), BATCH, 0, row_seconds=4.8)


def test_another_text_model_is_one_sentence():
  corpus, rows = make("utterances")
  corpus.text_tokens += 1
  with pytest.raises(errors.UserError, match="s02 text --corpus fake"):
    rows[0]
