"""Rows: pure, complete, of one shape per batch, and what they say they are."""

import concurrent.futures

import numpy as np
import pytest

from s02jax.core import errors
from s02jax.data.mixture import EpochCache, Mixture
from s02jax.data.packing import exactly, pack
from s02jax.data.rows.audio_crops import AudioCrops
from s02jax.data.rows.latent_utterances import LatentUtterances
from s02jax.data.rows.packed_sequences import PackedSequences
from s02jax.data.rows.packed_utterances import GAP, SEPARATOR, PackedUtterances
from tests import fakes

BATCH = 4
MAKERS = ("crops", "utterances", "latents", "packed")


def make(kind: str, seed: int = 0, n: int = 200, speakers: int = 20, **more):
  """Rows of one kind over a fake corpus."""
  corpus = fakes.FakeCorpus(n, speakers)
  features, text = fakes.FakeFeatures(corpus), fakes.FakeText()
  common = dict(batch_size=BATCH, seed=seed) | more
  if kind == "crops":
    return corpus, AudioCrops(corpus, **common, crop_samples=20 * fakes.HOP)
  if kind == "utterances":
    return corpus, PackedUtterances(corpus, text, **common, row_seconds=4.8)
  if kind == "latents":
    rows = LatentUtterances(
      corpus, features, **common, buckets=(1.2, 2.4), reference_seconds=1.0
    )
    return corpus, rows
  return corpus, packed(corpus, **common)


RATES = {"en": 0.25, "es": 0.5, "de": 0.75}


def packed(corpus, **more) -> PackedSequences:
  """Packed rows over a fake corpus."""
  settings = dict(
    batch_size=BATCH,
    seed=0,
    row_tokens=256,
    max_segments=5,
    reference_seconds=1.0,
    prompt_probability=0.4,
    rate=RATES.__getitem__,
  )
  return PackedSequences(
    corpus, fakes.FakeFeatures(corpus), fakes.FakeText(), **settings | more
  )


def same(a, b) -> bool:
  return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


# ------------------------------------------------------------- every kind


@pytest.mark.parametrize("kind", MAKERS)
def test_rows_are_pure_and_thread_safe(kind):
  _, first = make(kind)
  _, second = make(kind)
  order = np.random.default_rng(1).permutation(160).tolist()
  expected = [first[i] for i in range(160)]
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    found = dict(zip(order, pool.map(second.__getitem__, order), strict=True))
  assert all(same(expected[i], found[i]) for i in range(160))


@pytest.mark.parametrize("kind", MAKERS)
def test_rows_depend_on_the_seed(kind):
  _, first = make(kind, seed=0)
  _, second = make(kind, seed=1)
  assert not all(same(first[i], second[i]) for i in range(16))


@pytest.mark.parametrize("kind", MAKERS)
def test_a_batch_has_one_shape_and_true_counts(kind):
  _, rows = make(kind)
  for step in range(40):
    batch = [rows[step * BATCH + j] for j in range(BATCH)]
    shapes = {tuple((k, v.shape, v.dtype) for k, v in r.items()) for r in batch}
    assert len(shapes) == 1
    for row in batch:
      assert row["audio_seconds"].dtype == row["padding"].dtype == np.float32
      assert 0 <= row["padding"] < 1 and row["audio_seconds"] > 0


# ------------------------------------------------------------------- crops


def test_crops_lie_within_one_long_enough_record():
  corpus, rows = make("crops")
  assert rows.excluded["too short"] == np.sum(
    corpus.num_samples < 20 * fakes.HOP
  )
  for i in range(50):
    record = fakes.record_of(rows[i]["wave"])
    assert (record == record[0]).all() and record[0] >= 0
    assert rows[i]["padding"] == 0


def test_crops_pad_where_every_record_is_short():
  corpus = fakes.FakeCorpus(20, 2)
  size = int(corpus.num_samples.max()) + fakes.HOP
  row = AudioCrops(corpus, BATCH, 0, crop_samples=size)[0]
  valid = fakes.record_of(row["wave"]) >= 0
  assert valid[: valid.sum()].all() and 0 < valid.sum() < size
  assert row["padding"] == pytest.approx(1 - valid.mean(), abs=1e-6)


def test_empty_split_is_one_sentence():
  with pytest.raises(errors.UserError, match="'train' of fake is empty"):
    AudioCrops(fakes.FakeCorpus(0, 1), BATCH, 0, crop_samples=8)


# -------------------------------------------------------------- utterances


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
  corpus._pieces = corpus.text_tokens - 1
  rows = PackedUtterances(corpus, fakes.FakeText(), BATCH, 0, row_seconds=4.8)
  assert all(rows[i]["text_length"] == 0 for i in range(len(rows)))
  corpus.text_tokens[:] += corpus.num_samples // fakes.HOP
  with pytest.raises(errors.UserError, match="'more text than tokens': 20"):
    PackedUtterances(corpus, fakes.FakeText(), BATCH, 0, row_seconds=4.8)


def test_buckets_come_by_their_share():
  corpus, rows = make("latents")
  short = np.mean(
    corpus.num_samples[corpus.num_samples <= 60 * fakes.HOP] <= 30 * fakes.HOP
  )
  sizes = [len(rows[s * BATCH]["tokens"]) for s in range(430)]
  found = np.mean(np.array(sizes) == 30)
  assert found == pytest.approx(short, abs=0.03)


@pytest.mark.parametrize("kind", ["utterances", "latents"])
def test_too_short_rows_are_one_sentence(kind):
  more = (
    dict(row_seconds=0.1)
    if kind == "utterances"
    else dict(buckets=(0.1,), reference_seconds=1.0)
  )
  corpus = fakes.FakeCorpus(20, 2)
  with pytest.raises(errors.UserError, match="no usable record"):
    if kind == "utterances":
      PackedUtterances(corpus, fakes.FakeText(), BATCH, 0, **more)
    else:
      features = fakes.FakeFeatures(corpus)
      LatentUtterances(corpus, features, BATCH, 0, **more)


def test_another_text_model_is_one_sentence():
  corpus, rows = make("utterances")
  corpus.text_tokens += 1
  with pytest.raises(errors.UserError, match="s02 text --corpus fake"):
    rows[0]


# ----------------------------------------------------------------- latents


def test_latents_are_of_one_speaker_and_the_reference_is_another_clip():
  corpus, rows = make("latents", speakers=60)
  alone = np.bincount(corpus.speaker)[corpus.speaker] == 1
  assert rows.excluded["only clip of its speaker"] == alone.sum() > 0
  for i in range(200):
    row = rows[i]
    n, records = int(row["length"]), rows.records(i)
    tokens = corpus.num_samples[records] // fakes.HOP
    assert not alone[records[0]] and len(set(records)) == len(records)
    assert len(set(corpus.speaker[records])) == 1
    size = len(row["tokens"])
    # The first is whole, all are in their order, the last is cut off.
    assert tokens[0] <= size and tokens[:-1].sum() < size
    assert n == min(tokens.sum(), size)
    expected = np.repeat(records, tokens)[:size]
    assert (row["tokens"][:n] == expected).all()
    assert (row["tokens"][n:] == 0).all()
    latents = row["latents"]
    assert latents.shape == (2 * size, fakes.CHANNELS)
    np.testing.assert_allclose(latents[: 2 * n, 0], np.repeat(expected, 2))
    assert (latents[2 * n :] == 0).all()
    check_reference(
      corpus,
      row["reference"],
      row["reference_samples"],
      set(records),
      records[0],
    )


def test_rows_of_latents_are_full_where_speakers_have_clips():
  _, rows = make("latents", n=400, speakers=20)
  assert np.mean([rows[i]["padding"] for i in range(200)]) < 0.01


def check_reference(corpus, wave, samples, besides, record):
  """It is one clip of the speaker of `record`, none of `besides`."""
  assert len(wave) == 25 * fakes.HOP
  other = fakes.record_of(wave[:samples])
  assert samples > 0 and (other == other[0]).all()
  assert (wave[samples:] == 0).all()
  assert samples == min(corpus.num_samples[other[0]], len(wave))
  assert other[0] not in besides
  assert corpus.speaker[other[0]] == corpus.speaker[record]


def test_features_of_another_corpus_are_one_sentence():
  corpus, rows = make("latents")
  rows._features._tokens = rows._features._tokens + 1
  with pytest.raises(errors.UserError, match="s02 extract --corpus fake"):
    rows[0]


# ------------------------------------------------------------------ packed


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
  prompted = []
  for i in range(3 * len(rows)):
    for target, prompt, reference in rows.members(i):
      clips = [target, reference] + [prompt] * (prompt >= 0)
      assert len(set(clips)) == len(clips)
      assert len(set(corpus.speaker[clips])) == 1
      prompted.append(prompt >= 0)
  assert 0.25 < np.mean(prompted) < 0.45


def test_packed_rows_say_what_their_members_are():
  corpus, rows = make("packed")
  text = fakes.FakeText()
  for i in range(2 * len(rows)):
    row = rows[i]
    members = rows.members(i)
    assert set(row["segment"]) <= set(range(len(members) + 1))
    nothing = row["segment"] == 0
    for name in ("ids", "position", "cursor", "target", "weight"):
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
        words = [*before, fakes.SPACE, *words]
      language = 10 + corpus.language[target]
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
      check_reference(
        corpus,
        row["references"][k],
        row["reference_samples"][k],
        {target, prompt},
        target,
      )
    assert (row["references"][len(members) :] == 0).all()
    assert (row["reference_samples"][len(members) :] == 0).all()


def test_packed_rows_hold_little_padding():
  _, rows = make("packed", n=3000, speakers=300)
  padding = [rows[i]["padding"] for i in range(300)]
  assert np.mean(padding) < 0.05


def test_too_long_and_lonely_records_are_counted():
  corpus = fakes.FakeCorpus(100, 60)
  rows = packed(corpus, row_tokens=60, prompt_probability=0.0)
  alone = np.bincount(corpus.speaker)[corpus.speaker] == 1
  length = corpus.text_tokens + 2 + corpus.num_samples // fakes.HOP
  assert rows.excluded == {
    "no text": 0,
    "only clip of its speaker": int(alone.sum()),
    "too long": int((~alone & (length > 60)).sum()),
  }
  used = {t for i in range(4 * len(rows)) for t, _, _ in rows.members(i)}
  assert used <= set(np.flatnonzero(~alone & (length <= 60)))


# --------------------------------------------------------- packing, mixing


def test_pack_keeps_every_item_once_and_fits(random):
  for _ in range(20):
    room, most = int(random.integers(20, 300)), int(random.integers(1, 9))
    lengths = random.integers(1, room + 1, int(random.integers(1, 200)))
    rows = pack(lengths, room, most)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert max(lengths[row].sum() for row in rows) <= room
    assert max(map(len, rows)) <= most
    for count in {1, max(len(rows) // 2, 1), len(rows), len(lengths)}:
      exact = exactly(rows, lengths, count)
      items = [i for row in exact for i in row]
      assert len(exact) == count and len(set(items)) == len(items)
      if count >= len(rows):
        assert len(items) == len(lengths)


def test_many_items_are_packed_tightly(random):
  lengths = random.integers(30, 400, 20_000)
  rows = pack(lengths, 2048, 16)
  assert lengths.sum() / (len(rows) * 2048) > 0.97


def mixture(alpha: float) -> tuple[np.ndarray, Mixture]:
  language = np.repeat([0, 1, 2], [700, 200, 100])
  samples = np.full(1000, 100)
  return language, Mixture(np.arange(1000), language, samples, 0, alpha)


def test_mixture_as_is_takes_every_record_once_per_epoch():
  _, mix = mixture(1.0)
  epochs = [mix.epoch(e) for e in range(3)]
  for epoch in epochs:
    assert np.array_equal(np.sort(epoch), np.arange(1000))
  assert not np.array_equal(epochs[0], epochs[1])
  assert [mix[i] for i in (0, 999, 1000)] == [
    epochs[0][0],
    epochs[0][999],
    epochs[1][0],
  ]


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_mixture_shares_follow_hours(alpha):
  language, mix = mixture(alpha)
  hours = np.array([700, 200, 100.0]) ** alpha
  counts = np.bincount(language[mix.epoch(0)], minlength=3)
  np.testing.assert_allclose(counts / 1000, hours / hours.sum(), atol=0.002)
  # Over epochs the records of a language are used evenly.
  every = np.concatenate([mix.epoch(e) for e in range(8)])
  for k in range(3):
    uses = np.bincount(every, minlength=1000)[language == k]
    assert uses.max() - uses.min() <= 1


def test_epoch_cache_calls_once_and_forgets():
  calls = []
  cache = EpochCache(lambda k: calls.append(k) or k, size=2)
  assert [cache(k) for k in (0, 1, 0, 2, 0, 1)] == [0, 1, 0, 2, 0, 1]
  assert calls == [0, 1, 2, 1]


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
