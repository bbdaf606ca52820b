"""Records as bytes: the same in every process."""

import subprocess
import sys

import tensorflow_datasets as tfds

from data_pipelines import speech
from s02jax.data import records

_DIGEST = """
import hashlib
from data_pipelines import speech
record = dict.fromkeys(
  ("id", "text", "language", "speaker", "source", "emotion", "description"), "a"
) | {"audio": b"flac", "num_samples": 3, "duration": 1.0}
print(hashlib.sha256(speech.serialiser()(record)).hexdigest())
"""


def test_a_record_is_the_same_bytes_in_every_process():
  found = {
    subprocess.run(
      [sys.executable, "-c", _DIGEST],
      check=True, capture_output=True, text=True,
    ).stdout
    for _ in range(3)
  }  # fmt: skip
  assert len(found) == 1


def test_a_split_of_many_files_is_read_in_order(tmp_path, monkeypatch):
  monkeypatch.setattr(speech, "_FILE_BYTES", 2000)
  fields = dict.fromkeys(
    ("text", "language", "speaker", "source", "emotion", "description"), "a"
  )
  rows = [
    fields
    | {"id": str(i), "audio": bytes(300), "num_samples": i, "duration": 1.0}
    for i in range(20)
  ]
  speech.write(tmp_path, "Sounds.", {"train": rows, "seen": rows[:1]})
  path = records.CorpusFiles(tmp_path).records
  assert len(list(path.glob("speech-train.*"))) > 2
  assert not list(path.glob("*.part"))
  found = records._open_records(records.CorpusFiles(tmp_path), "train")
  assert len(found) == 20
  again = tfds.builder_from_directory(str(path)).as_data_source("train")
  assert [row["id"].decode() for row in again] == [r["id"] for r in rows]
