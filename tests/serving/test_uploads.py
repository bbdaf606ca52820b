"""Uploads: decoded by a process that can do nothing else."""

import io
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from s02jax.audio import recording
from s02jax.serving.server import uploads
from s02jax.serving.server.refusals import Refusal

pytestmark = pytest.mark.processes


def sound(kind, seconds=1.0, rate=16000):
  data = io.BytesIO()
  tone = 0.3 * np.sin(np.arange(int(seconds * rate)) * 0.1)
  soundfile.write(data, tone, rate, format=kind)
  return data.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "MP3"])
def test_an_upload_is_what_its_file_is(kind):
  data = sound(kind)
  wave, rate = uploads.decode(data, 60.0)
  expected, known = recording.read(data)
  assert rate == known
  np.testing.assert_array_equal(wave, expected)


def test_no_more_is_decoded_than_asked():
  wave, rate = uploads.decode(sound("FLAC", 3.0), 1.0)
  assert len(wave) == rate


PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
  "data",
  [b"", b"RIFF", os.urandom(5000), sound("WAV")[:44], PLAYLIST, b"\0" * 100],
)
def test_what_is_no_recording_is_one_sentence(data):
  with pytest.raises(Refusal) as caught:
    uploads.decode(data, 60.0)
  message = str(caught.value)
  assert message.startswith("the recording") and message.endswith(".")
  assert "\n" not in message and "/" not in message
  assert caught.value.kind == "invalid_request"


def in_process(code):
  """Runs code where uploads are decoded; its exit code and stderr."""
  ours = (
    "from s02jax.serving.server import uploads\n"
    "uploads._import_decoders(); uploads._renounce()\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", ours + code], capture_output=True, text=True
  )
  return done.returncode, done.stderr


@pytest.mark.parametrize(
  ("code", "error"),
  [
    ("open('/etc/passwd')", "Too many open files"),
    ("import socket; socket.socket()", ""),
    ("import os; os.open('/tmp/x', os.O_CREAT)", "Too many open files"),
    ("import os; os.pipe()", "Too many open files"),
    ("b'x' * (4 << 30)", "MemoryError"),
  ],
)
def test_the_process_can_open_nothing(code, error):
  status, told = in_process(code)
  assert status and error in told


def test_the_process_has_little_time(monkeypatch):
  code = f"import sys; sys.exit({uploads.CPU} > 60)"
  assert in_process(code)[0] == 0
  code = (
    "import resource\n"
    "assert resource.getrlimit(resource.RLIMIT_CPU) == (20, 20)"
  )
  assert in_process(code) == (0, "")
  monkeypatch.setattr(uploads, "PATIENCE", 0.001)
  with pytest.raises(Refusal, match="too long"):
    uploads.decode(sound("WAV"), 60.0)
  # The limits are the other process's alone.
  assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 3
