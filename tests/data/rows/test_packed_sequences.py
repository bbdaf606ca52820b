"""Packed sequences of the AR model: complete, of one speaker, well filled."""

import numpy as np
import pytest

from tests import fakes
from tests.data.rows.makers import RATES, check_reference, make, packed


def test_every_record_is_spoken_at_most_once_per_epoch():
  corpus, rows = make("packed", n=600)
  for epoch in range(4):
    spoken = [
      target
      for i in range(epoch * len(rows), (epoch + 1) * len(rows))
      for target, _, _ in rows.members(i)
    ]
    assert len(set(spoken)) == len(spoken)
    assert len(spoken) > 0.93 * len(corpus)


def test_packed_members_are_of_one_speaker_and_differ():
  corpus, rows = make("packed", speakers=60)
  prompted, own = [], []
  for i in range(3 * len(rows)):
    for target, prompt, reference in rows.members(i):
      clips = [target, *(i for i in (prompt, reference) if i >= 0)]
      assert target not in clips[1:]
      assert len(set(corpus.speaker[clips])) == 1
      prompted.append(prompt >= 0)
      if prompt >= 0 and (corpus.speaker == corpus.speaker[target]).sum() > 2:
        own.append(prompt == reference)
  assert 0.25 < np.mean(prompted) < 0.45
  assert 0.4 < np.mean(own) < 0.6


def test_packed_rows_say_what_their_members_are():
  corpus, rows = make("packed")
  text = fakes.FakeText()
  for i in range(2 * len(rows)):
    row = rows[i]
    members = rows.members(i)
    assert set(row["segment"]) <= set(range(len(members) + 1))
    nothing = row["segment"] == 0
    for name in ("ids", "position", "cursor", "prompt", "target", "weight"):
      assert (row[name][nothing] == 0).all()
    assert row["padding"] == pytest.approx(nothing.mean())
    for k, (target, prompt, _) in enumerate(members):
      here = np.flatnonzero(row["segment"] == k + 1)
      assert (np.diff(here) == 1).all()
      assert (row["position"][here] == np.arange(len(here))).all()
      spoken = [prompt, target] if prompt >= 0 else [target]
      codes = [c for r in spoken for c in [r] * (corpus.num_samples[r] // 640)]
      words = [100 + target] * (int(corpus.text_tokens[target]) - 1)
      if prompt >= 0:
        before = [100 + prompt] * (int(corpus.text_tokens[prompt]) - 1)
        words = [*before, 10 + corpus.language[target], *words]
      language = 10 + corpus.language[spoken[0]]
      expected = [text.speaker_id, language, *words, text.start_id]
      expected += [text.size + code for code in codes]
      assert row["ids"][here].tolist() == expected
      cursor = row["cursor"][here]
      before = len(expected) - len(codes)
      assert (cursor[: before - 1] == np.arange(before - 1)).all()
      own = corpus.num_samples[target] // 640
      begin = before - len(words[words.index(100 + target) :]) - 1
      assert cursor[-own - 1] == pytest.approx(begin, rel=1e-6)
      rate = RATES[corpus.languages[corpus.language[target]]]
      assert np.diff(cursor[-own - 1 :]) == pytest.approx(rate, rel=1e-4)
      # Position p predicts p + 1; the last one, END.
      start = len(expected) - len(codes) - 1
      assert row["target"][here][start:].tolist() == codes + [fakes.CODES]
      weight = np.zeros(len(here))
      weight[start:] = 1
      assert (row["weight"][here] == weight).all()
      before = np.zeros(len(here))
      before[start + 1 : len(here) - own] = 1
      assert (row["prompt"][here] == before).all()
      check_reference(
        corpus,
        row["references"][k],
        row["reference_samples"][k],
        {target},
        target,
      )
    assert (row["references"][len(members) :] == 0).all()
    assert (row["reference_samples"][len(members) :] == 0).all()


def test_packed_rows_hold_little_padding():
  _, rows = make("packed", n=3000, speakers=300)
  padding = [rows[i]["padding"] for i in range(300)]
  assert np.mean(padding) < 0.05


def test_too_long_records_are_counted():
  corpus = fakes.FakeCorpus(100, 60)
  rows = packed(corpus, row_tokens=60, prompt_probability=0.0)
  length = corpus.text_tokens + 2 + corpus.num_samples // fakes.HOP
  assert rows.excluded == {"no text": 0, "too long": int((length > 60).sum())}
  used = {t for i in range(4 * len(rows)) for t, _, _ in rows.members(i)}
  assert used <= set(np.flatnonzero(length <= 60))


@pytest.mark.parametrize("fixed", [False, True])
def test_the_only_clip_of_a_speaker_has_no_reference(fixed):
  """A speaker of two clips has one as target, one as prompt and reference."""
  corpus = fakes.FakeCorpus(100, 60)
  vectors = np.ones((100, 4), np.float32) if fixed else None
  rows = packed(corpus, prompt_probability=1.0, vectors=vectors)
  clips = np.bincount(corpus.speaker)[corpus.speaker]
  name = "speaker_vectors" if fixed else "references"
  seen = set()
  for i in range(2 * len(rows)):
    row = rows[i]
    for k, (target, prompt, reference) in enumerate(rows.members(i)):
      seen.add(min(clips[target], 3))
      alone = clips[target] == 1
      assert (prompt < 0) == (reference < 0) == alone
      if clips[target] == 2:
        assert prompt == reference
      assert (row["reference_samples"][k] == 0) == alone
      assert np.any(row[name][k]) != alone
  assert seen == {1, 2, 3}


def test_records_without_text_are_references_only():
  corpus = fakes.FakeCorpus(200, 10)
  silent = np.arange(200) % 3 == 0
  corpus.text_tokens[silent] = 1
  rows = packed(corpus, row_tokens=256, prompt_probability=0.5)
  assert rows.excluded["no text"] == silent.sum()
  members = [m for i in range(len(rows)) for m in rows.members(i)]
  targets, prompts, references = map(np.array, zip(*members, strict=True))
  assert not silent[targets].any()
  assert (prompts >= 0).any() and not silent[prompts[prompts >= 0]].any()
  assert silent[references].any()
