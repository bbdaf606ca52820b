"""Audio files that are damaged at random, and what a full decode makes of them.

Free of JAX and pytest, for `alone.run`.
"""

import functools
import io
import random

import numpy as np
import soundfile

from s02jax.audio import recording
from s02jax.audio.containers import LOST

LONGEST = 60.0  # seconds, as of a reference or a corpus
RATE = 16_000
_FORMATS = (
  ("WAV", "PCM_16", 1), ("WAV", "FLOAT", 2), ("WAV", "IMA_ADPCM", 1),
  ("WAVEX", "PCM_24", 2), ("RF64", "PCM_16", 1), ("W64", "PCM_16", 1),
  ("AIFF", "PCM_16", 1), ("AU", "ULAW", 1), ("CAF", "PCM_16", 1),
  ("FLAC", "PCM_16", 1), ("OGG", "VORBIS", 1), ("OGG", "OPUS", 2),
  ("MP3", "MPEG_LAYER_III", 1),
)  # fmt: skip
_CONTAINERS = (
  ("mp4", "aac"), ("adts", "aac"), ("webm", "libopus"), ("matroska", "aac"),
)  # fmt: skip


def check(seed: int) -> str | None:
  """Reads a damaged file; returns its fault, "" where it was rightly refused.

  A fault is sound that a full decode has and the reading lacks, a sentence of
  two lines, or samples that are no numbers.
  """
  what, data = damaged(seed)
  try:
    wave, rate = recording.read(data, longest=LONGEST)
    sound = _speech(data)
  except recording.Refused as error:
    return f"{what}: {error}" if "\n" in str(error) else ""
  seconds, whole = len(wave) / rate, min(full_decode(data), LONGEST)
  if seconds < whole - LOST:
    return f"{what}: {seconds:.3f} of {whole:.3f} s"
  if not np.all(np.isfinite(wave)) or not np.all(np.isfinite(sound)):
    return f"{what}: samples that are no numbers"
  return None


def _speech(data: bytes) -> np.ndarray:
  """Sound of a file that can be read; nothing where it is silent, say."""
  try:
    return recording.speech(data, RATE, longest=LONGEST)
  except recording.Refused:
    return np.zeros(0, np.float32)


def full_decode(data: bytes) -> float:
  """Seconds that FFmpeg decodes of a file, over all errors that it can pass."""
  import av

  total = 0.0
  try:
    with av.open(io.BytesIO(data), "r") as container:
      for packet in container.demux(container.streams.audio[0]):
        try:
          for frame in packet.decode():
            total += frame.samples / frame.sample_rate
        except av.FFmpegError:
          pass
        if total > LONGEST:
          break
  except (av.FFmpegError, ValueError, IndexError, ZeroDivisionError):
    pass
  return total


def damaged(seed: int) -> tuple[str, bytes]:
  """Makes a damaged file: what it is, and its bytes."""
  rng = random.Random(seed)
  kinds = len(_FORMATS) + len(_CONTAINERS)
  kind, other = rng.randrange(kinds), rng.randrange(kinds)
  data = bytearray(whole(kind))
  damage = rng.choice(_DAMAGES)
  if damage is _join:
    second = whole(rng.choice((kind, other)), rng.choice((RATE, 24_000)))
    data = bytearray(data + second)
  else:
    damage(data, rng)
    if rng.random() < 0.2:
      (rng.choice(_DAMAGES[:-1]))(data, rng)
  name = (*_FORMATS, *_CONTAINERS)[kind]
  return f"{name[0]} {name[1]} {damage.__name__}", bytes(data)


def _flip(data: bytearray, rng: random.Random) -> None:
  for _ in range(rng.choice((1, 3, 30))):
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _flip_header(data: bytearray, rng: random.Random) -> None:
  for _ in range(rng.choice((1, 3))):
    data[rng.randrange(min(200, len(data)))] ^= 1 << rng.randrange(8)


def _set_field(data: bytearray, rng: random.Random) -> None:
  size = rng.choice((1, 2, 4))
  at = rng.randrange(min(120, len(data)))
  value = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80", b"\x01"))
  data[at : at + size] = value * size


def _cut(data: bytearray, rng: random.Random) -> None:
  del data[rng.randrange(1, len(data)) :]


def _leave_out(data: bytearray, rng: random.Random) -> None:
  at = rng.randrange(len(data))
  del data[at : at + rng.randrange(1, 4000)]
  data += b"" if data else b"x"


def _insert(data: bytearray, rng: random.Random) -> None:
  at = rng.randrange(len(data))
  data[at:at] = rng.randbytes(rng.randrange(1, 4000))


def _join(data: bytearray, rng: random.Random) -> None:
  """Stands for the join of two files, which `damaged` makes."""


_DAMAGES = (_flip, _flip_header, _set_field, _cut, _leave_out, _insert, _join)


@functools.cache
def whole(kind: int, rate: int = RATE) -> bytes:
  """File of 1.5 s of noise in bursts, in one of the formats."""
  rng = np.random.default_rng(kind)
  if kind < len(_FORMATS):
    container, coding, channels = _FORMATS[kind]
    wave = 0.1 * rng.normal(size=(rate * 3 // 2, channels)).clip(-3, 3)
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format=container, subtype=coding)
    return buffer.getvalue()
  container, coding = _CONTAINERS[kind - len(_FORMATS)]
  rate = 48_000 if coding == "libopus" else rate
  wave = 0.1 * rng.normal(size=(1, rate * 3 // 2)).clip(-3, 3)
  return encode_by_av(wave, rate, container, coding)


def encode_by_av(
  wave: np.ndarray, rate: int, container: str, coding: str
) -> bytes:
  """Encodes [channels, n] by FFmpeg, mono or stereo."""
  import av

  buffer = io.BytesIO()
  layout = ("mono", "stereo")[len(wave) - 1]
  with av.open(buffer, "w", format=container) as out:
    stream = out.add_stream(coding, rate=rate, layout=layout)
    frame = av.AudioFrame.from_ndarray(
      np.ascontiguousarray(wave, np.float32), "fltp", layout
    )
    frame.sample_rate = rate
    form = stream.codec_context.format
    if form.name != "fltp":
      resampler = av.AudioResampler(format=form.name, layout=layout, rate=rate)
      frames = resampler.resample(frame)
    else:
      frames = [frame]
    for frame in frames:
      for packet in stream.encode(frame):
        out.mux(packet)
    for packet in stream.encode(None):
      out.mux(packet)
  return buffer.getvalue()
