"""Records as bytes: the same in every process."""

import subprocess
import sys

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
