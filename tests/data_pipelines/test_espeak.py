"""Synthetic corpus: its splits, its sound, and the arguments it refuses."""

import collections
import json
import pathlib
import subprocess
import sys
import time

import numpy as np
import pyloudnorm
import pytest

from data_pipelines import espeak
from s02jax.audio import loudness, prosody
from s02jax.core.errors import UserError
from s02jax.data import records
from tests.corpora import ESPEAK, build_espeak, every_record, every_split


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> pathlib.Path:
  out = tmp_path_factory.mktemp("espeak") / "corpus"
  build_espeak(out)
  return out


def test_espeak_splits_share_no_sentence_and_no_unseen_speaker(tiny):
  texts, speakers = collections.defaultdict(set), collections.defaultdict(set)
  for split, record in every_record(tiny):
    texts[split].add(record.text)
    speakers[split].add(record.speaker)
  assert [len(every_split(tiny)[s]) for s in records.SPLITS] == [12, 2, 4]
  assert not texts["train"] & (texts["seen"] | texts["unseen"])
  assert not texts["seen"] & texts["unseen"]
  assert speakers["seen"] < speakers["train"]
  assert not speakers["train"] & speakers["unseen"]


def test_timed_clips_are_those_of_the_corpus(tiny):
  corpus = every_split(tiny)["unseen"]
  arguments = espeak.EspeakArguments(
    languages=("en", "ja"),
    speakers=4,
    unseen_speakers=2,
    unseen_clips=2,
    words=12,
  )
  found = list(espeak.tasks(arguments, "unseen"))
  assert [task.id for task in found] == [
    corpus.record(i).id for i in range(len(corpus))
  ]
  for i in (0, 1):  # English
    wave, begins = espeak.timed(found[i])
    kept = corpus.record(i).wave
    np.testing.assert_allclose(wave[: len(kept)], kept, atol=1e-4)
    assert len(begins) == len(found[i].text.split())
    assert begins == sorted(begins) and begins[-1] < len(wave) / corpus.rate
    # Before its first word a clip is silent.
    first = round((begins[0] + 0.02) * corpus.rate)
    assert begins[0] > -0.02
    before = np.abs(wave[: max(first - corpus.rate // 25, 0)])
    assert before.max(initial=0) < 0.1 * np.abs(wave).max()


def test_index_card_and_records_agree(tiny):
  card = json.loads((tiny / "card.json").read_text())
  everything = every_record(tiny)
  assert len({record.id for _, record in everything}) == len(everything)
  for split, corpus in every_split(tiny).items():
    assert corpus.num_samples.dtype == np.int32
    counts = card["splits"][split]
    assert counts["clips"] == len(corpus)
    seconds = corpus.num_samples.sum() / corpus.rate
    assert counts["seconds"] == pytest.approx(seconds, abs=0.01)
    for index in range(len(corpus)):
      record = corpus.record(index)
      assert record.wave.shape == (corpus.num_samples[index],)
      assert record.wave.dtype == np.float32
      assert len(record.wave) % (corpus.rate // 25) == 0
      assert record.speaker == corpus.speakers[corpus.speaker[index]]
      assert record.language == corpus.languages[corpus.language[index]]
      assert len(record.text.encode()) == corpus.text_bytes[index]
      assert corpus.text(index) == record.text
      np.testing.assert_array_equal(corpus.wave(index), record.wave)


def test_espeak_clips_are_level_and_close_cut(tiny):
  for _, record in every_record(tiny):
    meter = pyloudnorm.Meter(record.rate)
    assert meter.integrated_loudness(record.wave) < -22.5
    assert 0.02 < np.abs(record.wave).max() <= loudness.CEILING + 1e-3
    loud = np.flatnonzero(np.abs(record.wave) > 0.01)
    assert loud[0] < 0.15 * record.rate


def test_espeak_bytes_depend_on_the_seed_alone(tiny, tmp_path):
  build_espeak(tmp_path / "again", ESPEAK + " --processes 2")
  build_espeak(tmp_path / "other", ESPEAK + " --seed 1")
  for path in (tiny / "speech").rglob("*array_record*"):
    name = path.relative_to(tiny)
    assert (tmp_path / "again" / name).read_bytes() == path.read_bytes()
    assert (tmp_path / "other" / name).read_bytes() != path.read_bytes()


def test_a_finished_corpus_is_left_alone(tiny, capsys):
  before = (tiny / "card.json").stat().st_mtime_ns
  build_espeak(tiny)
  assert "already built" in capsys.readouterr().out
  assert (tiny / "card.json").stat().st_mtime_ns == before
  with pytest.raises(UserError, match="other arguments"):
    build_espeak(tiny, ESPEAK + " --seed 5")


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    ("--languages en,tlh", "'tlh' is unknown"),
    ("--languages en,en", "twice"),
    ("--languages en,es --speakers 1", "each needs a speaker"),
    ("--words 1000", "out of range"),
    ("--rate 16001", "multiple of 25"),
    ("--sentence_words 5,2", "fewest <= most"),
    ("--sentences nowhere.txt", "cannot read nowhere.txt"),
    ("--processes 0", "at least 1"),
    ("--clips_per_speaker 0", "at least 1"),
  ],
)
def test_impossible_arguments_are_one_sentence(tmp_path, flags, message):
  with pytest.raises(UserError, match=message):
    build_espeak(tmp_path / "c", flags)
  assert not list(tmp_path.iterdir())


def test_nothing_is_written_where_it_cannot_be(tmp_path):
  (tmp_path / "file").write_text("in the way")
  with pytest.raises(UserError, match="cannot write the corpus"):
    build_espeak(tmp_path / "file" / "c")
  with pytest.raises(UserError, match="is not a corpus"):
    build_espeak(tmp_path)


def test_own_sentences_are_spoken_and_split(tmp_path):
  lines = [f"en|sentence number {i} of ours" for i in range(9)]
  (tmp_path / "own.txt").write_text("\n".join(lines) + "\n")
  flags = (
    f"--sentences {tmp_path}/own.txt --languages en --speakers 2"
    " --clips_per_speaker 3 --seen_clips 1 --unseen_speakers 1"
    " --processes 1"
  )
  build_espeak(tmp_path / "c", flags)
  found = {split: set() for split in records.SPLITS}
  for split, record in every_record(tmp_path / "c"):
    found[split].add(record.text)
  assert set.union(*found.values()) <= {line[3:] for line in lines}
  assert not found["train"] & (found["seen"] | found["unseen"])
  with pytest.raises(UserError, match="'de' has 0 sentences"):
    build_espeak(tmp_path / "d", flags + " --languages de")
  (tmp_path / "own.txt").write_text("en|fine\nno bar\n")
  with pytest.raises(UserError, match="line 2: expected language|text"):
    build_espeak(tmp_path / "d", flags)


def test_speakers_differ_and_do_not_depend_on_how_many_there_are():
  arguments = espeak.EspeakArguments(languages=("en", "de"))
  speakers = [espeak.make_speaker(arguments, n) for n in range(200)]
  assert len({s.name for s in speakers}) == len(set(speakers)) == 200
  english = [s.variant for s in speakers if s.language == "en"]
  assert len(set(english[: len(espeak.VARIANTS)])) == len(espeak.VARIANTS)


def test_a_killed_build_leaves_nothing_under_the_name(tmp_path):
  command = [sys.executable, "-m", "s02jax", "corpus", "espeak"]
  command += ["--out", str(tmp_path / "c"), "--processes", "1"]
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
  unfinished = tmp_path / ".c.part"
  while not unfinished.exists():
    assert process.poll() is None
    time.sleep(0.05)
  process.kill()
  process.wait()
  assert not (tmp_path / "c").exists()
  build_espeak(tmp_path / "c")
  assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_emotions_are_prosodies_of_the_same_sentences(tmp_path):
  build_espeak(
    tmp_path,
    "--languages en --speakers 1 --clips_per_speaker 2 --seen_speakers 0"
    " --unseen_speakers 0 --words 12 --processes 1"
    " --emotions neutral,sad,surprised",
  )
  found = collections.defaultdict(dict)
  for _, record in every_record(tmp_path):
    figures = prosody.measure(record.wave, record.rate, record.text)
    found[record.text][record.emotion] = figures
  assert len(found) == 2
  for by_emotion in found.values():
    sad, plain, high = (
      by_emotion[name] for name in ("sad", "neutral", "surprised")
    )
    assert sad.pitch < plain.pitch < high.pitch
    assert sad.width < high.width
    assert sad.pace < plain.pace
    assert sad.loudness < plain.loudness
  with pytest.raises(UserError, match="did you mean happy"):
    espeak.check(espeak.EspeakArguments(emotions=("hapy",)))
