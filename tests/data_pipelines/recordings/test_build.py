"""Whole builds by Beam's direct runner, from recordings to a corpus folder."""

import hashlib
import json
import pathlib

import numpy as np
import pytest
import soundfile

pytest.importorskip("apache_beam")

from data_pipelines.recordings import build, settings, steps, store
from data_pipelines.recordings.networks import Networks
from s02jax.core.errors import UserError
from s02jax.core.shard import WHOLE, Shard
from s02jax.data import records
from tests.spoken import SENTENCES, VOICES, spoken

RATE = 16_000
PLAIN = ("agreement", "one_speaker", "quality", "attributes")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  """Folder of recordings by four voices, a copy among them, and bad files."""
  folder = tmp_path_factory.mktemp("source")
  rows = []
  for number, (name, voice) in enumerate(VOICES.items()):
    said, parts, at = [], [], 0.0
    for text in SENTENCES[2 * number : 2 * number + 4]:
      wave = np.asarray(spoken(text, voice), np.float32)
      end = at + len(wave) / RATE
      said.append({"start": at, "end": end, "text": text})
      parts += [wave, np.zeros(RATE)]
      at = end + 1
    sound = np.concatenate(parts)
    soundfile.write(folder / f"{name}.wav", 0.5 * sound, 2 * RATE // 2)
    rows.append({"path": f"{name}.wav", "segments": said, "language": "en"})
    if name == "ann":
      soundfile.write(folder / "copy.flac", 0.3 * sound, RATE)
      rows.append(rows[-1] | {"path": "copy.flac"})
  (folder / "cut.wav").write_bytes((folder / "ben.wav").read_bytes()[:50_000])
  (folder / "text.mp3").write_text("this is no sound")
  soundfile.write(folder / "still.wav", np.zeros(3 * RATE), RATE)
  rows += [{"path": f, "language": "en"} for f in
           ("cut.wav", "text.mp3", "still.wav", "gone.wav")]  # fmt: skip
  (folder / "m.jsonl").write_text("".join(json.dumps(x) + "\n" for x in rows))
  return folder / "m.jsonl"


def _settings(**others):
  values = {
    "without": PLAIN, "unseen_speakers": 0.13, "held_out_texts": 0.1, "seed": 0,
    "shard_megabytes": 1,
  }  # fmt: skip
  return settings.Settings(**(values | others))


def _build(source, out, *, part=WHOLE, **others):
  lines = []
  build.build(
    str(source), _settings(**others), out, build.Engine(), lines.append, part
  )
  return lines


def _bytes(folder: pathlib.Path) -> dict[str, str]:
  return {
    path.relative_to(folder).as_posix(): hashlib.sha256(
      path.read_bytes()
    ).hexdigest()
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }


@pytest.fixture(scope="module")
def corpus(source, tmp_path_factory):
  """Corpus that was built in one go."""
  out = tmp_path_factory.mktemp("built") / "corpus"
  _build(source, out)
  return out


def _kept(folder):
  found = []
  for split in records.SPLITS:
    part = records.Corpus.open(folder, split)
    found += [(split, part.record(i)) for i in range(len(part))]
  return found


def test_clips_have_their_texts_their_voice_and_their_own_record(corpus):
  kept = _kept(corpus)
  texts = [row.text.lower().rstrip(".").replace(",", "") for _, row in kept]
  assert set(texts) <= set(SENTENCES)
  assert len(kept) >= 12
  assert len({row.id for _, row in kept}) == len(kept)
  for _, row in kept:
    assert row.rate == RATE
    assert len(row.wave) % (RATE // 25) == 0
    assert 0.5 < len(row.wave) / RATE < 5
  by_speaker = {}
  for split, row in kept:
    by_speaker.setdefault(row.speaker, set()).add(row.source)
    assert split != "unseen" or row.text not in {
      other.text for name, other in kept if name != "unseen"
    }
  assert all(len(names) == 1 for names in by_speaker.values())


def test_every_refusal_is_named_with_its_step(corpus):
  rows = [
    json.loads(x) for x in (corpus / "rejected.jsonl").read_text().splitlines()
  ]
  steps_of = {}
  for row in rows:
    assert row["reason"]
    steps_of.setdefault(row["path"], set()).add(row["step"])
  assert steps_of["gone.wav"] == {"source"}
  assert steps_of["text.mp3"] == {"decode"}
  assert steps_of["cut.wav"] == {"decode"}
  assert steps_of["still.wav"] == {"pauses"}
  sources = {row.source for _, row in _kept(corpus)}
  # Either the recording or its copy is kept, never both.
  both = {"ann.wav", "copy.flac"}
  refused = [r for r in rows if r["step"] == "duplicates"]
  assert len(refused) >= 4
  assert {r["path"] for r in refused} <= both
  assert sources & both


def test_the_card_counts_what_is_there(corpus):
  card = json.loads((corpus / "card.json").read_text())
  kept = _kept(corpus)
  for split, part in card["splits"].items():
    mine = [row for name, row in kept if name == split]
    assert part["clips"] == len(mine)
    seconds = sum(len(row.wave) for row in mine) / RATE
    assert part["seconds"] == pytest.approx(seconds, abs=0.01)
  assert card["speakers"] == sorted(card["speakers"])
  page = (corpus / "corpus.html").read_text()
  assert page.count("<audio") >= 12
  assert "duplicate of a clip that is kept" in page


def test_a_build_that_was_stopped_ends_in_the_same_bytes(
  source, corpus, tmp_path, monkeypatch
):
  out = tmp_path / "corpus"
  write, calls = store.Store.write_found, []

  def stopped(self, shard, rows):
    calls.append(shard)
    if len(calls) == 2:
      raise KeyError("stopped here")
    write(self, shard, rows)

  monkeypatch.setattr(store.Store, "write_found", stopped)
  with pytest.raises(Exception, match="stopped here"):
    _build(source, out)
  assert not out.exists()
  monkeypatch.setattr(store.Store, "write_found", write)
  with pytest.raises(UserError, match="other settings"):
    _build(source, out, rate=24_000)
  lines = _build(source, out, part=Shard(1, 2))
  assert "without --shard" in lines[-1]
  _build(source, out)
  assert _bytes(out) == _bytes(corpus)
  assert not (tmp_path / ".corpus.build").exists()
  assert "already built" in _build(source, out)[0]


@pytest.mark.parametrize(
  ("splits", "kept"),
  [([0, 0, 2], [0, 0]), ([0, 2, 2], [2, 2]), ([0, 2], [2]), ([0, 0], [0, 0])],
)
def test_a_text_stays_where_more_clips_say_it(splits, kept):
  from data_pipelines.recordings import deciding

  rows = [{"split": x, "step": "", "reason": ""} for x in splits]
  found = deciding._held_out(("text", rows))
  assert [row["split"] for row in found if not row["reason"]] == kept


class _Fake(Networks):
  """Recognisers that hear what a test says."""

  def __init__(self, said):
    super().__init__()
    self._said = said

  def hear(self, spec, waves, code):
    return [self._said[spec]] * len(waves)


def _clip(text):
  from data_pipelines.recordings.items import Clip, Recording

  item = Recording(uri="a.wav", path="a.wav", text=text, language="en")
  wave = np.ones(3 * RATE, np.float32)
  return Clip(shard=0, recording=item, end=3.0, rate=RATE, wave=wave,
              heard=wave, language="en", given=text)  # fmt: skip


@pytest.mark.parametrize(
  ("given", "first", "second", "kept"),
  [
    ("", "A green door.", "a green door", True),
    ("", "A green door.", "the yellow house", False),
    ("A green door", "a green door", "never asked", True),
    ("The yellow house", "A green door.", "the yellow house", False),
    ("", "", "", False),
  ],
)
def test_two_texts_have_to_agree(given, first, second, kept):
  own = settings.Settings()
  rules = own.rules("en")
  fake = _Fake({rules.first: first, rules.second: second})
  clips = steps.hear([_clip(given)], own, fake)
  (clip,) = steps.agree(clips, own, fake)
  assert (not clip.reason) == kept
  if kept:
    assert clip.text.lower().startswith("a green door")


def test_a_step_that_fails_on_a_recording_refuses_that_one():
  def failing(clips, own, networks):
    if any(clip.recording.text == "bad" for clip in clips):
      raise ZeroDivisionError("odd")
    return clips

  import dataclasses

  good, bad = _clip("good"), _clip("bad")
  bad.recording = dataclasses.replace(bad.recording, uri="b.wav")
  found = steps.run(failing, [good, bad], settings.Settings(), Networks())
  assert [clip.reason for clip in found][0] == ""
  assert "ZeroDivisionError: odd" in found[1].reason
