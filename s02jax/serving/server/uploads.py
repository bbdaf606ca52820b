"""Uploaded recordings, decoded by another process that can do nothing else.

The process has limits of memory and time, and once it has imported its decoders
it can open neither files nor sockets: a recording that takes a decoder over, or
names other files, gets nowhere.
"""

import io
import os
import resource
import subprocess
import sys
import tempfile

import numpy as np

from s02jax.audio import recording
from s02jax.serving.server.refusals import Refusal

MEMORY = 3 << 30  # bytes of address space
CPU = 20  # seconds of computing
PATIENCE = 60.0  # seconds of waiting
_MODULE = "s02jax.serving.server.uploads"


def decode(data: bytes, longest: float) -> tuple[np.ndarray, int]:
  """Decodes an uploaded recording to samples float32 [n] and their rate in Hz.

  Args:
    data: content of a file, of any kind that `audio.recording` reads.
    longest: most seconds that are decoded.

  Raises:
    Refusal: it is no recording that can be used.
  """
  if not data:
    raise _refusal("the recording is empty.")
  keep = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
  env = {name: os.environ[name] for name in keep if name in os.environ}
  with tempfile.TemporaryDirectory() as nowhere:
    try:
      done = subprocess.run(
        [sys.executable, "-m", _MODULE, str(longest)],
        input=data,
        capture_output=True,
        timeout=PATIENCE,
        cwd=nowhere,
        env=env | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
      )
    except subprocess.TimeoutExpired:
      raise _refusal(
        "the recording takes too long to decode; send WAV or FLAC."
      ) from None
  if done.returncode == 0 and len(done.stdout) >= 4:
    rate = int.from_bytes(done.stdout[:4], "little")
    return np.frombuffer(done.stdout[4:], "<f4"), rate
  if done.returncode == 2:
    raise _refusal(done.stderr.decode(errors="replace").strip())
  raise _refusal(
    "the recording takes more memory or time to decode than it may; send a"
    " shorter one, as WAV or FLAC."
  )


def _refusal(message: str) -> Refusal:
  """Refusal of a recording."""
  return Refusal("invalid_request", message, param="file")


# ------------------------------------------------------------- that process


def _main(longest: float) -> int:
  """Decodes stdin to stdout: the rate, 4 bytes, and samples float32."""
  data = sys.stdin.buffer.read()
  _import_decoders()
  _renounce()
  try:
    wave, rate = recording.read(data, longest=longest, whole=False)
  except recording.Refused as error:
    sys.stderr.write(f"the recording: {error.reason}.")
    return 2
  except MemoryError:
    return 3
  sys.stdout.buffer.write(rate.to_bytes(4, "little"))
  sys.stdout.buffer.write(wave.astype("<f4").tobytes())
  return 0


def _import_decoders() -> None:
  """Reads a file that libsndfile cannot, so that all is imported."""
  from s02jax.audio.stream import StreamEncoder

  try:
    encoder = StreamEncoder("aac", 16000)
  except recording.UserError:  # no PyAV: libsndfile alone decodes
    return
  tone = np.sin(np.arange(8000) * 0.1)
  sound = encoder.push(tone) + encoder.finish()
  recording.read(io.BytesIO(sound).getvalue())


def _renounce() -> None:
  """Gives up memory, time, and the opening of files and sockets."""
  for limit, value in (
    (resource.RLIMIT_AS, MEMORY),
    (resource.RLIMIT_CPU, CPU),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_NOFILE, 3),
  ):
    resource.setrlimit(limit, (value, value))


if __name__ == "__main__":
  sys.exit(_main(float(sys.argv[1])))
