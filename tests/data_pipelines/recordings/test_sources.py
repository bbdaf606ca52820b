"""Sources of recordings: every layout is listed as it is released."""

import io
import json
import tarfile

import numpy as np
import pytest
import soundfile

from data_pipelines.recordings import settings, sources
from data_pipelines.recordings.items import Recording
from s02jax.audio import recording
from s02jax.core.errors import UserError


def _sound(format="WAV"):
  file = io.BytesIO()
  soundfile.write(file, np.zeros(1600), 16_000, format=format)
  return file.getvalue()


def _write(root, files):
  for name, content in files.items():
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(data)


def _rows(source):
  found = list(sources.listed(str(source))())
  good = [x for x in found if isinstance(x, Recording)]
  told = [(x.uri, x.text, x.language, x.speaker) for x in good]
  return told, [x for x in found if not isinstance(x, Recording)]


LAYOUTS = {
  "audiofolder": (
    {"train/metadata.csv": "file_name,transcription,speaker\na.wav,Hi all,x\n",
     "train/a.wav": _sound()},
    ("train/a.wav", "Hi all", "", "x"),
  ),
  "audiofolder lines": (
    {"metadata.jsonl": '{"file_name": "a.wav", "text": "Hi", "language": "de"}',
     "a.wav": _sound()},
    ("a.wav", "Hi", "de", ""),
  ),
  "ljspeech": (
    {"metadata.csv": "LJ1|In 1 \"go|In one go\n", "wavs/LJ1.wav": _sound()},
    ("wavs/LJ1.wav", "In one go", "", "SET"),
  ),
  "common_voice": (
    {"validated.tsv":
       'client_id\tpath\tsentence\tlocale\nabc\tx.mp3\tEr sagte "Ja\tde\n',
     "clips/x.mp3": _sound("MP3")},
    ("clips/x.mp3", 'Er sagte "Ja', "de", "abc"),
  ),
  "vctk": (
    {"txt/p225/p225_001.txt": "Please call Stella.\n",
     "wav48_silence_trimmed/p225/p225_001_mic1.flac": _sound("FLAC"),
     "wav48_silence_trimmed/p225/p225_001_mic2.flac": _sound("FLAC")},
    ("wav48_silence_trimmed/p225/p225_001_mic1.flac", "Please call Stella.",
     "en", "p225"),
  ),
  "libritts": (
    {"84/121/84_121_0.normalized.txt": "Go on.",
     "84/121/84_121_0.wav": _sound()},
    ("84/121/84_121_0.wav", "Go on.", "en", "84"),
  ),
  "librispeech": (
    {"84/121/84-121.trans.txt": "84-121-0000 GO ON\n",
     "84/121/84-121-0000.flac": _sound("FLAC")},
    ("84/121/84-121-0000.flac", "go on", "en", "84"),
  ),
  "emilia": (
    {"a/x.json": '{"text": "Hallo", "language": "de", "speaker": "s"}',
     "a/x.mp3": _sound("MP3")},
    ("a/x.mp3", "Hallo", "de", "s"),
  ),
  "folder": (
    {"b/x.wav": _sound(), "b/x.txt": "Hello  there", "b/readme.md": "no"},
    ("b/x.wav", "Hello there", "", ""),
  ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_read_as_it_is_released(name, tmp_path):
  files, row = LAYOUTS[name]
  _write(tmp_path / "SET", files)
  assert _rows(tmp_path / "SET") == ([row], [])


def test_recordings_in_archives_are_read_where_they_lie(tmp_path):
  with tarfile.open(tmp_path / "00.tar", "w") as archive:
    for name, data in (
      ("k/1.flac", _sound("FLAC")),
      ("k/1.json", json.dumps({"text": "eins", "language": "de"}).encode()),
      ("k/2.flac", _sound("FLAC")),
    ):
      info = tarfile.TarInfo(name)
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))
  told, unread = _rows(tmp_path)
  assert told == [("00.tar/k/1.flac", "eins", "de", ""),
                  ("00.tar/k/2.flac", "", "", "")]  # fmt: skip
  assert not unread
  for item in sources.listed(str(tmp_path / "*.tar"))():
    assert isinstance(item, Recording)
    assert len(recording.read(item.data())[0]) == 1600
    assert Recording.from_json(item.to_json()) == item


def test_a_bad_row_is_named_and_the_others_are_read(tmp_path):
  lines = [
    "no json", '{"text": "x"}', '{"path": "gone.wav"}',
    '{"path": "a.wav", "language": "klingon"}',
    '{"path": "a.wav", "text": 3}',
    '{"path": "a.wav", "segments": [{"start": 0}]}',
    '{"path": "a.wav", "segments": [{"start": 0, "end": 1, "text": "a"}]}',
  ]  # fmt: skip
  _write(tmp_path, {"a.wav": _sound(), "m.jsonl": "\n".join(lines)})
  told, unread = _rows(tmp_path / "m.jsonl")
  assert [row[0] for row in told] == ["a.wav"]
  reasons = [row.reason for row in unread]
  assert len(reasons) == 6
  for reason, word in zip(
    reasons, ("JSON", "path", "not exist", "klingon", "text", "segments"),
    strict=True,
  ):  # fmt: skip
    assert word in reason


def test_what_is_no_source_is_refused_in_a_sentence(tmp_path):
  _write(tmp_path, {"a.txt": "x"})
  for name in ("nothing", "a.txt", "*.wav"):
    with pytest.raises(UserError, match="source|exist|matches"):
      sources.listed(str(tmp_path / name))


def test_settings_are_read_from_a_file_and_the_command_line():
  found = settings.read("configs/corpora/wheels.py", {"rate": "24000"})
  assert found.rate == 24_000
  assert found.rules("en").second == "faster-whisper:tiny.en"
  assert found.rules("de").second == ""
  assert settings.read("", {"without": "quality,pauses"}).runs("agreement")


@pytest.mark.parametrize(
  ("fields", "word"),
  [
    ({"rat": "1"}, "rate"),
    ({"rate": "x"}, "number"),
    ({"rate": "16001"}, "multiple"),
    ({"without": "qualty"}, "quality"),
    ({"heard": "x"}, "file"),
    ({"unseen_speakers": "1"}, "share"),
  ],
)
def test_a_wrong_setting_is_named(fields, word):
  with pytest.raises(UserError, match=word):
    settings.read("", fields)
