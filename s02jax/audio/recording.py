"""One way in for recordings: files, bytes or samples to one channel of sound.

Corpora, references of voices and clips that are judged are all read here, so
that a recording means the same to each of them:

  read ──► mono float32 at its own rate: decoded whole, or refused with a reason
  speech ─► read, refused where silent or clipped, trimmed, levelled

libsndfile reads WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF and others; PyAV,
where it is installed, whatever else FFmpeg knows. Free of JAX, so that the
worker processes of the builders start quickly.
"""

import contextlib
import io
import mmap
import os
import pathlib
from collections.abc import Generator

import numpy as np
import soundfile

from s02jax.audio import containers, loudness
from s02jax.audio.containers import LOST, Bytes
from s02jax.core.errors import UserError

# Names by which recordings are found in a folder.
SUFFIXES = (
  ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac",
  ".webm", ".mka", ".wma", ".amr", ".aif", ".aiff", ".aifc", ".au", ".caf",
  ".w64",
)  # fmt: skip
LONGEST = 3600.0  # most seconds that are decoded, unless the caller says less
LOWEST_RATE, HIGHEST_RATE = 4_000, 384_000  # Hz
MOST_CHANNELS = 32
_MOST_VALUES = 1 << 27  # samples of all channels: 0.5 GB
_BUFFER = 1 << 16  # bytes that are handed to a decoder at a time
_BLOCK = 1 << 20  # samples that are decoded at a time
_UNKNOWN = 1 << 40  # least number of frames by which libsndfile says "unknown"
_LOUDEST = 2.0**31  # of a sample, were a whole number stored as it is
_FULL_SCALE = 0.999  # least amplitude of a sample that counts as cut off
_CLIPPED_SHARE = 0.01  # largest share of samples that may be cut off
_DEAD = 1e-2  # a channel is dead below this share of the loudest one (-40 dB)
_CANCELLED = 0.2  # channels cancel where their mean is below this share


class Refused(UserError):
  """Error of a recording that cannot be used.

  Attributes:
    reason: sentence without the name of the recording.
  """

  def __init__(self, name: str, reason: str):
    super().__init__(f"{name}: {reason}." if name else f"{reason}.")
    self.reason = reason


class _Fault(Exception):
  """Reason for which a recording is refused, on its way to `Refused`."""


def read(
  source, *, longest: float = LONGEST, whole: bool = True
) -> tuple[np.ndarray, int]:
  """Decodes a recording to one channel without a constant offset.

  Args:
    source: path of a file, its bytes, or (samples, rate) with samples [n] or
      [n, channels].
    longest: most seconds that are decoded.
    whole: refuse what is longer; else it is decoded no further than that.

  Returns:
    wave float32 [n], in -1..1 except for files of floats that go beyond; rate
    in Hz.

  Raises:
    Refused: no file, not audio, cut off, corrupt, joined of several, longer
      than `longest`, of an implausible rate or number of channels, or with
      samples that are not finite.
  """
  with _explained(source):
    if isinstance(source, tuple):
      samples, rate = source
      samples = np.asarray(samples)
      samples = samples[:, None] if samples.ndim == 1 else samples
      if samples.ndim != 2:
        raise _Fault(f"samples of the shape {samples.shape} are no recording")
      _check_header(rate, samples.shape[1])
      if whole:
        _check_length(len(samples) / rate, longest)
      samples = _as_floats(samples[: int(longest * rate)])
    else:
      with _opened(source) as data:
        samples, rate = _decode(data, longest, whole)
    return _repair(samples), int(rate)


def speech(
  source, to_rate: int, *, longest: float = LONGEST, whole: bool = True
) -> np.ndarray:
  """Reads a recording of speech: mono, trimmed, at `to_rate` and -23 LUFS.

  Args:
    source: as of `read`.
    to_rate: of the result, Hz.
    longest: most seconds that are decoded, before trimming.
    whole: refuse what is longer; else it is decoded no further than that.

  Returns:
    float32 [n].

  Raises:
    Refused: as by `read`; or silent, or clipped.
  """
  wave, rate = read(source, longest=longest, whole=whole)
  soft = loudness.soften(wave, rate)
  with _explained(source):
    _check_sound(wave, soft)
  peak = max(1.0, float(np.max(np.abs(soft))))
  return loudness.trim_and_level(soft / np.float32(peak), rate, to_rate)


def rate_of(source) -> int | None:
  """Sample rate of a file or its bytes in Hz; None if it is not readable."""
  try:
    with _explained(source), _opened(source) as data:
      _, rate = _decode(data, 0.01, whole=False)
    return rate
  except Refused:
    return None


class _Damage(_Fault):
  """Fault of the bytes of a file."""


# ---------------------------------------------------------------------- opening


@contextlib.contextmanager
def _explained(source) -> Generator[None]:
  """Turns all that may go wrong with a recording into `Refused`."""
  name = str(source) if isinstance(source, str | os.PathLike) else ""
  try:
    yield
  except _Fault as error:
    raise Refused(name, str(error)) from error
  except MemoryError as error:
    raise Refused(name, "too large for the memory of this machine") from error
  except OSError as error:
    reason = error.strerror or str(error)
    raise Refused(name, f"cannot be read: {reason}") from error


@contextlib.contextmanager
def _opened(source) -> Generator[Bytes]:
  """Opens a file, or its bytes, as something that slices to bytes."""
  if isinstance(source, bytes):
    if not source:
      raise _Fault("the file is empty")
    yield source
    return
  path = pathlib.Path(source)
  if not path.exists():
    raise _Fault("the file does not exist; give the path of a recording")
  if not path.is_file():
    raise _Fault("not a file; give the path of a recording")
  if not path.stat().st_size:
    raise _Fault("the file is empty")
  with (
    open(path, "rb") as file,
    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
  ):
    yield data


class _Patched(io.RawIOBase):
  """Binary file over bytes, a few of which are replaced."""

  def __init__(self, data: Bytes, patch: tuple[int, bytes] | None):
    super().__init__()
    self._data, self._patch, self._at = data, patch, 0

  def readable(self) -> bool:
    return True

  def seekable(self) -> bool:
    return True

  def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
    base = (0, self._at, len(self._data))[whence]
    self._at = max(0, base + offset)
    return self._at

  def tell(self) -> int:
    return self._at

  def readinto(self, buffer) -> int:
    found = bytearray(self._data[self._at : self._at + len(buffer)])
    if self._patch:
      first, new = self._patch
      for i, byte in enumerate(new, start=first - self._at):
        if 0 <= i < len(found):
          found[i] = byte
    buffer[: len(found)] = found
    self._at += len(found)
    return len(found)


# --------------------------------------------------------------------- decoding


def _decode(data: Bytes, longest: float, whole: bool) -> tuple[np.ndarray, int]:
  """Decodes to f32[n, channels] and a rate; raises _Fault."""
  account = containers.inspect(data)
  try:
    if account.fault:
      raise _Damage(account.fault)
    samples, rate = _decode_by_any(data, account, longest, whole)
  except _Damage as error:
    if containers.is_joined(data):
      raise _Fault(containers.JOINED) from error
    raise
  if len(samples) < int(longest * rate) and containers.is_joined(data):
    raise _Fault(containers.JOINED)
  return samples, rate


def _decode_by_any(
  data: Bytes, account: containers.Account, longest: float, whole: bool
) -> tuple[np.ndarray, int]:
  """Decodes by libsndfile, else by PyAV."""
  hint = ""
  try:
    samples, rate = _decode_sndfile(data, account, longest, whole)
    fault = _loss(samples, rate, account.seconds, longest)
    if fault is None:
      return samples, rate
  except (soundfile.SoundFileError, RuntimeError) as error:
    reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
    fault = f"cannot be decoded: {reason}"
    hint = "; more formats are read with pip install 's02jax[data]'"
  try:
    samples, rate, seconds = _decode_av(data, longest, whole)
  except ImportError:
    raise _Damage(fault + hint) from None
  if fault := _loss(samples, rate, account.seconds or seconds, longest):
    raise _Damage(fault)
  return samples, rate


def _loss(
  samples: np.ndarray, rate: int, announced: float | None, longest: float
) -> str | None:
  """Sentence on sound that was not decoded, if that is much."""
  if announced is None:
    return None
  announced = min(announced, longest)
  seconds = len(samples) / rate
  if seconds >= announced - LOST:
    return None
  return (
    f"corrupt: {seconds:.2f} of {announced:.2f} s could be decoded; copy or"
    " export it again"
  )


def _decode_sndfile(
  data: Bytes, account: containers.Account, longest: float, whole: bool
) -> tuple[np.ndarray, int]:
  # A file object without a name: by that of a file, such as `clip.raw`,
  # soundfile would choose its format.
  with (
    io.BufferedReader(_Patched(data, account.patch), _BUFFER) as raw,
    soundfile.SoundFile(raw) as file,
  ):
    rate = file.samplerate
    _check_header(rate, file.channels)
    announced = account.seconds
    if announced is None and file.frames < _UNKNOWN:
      announced = file.frames / rate
    if whole and announced is not None:
      _check_length(announced, longest)
    limit = int(longest * rate) + 1
    blocks: list[np.ndarray] = []
    total = 0
    while total < limit:
      size = min(limit - total, _BLOCK // file.channels)
      block = file.read(size, dtype="float32", always_2d=True)
      if not len(block):
        break
      blocks.append(block)
      total += len(block)
      _check_size(total, rate, file.channels)
    channels = file.channels
  if whole:
    _check_length(total / rate, longest)
  empty = np.zeros((0, channels), np.float32)
  return np.concatenate(blocks or [empty])[: int(longest * rate)], rate


def _decode_av(
  data: Bytes, longest: float, whole: bool
) -> tuple[np.ndarray, int, float | None]:
  """Decodes by PyAV; returns also the seconds that the file announces."""
  import av

  try:
    with av.open(
      io.BufferedReader(_Patched(data, None), _BUFFER), "r"
    ) as container:
      if not container.streams.audio:
        raise _Fault("the file holds no audio")
      stream = container.streams.audio[0]
      if stream.codec_context is None:
        raise _Fault("coded in a way that FFmpeg does not know")
      rate = stream.codec_context.sample_rate
      channels = stream.codec_context.channels
      _check_header(rate, channels)
      announced = _announced(container, stream)
      if whole and announced is not None:
        _check_length(announced - LOST, longest)
      resampler = av.AudioResampler(format="flt", rate=rate)
      blocks: list[np.ndarray] = []
      total = 0
      for frame in container.decode(stream):
        for part in resampler.resample(frame):
          blocks.append(part.to_ndarray().reshape(-1, channels))
          total += len(blocks[-1])
        _check_size(total, rate, channels)
        if total > longest * rate:
          break
  except (av.FFmpegError, ValueError) as error:
    reason = getattr(error, "strerror", None) or str(error)
    raise _Damage(
      f"not audio, or corrupt: {reason}; convert it to WAV or FLAC"
    ) from error
  if not blocks:
    return np.zeros((0, channels), np.float32), rate, announced
  if whole:
    _check_length(total / rate, longest)
  return np.concatenate(blocks)[: int(longest * rate)], rate, announced


def _announced(container, stream) -> float | None:
  """Seconds of sound by the headers of a container, None where it has none.

  Formats without an index announce what their bit rate makes likely.
  """
  if not {"mov", "matroska", "flac", "caf"} & set(
    container.format.name.split(",")
  ):
    return None
  slack = 3 * stream.codec_context.frame_size / stream.codec_context.sample_rate
  if stream.duration is not None and stream.time_base is not None:
    return max(0.0, float(stream.duration * stream.time_base) - slack)
  if container.duration is not None and len(container.streams) == 1:
    return max(0.0, container.duration / 1e6 - slack)
  return None


# ----------------------------------------------------------------------- checks


def _check_header(rate, channels: int) -> None:
  if not LOWEST_RATE <= rate <= HIGHEST_RATE:
    raise _Fault(
      f"a sample rate of {rate:g} Hz is implausible: recordings have"
      f" {LOWEST_RATE} to {HIGHEST_RATE}"
    )
  if not 1 <= channels <= MOST_CHANNELS:
    raise _Fault(f"{channels} channels are not 1 to {MOST_CHANNELS}")


def _check_length(seconds: float, longest: float) -> None:
  if seconds > longest:
    raise _Fault(
      f"{seconds:.1f} s is longer than the {longest:g} s that are read; cut it"
    )


def _check_size(total: int, rate: int, channels: int) -> None:
  if total * channels > _MOST_VALUES:
    raise _Fault(
      f"more than {total / rate:.0f} s of {channels} channels at {rate} Hz are"
      " too much to hold; cut it, or convert it to one channel"
    )


def _check_sound(wave: np.ndarray, soft: np.ndarray) -> None:
  """Raises _Fault for a wave that nobody can learn from.

  Args:
    wave: float32 [n].
    soft: the same without its clicks.
  """
  if not len(wave):
    raise _Fault("the file holds no samples")
  if np.ptp(soft) < 2 * loudness.SILENCE:
    raise _Fault("silent: no sound exceeds -60 dB of full scale")
  loud = np.abs(wave)
  peak = float(loud.max())
  flat = (wave[1:] == wave[:-1]) & (loud[1:] >= 0.95 * peak) & (peak >= 0.5)
  # Floats beyond full scale were not cut off there.
  cut = float(np.mean(loud >= _FULL_SCALE)) if peak <= 1.001 else 0.0
  share = max(cut, flat.sum() / len(wave))
  if share > _CLIPPED_SHARE:
    raise _Fault(f"clipped: {share:.0%} of the samples are cut off")


# ----------------------------------------------------------------------- repair


def _as_floats(samples: np.ndarray) -> np.ndarray:
  """Copies samples as float32, whole numbers as parts of full scale."""
  if np.issubdtype(samples.dtype, np.integer):
    return (samples / (1.0 + np.iinfo(samples.dtype).max)).astype(np.float32)
  return samples.astype(np.float32)


def _offset(wave: np.ndarray) -> np.float32:
  """Constant offset of f32[n]: its mean, but for the clicks in it."""
  some = wave[:: max(1, len(wave) >> 18)]
  middle = np.median(some)
  spread = 4 * np.percentile(np.abs(some - middle), 95)
  clipped = np.clip(wave, middle - spread, middle + spread)
  return np.float32(clipped.mean(dtype=np.float64))


def _repair(samples: np.ndarray) -> np.ndarray:
  """Makes one channel without offset: [n, channels] -> f32[n].

  The mean of all channels that are not dead, or the loudest one where they
  cancel each other. The samples may be changed: there may be a lot of them.
  """
  if not len(samples):
    return np.zeros(0, np.float32)
  highest, lowest = samples.max(), samples.min()
  if not np.isfinite(highest) or not np.isfinite(lowest):
    raise _Fault("some samples are not finite numbers; export it again")
  if max(highest, -lowest) > _LOUDEST:
    raise _Fault("some samples are beyond all measure; export it again")
  for channel in samples.T:
    channel -= _offset(channel)
  if samples.shape[1] == 1:
    return samples[:, 0]
  power = np.sqrt([np.vdot(x, x) / len(x) for x in samples.T])
  live = (power >= _DEAD * power.max()).astype(np.float32)
  mean = samples @ (live / live.sum())
  if np.sqrt(np.vdot(mean, mean) / len(mean)) < _CANCELLED * power.max():
    return samples[:, np.argmax(power)].copy()
  return mean
