"""The two builders, what they write, and what they refuse."""

import collections
import concurrent.futures
import io
import json
import pathlib
import pickle
import random
import shutil
import subprocess
import sys
import time

import numpy as np
import pyloudnorm
import pytest
import soundfile

from data_pipelines import clips, espeak, manifest, media, parallel
from s02jax.audio import loudness as conditioning
from s02jax.cli import corpus as corpus_door
from s02jax.cli import text
from s02jax.core.errors import UserError
from s02jax.data import features as features_lib
from s02jax.data import records
from s02jax.text import tokenizer

TINY = (
  "--languages en,ja --speakers 4 --clips_per_speaker 3 --seen_speakers 2"
  " --seen_clips 1 --unseen_speakers 2 --unseen_clips 2 --words 12"
  " --processes 1"
)


def build_espeak(out: pathlib.Path, flags: str = TINY) -> None:
  corpus_door.main(["espeak", "--out", str(out), *flags.split()])


def every_split(folder: pathlib.Path) -> dict[str, records.Corpus]:
  return {s: records.Corpus.open(folder, s) for s in records.SPLITS}


def every_record(folder: pathlib.Path) -> list[tuple[str, records.Record]]:
  return [
    (split, corpus.record(index))
    for split, corpus in every_split(folder).items()
    for index in range(len(corpus))
  ]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> pathlib.Path:
  out = tmp_path_factory.mktemp("espeak") / "corpus"
  build_espeak(out, TINY)
  return out


# The embedded corpus


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
    assert 0.02 < np.abs(record.wave).max() <= conditioning.CEILING + 1e-3
    loud = np.flatnonzero(np.abs(record.wave) > 0.01)
    assert loud[0] < 0.15 * record.rate


def test_espeak_bytes_depend_on_the_seed_alone(tiny, tmp_path):
  build_espeak(tmp_path / "again", TINY + " --processes 2")
  build_espeak(tmp_path / "other", TINY + " --seed 1")
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
    build_espeak(tiny, TINY + " --seed 5")


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


# Reading


def test_corpus_survives_pickling_and_threads(tiny):
  corpus = pickle.loads(pickle.dumps(records.Corpus.open(tiny, "train")))
  expected = [corpus.record(i).wave for i in range(len(corpus))]
  shared = records.Corpus.open(tiny, "train", cache_bytes=100_000)
  order = [random.Random(i).randrange(len(corpus)) for i in range(200)]
  with concurrent.futures.ThreadPoolExecutor(8) as threads:
    for index, wave in zip(order, threads.map(shared.wave, order), strict=True):
      np.testing.assert_array_equal(wave, expected[index])


def test_the_cache_is_bounded():
  cache = records.WaveCache(1000)
  for index in range(50):
    cache.put(index, np.zeros(100, np.int16))
    assert len(cache) <= 1000
  assert cache.get(49) is not None and cache.get(0) is None
  cache.put(99, np.zeros(1000, np.int16))
  assert cache.get(99) is None


def test_what_is_not_there_is_said(tiny, tmp_path):
  with pytest.raises(UserError, match="is not a corpus"):
    records.Corpus.open(tmp_path, "train")
  with pytest.raises(UserError, match="split 'test' is unknown"):
    records.Corpus.open(tiny, "test")
  corpus = records.Corpus.open(tiny, "train")
  for index in (-1, len(corpus)):
    with pytest.raises(IndexError):
      corpus.wave(index)
  with pytest.raises(UserError, match="s02 extract"):
    features_lib.Features.open(tiny, "train")


def test_another_version_is_refused(tiny, tmp_path):
  card = json.loads((tiny / "card.json").read_text()) | {"version": "9.0.0"}
  (tmp_path / "card.json").write_text(json.dumps(card))
  with pytest.raises(UserError, match="version 9.0.0"):
    records.Corpus.open(tmp_path, "train")


def test_text_model_of_a_corpus(tiny, tmp_path):
  shutil.copytree(tiny, tmp_path / "c")
  folder = str(tmp_path / "c")
  with pytest.raises(UserError, match="s02 text --corpus"):
    _ = records.Corpus.open(folder, "train").text_tokens
  text.main(["--corpus", folder, "--vocab_size", "330"])
  text.main(["--corpus", folder, "--vocab_size", "330"])
  model = tokenizer.TextModel.load(tmp_path / "c" / "text.model")
  for corpus in every_split(tmp_path / "c").values():
    for index in range(len(corpus)):
      record = corpus.record(index)
      ids = model.encode(record.text, record.language)
      assert corpus.text_tokens[index] == len(ids)
      assert model.decode(ids) == record.text
  with pytest.raises(UserError, match="--overwrite"):
    text.main(["--corpus", folder, "--vocab_size", "320"])
  text.main(["--corpus", folder, "--vocab_size", "320", "--overwrite"])


# Tokens and latents


def write_features(folder, lengths, fail_at=None) -> list:
  rng = np.random.default_rng(0)
  written = []
  with features_lib.FeatureWriter(folder, "train") as writer:
    for index, length in enumerate(lengths):
      if index == fail_at:
        raise KeyboardInterrupt
      codes = rng.integers(0, 2**15, length)
      latents = rng.normal(size=(2 * length, 6)).astype(np.float16)
      writer.write(codes, latents)
      written.append((codes, latents))
  return written


@pytest.fixture
def indexed(tmp_path) -> pathlib.Path:
  (tmp_path / "index").mkdir()
  np.savez(tmp_path / "index" / "train.npz", num_samples=np.zeros(4, np.int32))
  (tmp_path / "features").mkdir()
  card = {"mean": [0.0] * 6, "std": [1.0] * 6}
  (tmp_path / "features" / "card.json").write_text(json.dumps(card))
  return tmp_path


def test_features_round_trip(indexed):
  written = write_features(indexed, [3, 1, 40, 7])
  features = pickle.loads(
    pickle.dumps(features_lib.Features.open(indexed, "train"))
  )
  assert len(features) == 4
  for index, (codes, latents) in enumerate(written):
    assert features.tokens(index).dtype == np.int32
    assert features.latents(index).dtype == np.float32
    np.testing.assert_array_equal(features.tokens(index), codes)
    np.testing.assert_array_equal(features.latents(index), latents)


def test_interrupted_features_are_not_features(indexed):
  with pytest.raises(KeyboardInterrupt):
    write_features(indexed, [3, 1, 40, 7], fail_at=2)
  assert [path.name for path in (indexed / "features").iterdir()] == [
    "card.json"
  ]


def test_features_of_another_corpus_are_refused(indexed):
  write_features(indexed, [3, 1])
  with pytest.raises(UserError, match="has 2 records .* has 4"):
    features_lib.Features.open(indexed, "train")


@pytest.mark.parametrize(
  ("codes", "latents"),
  [([2**15], [[0.0]]), ([-1], [[0.0]]), ([1], [[np.nan]]), ([1], [[1e6]])],
)
def test_features_that_do_not_fit_are_an_error(indexed, codes, latents):
  with (
    pytest.raises(ValueError, match="out of range|not finite"),
    features_lib.FeatureWriter(indexed, "train") as writer,
  ):
    writer.write(codes, latents)


# Processes


def test_a_crash_costs_one_task():
  tasks = [f"2 * {n}" for n in range(60)]
  tasks[13] = "__import__('os')._exit(1)"
  with parallel.Workers(2) as workers:
    found = list(workers.map(eval, tasks, lambda task: task))
  assert found == [2 * n if n != 13 else tasks[13] for n in range(60)]


def test_tasks_are_read_only_as_far_as_the_window():
  taken = []

  def tasks():
    for number in range(1000):
      taken.append(number)
      yield str(number)

  with parallel.Workers(1) as workers:
    results = workers.map(eval, tasks(), lambda task: None)
    assert next(results) == 0
    assert len(taken) <= parallel._WINDOW


# A person's own recordings

RNG = np.random.default_rng(0)


def speech_like(seconds: float, rate: int) -> np.ndarray:
  """Bursts of noise with silence at both ends."""
  time_axis = np.arange(int(seconds * rate)) / rate
  bursts = 0.05 * RNG.normal(size=len(time_axis)).astype(np.float32)
  bursts *= np.sin(2 * np.pi * 3 * time_axis) ** 2
  quiet = np.zeros(rate // 2, np.float32)
  return np.clip(np.concatenate([quiet, bursts, quiet]), -0.9, 0.9)


def write_m4a(path: pathlib.Path, wave: np.ndarray, rate: int) -> None:
  av = pytest.importorskip("av")
  with av.open(str(path), "w") as container:
    stream = container.add_stream("aac", rate=rate, layout="mono")
    frame = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
    frame.sample_rate = rate
    for packet in [*stream.encode(frame), *stream.encode(None)]:
      container.mux(packet)


GOOD = ("a.wav", "b.flac", "c.ogg", "d.mp3", "e.m4a", "f.wav", "g.wav")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> pathlib.Path:
  folder = tmp_path_factory.mktemp("recordings")
  wave = speech_like(1.5, 44_100)
  soundfile.write(folder / "a.wav", np.stack([wave, 0.5 * wave], 1), 44_100)
  soundfile.write(folder / "b.flac", speech_like(2, 22_050), 22_050)
  soundfile.write(folder / "c.ogg", speech_like(1, 48_000), 48_000)
  soundfile.write(folder / "d.mp3", speech_like(1, 16_000), 16_000)
  write_m4a(folder / "e.m4a", speech_like(1, 44_100), 44_100)
  opposite = speech_like(1, 8_000)
  soundfile.write(folder / "f.wav", np.stack([opposite, -opposite], 1), 8_000)
  soundfile.write(
    folder / "g.wav", speech_like(1, 16_000), 16_000, subtype="FLOAT"
  )
  (folder / "empty.wav").write_bytes(b"")
  (folder / "folder.wav").mkdir()
  (folder / "words.wav").write_text("this is no audio " * 100)
  data = (folder / "b.flac").read_bytes()
  (folder / "cut.flac").write_bytes(data[: len(data) // 2])
  (folder / "header.flac").write_bytes(data[:60])
  soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
  soundfile.write(folder / "offset.wav", np.full(16_000, 0.3), 16_000)
  loud = np.clip(100 * speech_like(1, 16_000), -1, 1)
  soundfile.write(folder / "clipped.wav", loud, 16_000)
  soundfile.write(folder / "clipped_low.wav", 0.6 * loud, 16_000)
  bad = speech_like(1, 16_000)
  bad[9000] = np.nan
  soundfile.write(folder / "nan.wav", bad, 16_000, subtype="FLOAT")
  soundfile.write(
    folder / "blip.wav", speech_like(0.02, 16_000)[8000:8320], 16_000
  )
  with soundfile.SoundFile(
    folder / "long.wav", "w", 8000, 1, subtype="PCM_U8"
  ) as file:
    for _ in range(50):
      file.write(np.zeros(60 * 8000, np.float32))
  return folder


def row(path: str, **fields) -> dict:
  line = {"path": path, "text": "hello", "language": "en", "speaker": "ann"}
  return line | fields


def good_rows() -> list[dict]:
  return [
    row(path, text=f"text number {n}", speaker="ann" if n % 2 else "bob")
    for n, path in enumerate(GOOD)
  ]


# line or fields, and what the reason must say
BAD = (
  (row("none.wav"), "does not exist"),
  (row("empty.wav"), "file is empty"),
  (row("folder.wav"), "not a file"),
  (row("words.wav"), "not audio"),
  (row("cut.flac"), "corrupt"),
  (row("header.flac"), "corrupt"),
  (row("silent.wav"), "silent"),
  (row("offset.wav"), "silent"),
  (row("clipped.wav"), "clipped"),
  (row("clipped_low.wav"), "clipped"),
  (row("nan.wav"), "not finite"),
  (row("blip.wav"), "shorter than --min_seconds 0.3"),
  (row("long.wav"), "3000.0 s is longer than --max_seconds 30"),
  (row("a.wav", id="1", language="fil"), "'fil' is unknown: the codes are zh"),
  (row("a.wav", id="2", language=7), "'language' is 7, not a string"),
  (row("a.wav", id="3", text="  "), "text is empty"),
  (row("a.wav", id="4", text="?!"), "no letter and no digit"),
  (row("a.wav", id="5", text="a\ud800"), "unpaired surrogate"),
  (row("a.wav", id="6", text=None), "not a string"),
  (row("a.wav", id="7", speaker=""), "'speaker' is empty"),
  (row("a.wav"), "id 'a.wav' is already used by line 1"),
  (row("", id="8"), "'path' is not the name"),
  ({"path": "a.wav", "text": "x", "language": "en"}, "'speaker' is missing"),
  ('{"path": "a.wav", "text": "x"', "not JSON"),
  ("[1, 2]", "not a JSON object"),
  ("\udcff\udcfe", "utf-8"),
)


def write_manifest(path: pathlib.Path, lines: list) -> None:
  written = [
    line if isinstance(line, str) else json.dumps(line) for line in lines
  ]
  path.write_text("\n".join(written) + "\n", "utf-8", "surrogateescape")


ALL_TRAIN = ("--unseen_speakers=0", "--held_out_texts=0", "--processes=1")


def build_manifest(path, out, *flags) -> list[dict]:
  corpus_door.main(["manifest", str(path), "--out", str(out), *flags])
  lines = (out / "rejected.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def faulty(recordings, tmp_path_factory) -> tuple[pathlib.Path, list[dict]]:
  path = recordings / "faulty.jsonl"
  write_manifest(path, [*good_rows(), "", *(line for line, _ in BAD)])
  out = tmp_path_factory.mktemp("faulty") / "corpus"
  return out, build_manifest(path, out, *ALL_TRAIN)


def test_what_is_good_is_built(faulty):
  out, _ = faulty
  train = records.Corpus.open(out, "train")
  assert [train.record(i).source for i in range(len(train))] == list(GOOD)
  assert train.rate == 16_000
  for index in range(len(train)):
    record = train.record(index)
    assert record.text == f"text number {index}"
    loudness = pyloudnorm.Meter(16_000).integrated_loudness(record.wave)
    assert loudness == pytest.approx(-23, abs=0.7) or (
      np.abs(record.wave).max() == pytest.approx(conditioning.CEILING, abs=0.01)
    )
  assert not len(records.Corpus.open(out, "seen"))
  assert not len(records.Corpus.open(out, "unseen"))


def test_silence_is_cut_at_the_ends(faulty):
  train = records.Corpus.open(faulty[0], "train")
  seconds = train.num_samples / train.rate
  expected = [1.5, 2, 1, 1, 1, 1, 1]  # of the bursts, and 0.08 on each side
  np.testing.assert_allclose(seconds, np.add(expected, 0.1), atol=0.12)


def test_everything_else_is_listed_with_its_line_and_reason(faulty):
  _, rejected = faulty
  first = len(GOOD) + 2  # lines count from 1, and one is blank
  assert [line["line"] for line in rejected] == [
    first + n for n in range(len(BAD))
  ]
  for line, (_, reason) in zip(rejected, BAD, strict=True):
    assert reason in line["reason"], line
    assert "\n" not in line["reason"]
  assert rejected[0]["path"] == rejected[0]["id"] == "none.wav"


def test_a_long_file_is_refused_by_its_header(recordings):
  start = time.perf_counter()
  with pytest.raises(clips.Unusable, match="longer"):
    media.read(recordings / "long.wav", 30.0)
  assert time.perf_counter() - start < 0.1


def test_clips_without_text_are_kept_on_request(recordings, tmp_path):
  path = recordings / "silent_text.jsonl"
  lines = [line | {"text": ""} for line in good_rows()]
  write_manifest(path, [*lines[:3], row("g.wav", text="spoken")])
  with pytest.raises(UserError, match="longer|no clip|cannot"):
    build_manifest(recordings / "none.jsonl", tmp_path / "c")
  assert not build_manifest(
    path, tmp_path / "c", *ALL_TRAIN, "--allow_empty_text"
  )
  train = records.Corpus.open(tmp_path / "c", "train")
  assert [train.text(i) for i in range(4)] == ["", "", "", "spoken"]


def test_nothing_usable_is_one_sentence(recordings, tmp_path):
  write_manifest(recordings / "useless.jsonl", [row("silent.wav")])
  with pytest.raises(UserError, match="no clip .* line 1: silent"):
    build_manifest(recordings / "useless.jsonl", tmp_path / "c")
  with pytest.raises(UserError, match="not a share"):
    build_manifest(
      recordings / "useless.jsonl", tmp_path / "c", "--held_out_texts", "2"
    )
  assert not list(tmp_path.iterdir())


def random_manifest(path: pathlib.Path, rng: random.Random) -> None:
  """A few big readers of one book each, many small ones, shared texts."""
  lines = []
  for speaker in range(rng.randrange(3, 40)):
    language = rng.choice(["en", "de", "pt-br"])
    story = rng.randrange(5)
    for clip in range(rng.choice([1, 2, 3, 30])):
      words = rng.choice([f"Story {story}, page {clip}!", f"own {speaker}", ""])
      lines.append(
        row(f"{len(lines)}.wav", text=words, speaker=f"s{speaker}")
        | {"language": language}
      )
  write_manifest(path, lines)


@pytest.mark.parametrize("seed", range(12))
def test_no_text_and_no_unseen_speaker_is_trained_on(tmp_path, seed):
  rng = random.Random(seed)
  random_manifest(tmp_path / "m.jsonl", rng)
  arguments = manifest.ManifestArguments(
    unseen_speakers=rng.choice([0.0, 0.1, 0.4]),
    held_out_texts=rng.choice([0.0, 0.2]),
    allow_empty_text=True,
    seed=seed,
  )
  plan = manifest.Plan(tmp_path / "m.jsonl", arguments)
  rows = {split: list(plan.rows(split)) for split in records.SPLITS}
  rejected = list(plan.rejections())
  total = len((tmp_path / "m.jsonl").read_text().splitlines())
  assert sum(map(len, rows.values())) == len(plan) == total - len(rejected)
  texts = {
    split: {manifest._text_key(r.text) for r in found if r.text}
    for split, found in rows.items()
  }
  speakers = {split: {r.speaker for r in r_} for split, r_ in rows.items()}
  assert not texts["train"] & (texts["seen"] | texts["unseen"])
  assert not texts["seen"] & texts["unseen"]
  assert not speakers["unseen"] & (speakers["train"] | speakers["seen"])
  assert speakers["seen"] <= speakers["train"]
  held = [r for r in rejected if "unseen split" in r.reason]
  budget = arguments.unseen_budget * total
  assert len(rows["unseen"]) + len(held) <= budget
  again = manifest.Plan(tmp_path / "m.jsonl", arguments)
  assert list(again.rows("unseen")) == rows["unseen"]


def test_texts_that_sound_alike_share_a_key():
  key = manifest._text_key
  assert key("Hello, World!") == key("hello world")
  assert key("Ça va?") != key("Ca va?")
  assert key("...") == "..."


def test_a_wave_is_encoded_to_whole_tokens():
  audio, count = clips.encode(np.zeros(1999, np.float32), 16_000)
  assert count == 1920
  assert soundfile.info(io.BytesIO(audio)).frames == 1920
  with pytest.raises(clips.Unusable):
    clips.encode(np.zeros(639, np.float32), 16_000)
