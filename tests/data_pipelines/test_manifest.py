"""Corpus of a person's recordings: what is built, and why the rest is not."""

import json
import pathlib
import random
import time

import numpy as np
import pyloudnorm
import pytest
import soundfile

from data_pipelines import manifest
from s02jax.audio import recording
from s02jax.audio.loudness import CEILING
from s02jax.cli.corpora import corpus as corpus_cli
from s02jax.core.errors import UserError
from s02jax.data import records
from s02jax.pretrained import silero
from s02jax.text import front, phonetic

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


def line_of(path: str, **fields) -> dict:
  line = {"path": path, "text": "hello", "language": "en", "speaker": "ann"}
  return line | fields


def good_lines() -> list[dict]:
  return [
    line_of(path, text=f"text number {n}", speaker="ann" if n % 2 else "bob")
    for n, path in enumerate(GOOD)
  ]


# line or fields, and what the reason must say
BAD = (
  (line_of("none.wav"), "does not exist"),
  (line_of("empty.wav"), "file is empty"),
  (line_of("folder.wav"), "not a file"),
  (line_of("words.wav"), "not audio"),
  (line_of("cut.flac"), "corrupt"),
  (line_of("header.flac"), "corrupt"),
  (line_of("silent.wav"), "silent"),
  (line_of("offset.wav"), "silent"),
  (line_of("clipped.wav"), "clipped"),
  (line_of("clipped_low.wav"), "clipped"),
  (line_of("nan.wav"), "not finite"),
  (line_of("blip.wav"), "shorter than --min_seconds 0.3"),
  (line_of("long.wav"), "3000.0 s is longer than the 300 s"),
  (
    line_of("a.wav", id="1", language="fil"),
    "'fil' is unknown: the codes are zh",
  ),
  (line_of("a.wav", id="2", language=7), "'language' is 7, not a string"),
  (line_of("a.wav", id="3", text="  "), "text is empty"),
  (line_of("a.wav", id="4", text="?!"), "no letter and no digit"),
  (line_of("a.wav", id="5", text="a\ud800"), "unpaired surrogate"),
  (line_of("a.wav", id="6", text=None), "not a string"),
  (line_of("a.wav", id="7", speaker=""), "'speaker' is empty"),
  (line_of("a.wav"), "id 'a.wav' is already used by line 1"),
  (line_of("", id="8"), "'path' is not the name"),
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
  corpus_cli.main(["manifest", str(path), "--out", str(out), *flags])
  lines = (out / "rejected.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def faulty(recordings, tmp_path_factory) -> tuple[pathlib.Path, list[dict]]:
  path = recordings / "faulty.jsonl"
  write_manifest(path, [*good_lines(), "", *(line for line, _ in BAD)])
  out = tmp_path_factory.mktemp("faulty") / "corpus"
  return out, build_manifest(path, out, *ALL_TRAIN)


def test_what_is_good_is_built(faulty):
  out, _ = faulty
  train = records.Corpus.open(out, "train")
  assert [train.record(i).source for i in range(len(train))] == list(GOOD)
  assert train.rate == 16_000
  for index in range(len(train)):
    record = train.record(index)
    number = ("zero", "one", "two", "three", "four", "five", "six")[index]
    assert record.text == f"text number {number}"  # as it is spoken
    loudness = pyloudnorm.Meter(16_000).integrated_loudness(record.wave)
    assert loudness == pytest.approx(-23, abs=0.7) or (
      np.abs(record.wave).max() == pytest.approx(CEILING, abs=0.01)
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
  with pytest.raises(recording.Refused, match="longer"):
    recording.speech(recordings / "long.wav", 16_000, longest=300.0)
  assert time.perf_counter() - start < 0.1


def test_clips_without_text_are_kept_on_request(recordings, tmp_path):
  path = recordings / "silent_text.jsonl"
  lines = [line | {"text": ""} for line in good_lines()]
  write_manifest(path, [*lines[:3], line_of("g.wav", text="spoken")])
  with pytest.raises(UserError, match="longer|no clip|cannot"):
    build_manifest(recordings / "none.jsonl", tmp_path / "c")
  assert not build_manifest(
    path, tmp_path / "c", *ALL_TRAIN, "--allow_empty_text"
  )
  train = records.Corpus.open(tmp_path / "c", "train")
  assert [train.text(i) for i in range(4)] == ["", "", "", "spoken"]


def test_nothing_usable_is_one_sentence(recordings, tmp_path):
  write_manifest(recordings / "useless.jsonl", [line_of("silent.wav")])
  with pytest.raises(UserError, match="no clip .* line 1: silent"):
    build_manifest(recordings / "useless.jsonl", tmp_path / "c")
  with pytest.raises(UserError, match="not a share"):
    build_manifest(
      recordings / "useless.jsonl", tmp_path / "c", "--held_out_texts", "2"
    )
  assert not list(tmp_path.iterdir())


def entry_of(path, text="the light is on") -> manifest.ManifestEntry:
  return manifest.ManifestEntry(
    line=3, id="x", path=path, text=text, language="en", speaker="ann",
    emotion="", description="",
  )  # fmt: skip


def make(path: pathlib.Path, **fields) -> manifest.Made | manifest.Rejection:
  return manifest.make_example(
    manifest.Task(
      entry=entry_of(path.name, **fields),
      split="train",
      path=path,
      arguments=manifest.ManifestArguments(),
    )
  )


def test_a_recording_is_read_whatever_its_name(tmp_path):
  write = tmp_path / "clip.wav"
  soundfile.write(write, speech_like(1, 16_000), 16_000)
  made = make(write.rename(tmp_path / "clip.raw"))
  assert isinstance(made, manifest.Made)
  assert made.example.num_samples == pytest.approx(1.1 * 16_000, rel=0.1)


def test_no_file_ends_the_build(tmp_path, monkeypatch):
  def broken(*args, **options):
    raise TypeError("no such thing")

  monkeypatch.setattr(recording, "speech", broken)
  made = make(tmp_path / "a.wav")
  assert isinstance(made, manifest.Rejection)
  assert made.line == 3 and "TypeError: no such thing" in made.reason


def test_silence_does_not_count_to_the_length(tmp_path):
  path = tmp_path / "a.wav"
  quiet = np.zeros(25 * 16_000, np.float32)
  wave = np.concatenate([quiet, speech_like(9, 16_000)])
  soundfile.write(path, wave, 16_000)
  made = make(path)
  assert isinstance(made, manifest.Made)
  assert made.example.num_samples == pytest.approx(9.1 * 16_000, rel=0.05)
  soundfile.write(path, speech_like(31, 16_000), 16_000)
  made = make(path)
  assert isinstance(made, manifest.Rejection)
  assert "is longer than --max_seconds 30" in made.reason


def test_a_text_too_long_for_its_recording_is_refused(tmp_path):
  path = tmp_path / "a.wav"
  soundfile.write(path, speech_like(1, 16_000), 16_000)
  text = "the light is on and nobody is at home again and again "
  refused, doubtful = make(path, text=5 * text), make(path, text=text)
  assert isinstance(refused, manifest.Rejection)
  assert "part of the recording is missing" in refused.reason
  assert isinstance(doubtful, manifest.Made)
  assert any("to read" in reason for reason in doubtful.warnings)


@pytest.mark.skipif(not silero.is_installed(), reason=silero.MISSING)
def test_noise_is_taken_with_a_warning(recordings, tmp_path, capsys):
  path = recordings / "noise.jsonl"
  write_manifest(path, good_lines()[:2])
  build_manifest(path, tmp_path / "c", *ALL_TRAIN)
  lines = (tmp_path / "c" / "warnings.jsonl").read_text().splitlines()
  found = [json.loads(line) for line in lines]
  assert [(row["line"], row["path"]) for row in found] == [
    (1, "a.wav"),
    (2, "b.flac"),
  ]
  assert all("nobody seems to speak" in row["reason"] for row in found)
  card = json.loads((tmp_path / "c" / "card.json").read_text())
  assert card["warnings"] == 2
  assert "2 warnings" in capsys.readouterr().out


def test_a_missing_detector_is_said_once(
  recordings, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(silero, "is_installed", lambda: False)
  path = recordings / "noise.jsonl"
  write_manifest(path, good_lines()[:2])
  build_manifest(path, tmp_path / "c", *ALL_TRAIN)
  said = capsys.readouterr().out
  assert said.count("pip install --no-deps silero-vad") == 1


@pytest.mark.parametrize("count", [1, 2, 3, 12])
@pytest.mark.parametrize("readers", [("en",), ("en", "de")])
def test_a_corpus_of_one_reader_a_language_holds_texts_out(
  recordings, tmp_path, capsys, count, readers
):
  """However small it is; without a speaker to spare nobody is unseen."""
  path = recordings / "reader.jsonl"
  numbers = ("one", "two", "three", "four", "five", "six")
  lines = [
    line_of("a.wav", id=f"{code} {i}", text=f"{numbers[i % 6]} {'x' * i}")
    | {"speaker": f"reader {code}", "language": code}
    for code in readers
    for i in range(count)
  ]
  write_manifest(path, lines)
  assert not build_manifest(path, tmp_path / "c", "--processes=1")
  splits = {s: records.Corpus.open(tmp_path / "c", s) for s in records.SPLITS}
  assert not len(splits["unseen"])
  assert bool(len(splits["seen"])) == (count > 1)
  assert set(splits["seen"].speaker) <= set(splits["train"].speaker)
  told = capsys.readouterr().out
  assert "The split unseen is empty" in told
  assert ("The split seen is empty" in told) == (count == 1)
  if count > 1:
    assert records.held_out(tmp_path / "c").split == "seen"
  else:
    with pytest.raises(UserError, match="holds out no clip"):
      records.held_out(tmp_path / "c")


def random_manifest(path: pathlib.Path, rng: random.Random) -> None:
  """Writes a manifest of a few big readers, many small ones, shared texts."""
  lines = []
  for speaker in range(rng.randrange(3, 40)):
    language = rng.choice(["en", "de", "pt-br"])
    story = rng.randrange(5)
    for clip in range(rng.choice([1, 2, 3, 30])):
      words = rng.choice([f"Story {story}, page {clip}!", f"own {speaker}", ""])
      lines.append(
        line_of(f"{len(lines)}.wav", text=words, speaker=f"s{speaker}")
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
  entries = {split: list(plan.entries(split)) for split in records.SPLITS}
  rejected = list(plan.rejections())
  total = len((tmp_path / "m.jsonl").read_text().splitlines())
  assert sum(map(len, entries.values())) == len(plan) == total - len(rejected)
  texts = {
    split: {manifest.text_key(r.text) for r in found if r.text}
    for split, found in entries.items()
  }
  speakers = {split: {r.speaker for r in r_} for split, r_ in entries.items()}
  assert not texts["train"] & (texts["seen"] | texts["unseen"])
  assert not texts["seen"] & texts["unseen"]
  assert not speakers["unseen"] & (speakers["train"] | speakers["seen"])
  assert speakers["seen"] <= speakers["train"]
  held = [r for r in rejected if "unseen split" in r.reason]
  budget = arguments.unseen_budget * total
  assert len(entries["unseen"]) + len(held) <= budget
  again = manifest.Plan(tmp_path / "m.jsonl", arguments)
  assert list(again.entries("unseen")) == entries["unseen"]


@pytest.mark.parametrize(
  ("written", "text"),
  [
    ("\ufeffGood\u00a0mor\u00adning\u200b.", "Good morning."),
    ("GOOD MORNING, DR. SMITH!", "Good morning, Doctor Smith!"),
    ("1984", "nineteen eighty-four"),
    ("two\n lines  here", "two lines here"),
  ],
)
def test_a_text_is_written_as_synthesis_reads_it(tmp_path, written, text):
  write_manifest(tmp_path / "m.jsonl", [line_of("a.wav", text=written)])
  (entry,) = manifest.read_entries(tmp_path / "m.jsonl", False)
  assert entry.text == text == front.read(written, "en").text


def test_nothing_but_the_unseen_is_no_text(tmp_path):
  lines = [line_of("a.wav", text=text) for text in ("\u200b \ufeff", "🎉")]
  write_manifest(tmp_path / "m.jsonl", lines)
  first, second = manifest.read_entries(tmp_path / "m.jsonl", False)
  assert "text is empty" in first.reason
  assert "no letter and no digit" in second.reason


def test_the_card_records_the_rules_of_the_texts(faulty):
  card = json.loads((faulty[0] / "card.json").read_text())
  assert card["texts"] == front.RULES


def test_words_by_their_sounds_are_in_train_alone(recordings, tmp_path):
  pytest.importorskip("pypinyin")
  path = recordings / "sounds.jsonl"
  text = "seven birds sang near that house"
  write_manifest(path, [
    line_of("a.wav", id=f"{i}", text=f"{text} {'x' * i}") for i in range(6)
  ])  # fmt: skip
  flags = ("--processes=1", "--sounds=0.5")
  assert not build_manifest(path, tmp_path / "c", *flags)
  splits = {s: records.Corpus.open(tmp_path / "c", s) for s in records.SPLITS}
  train = [splits["train"].text(i) for i in range(len(splits["train"]))]
  assert any(phonetic.hold(text, "en")[1] for text in train)
  assert all("(" not in splits["seen"].text(i) for i in range(1))
  card = json.loads((tmp_path / "c" / "card.json").read_text())
  assert card["texts"] == front.RULES | {"sounds": "en zh"}
  # The same again is the same corpus, another share is another one.
  assert not build_manifest(path, tmp_path / "c", *flags)
  with pytest.raises(UserError):
    build_manifest(path, tmp_path / "c", "--processes=1")


def test_texts_that_sound_alike_share_a_key():
  key = manifest.text_key
  assert key("Hello, World!") == key("hello world")
  assert key("Ça va?") != key("Ca va?")
  assert key("...") == "..."
