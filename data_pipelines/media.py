"""Audio files of any format, decoded to one channel of samples.

libsndfile reads wav, flac, ogg (Vorbis, Opus) and mp3; PyAV, where it is
installed, whatever else FFmpeg knows. A file longer than allowed is refused
by its header; where the header is wrong, decoding stops at the limit.
"""

import pathlib

import numpy as np
import soundfile

from data_pipelines.clips import Unusable
from s02jax.audio.loudness import SILENCE

_FULL_SCALE = 0.999  # least amplitude of a sample that counts as cut off
_CLIPPED_SHARE = 0.01  # largest share of samples that may be cut off


def read(path: pathlib.Path, max_seconds: float) -> tuple[np.ndarray, int]:
  """Decodes a file to a wave f32[n], channels averaged, and its rate in Hz.

  Raises:
    Unusable: a file that is missing, empty, not audio, corrupt, longer than
      `max_seconds`, silent or clipped.
  """
  if not path.exists():
    raise Unusable("the file does not exist")
  if not path.is_file():
    raise Unusable("not a file")
  try:
    if path.stat().st_size == 0:
      raise Unusable("the file is empty")
    wave, rate = _decode(path, max_seconds)
  except OSError as error:
    raise Unusable(f"cannot be read: {error.strerror or error}") from error
  wave = _mix(wave)
  _check(wave)
  return wave - np.mean(wave), rate


def _decode(path: pathlib.Path, max_seconds: float) -> tuple[np.ndarray, int]:
  """Decodes to f32[n, channels] and a rate, by the first decoder that can."""
  try:
    return _decode_sndfile(path, max_seconds)
  except soundfile.LibsndfileError as error:
    reason = error.error_string.strip().rstrip(".")
  try:
    return _decode_av(path, max_seconds)
  except ImportError:
    hint = "; more formats are read with pip install 's02jax[data]'"
    raise Unusable(f"cannot be decoded: {reason}{hint}") from None


def _decode_sndfile(
  path: pathlib.Path, max_seconds: float
) -> tuple[np.ndarray, int]:
  with soundfile.SoundFile(path) as file:
    rate = file.samplerate
    _check_length(file.frames / rate, max_seconds)
    limit = int(max_seconds * rate) + 1
    wave = file.read(limit, dtype="float32", always_2d=True)
    expected = file.frames
  _check_length(len(wave) / rate, max_seconds)
  if len(wave) < 0.9 * expected:
    raise Unusable(
      f"corrupt: {len(wave) / rate:.2f} of {expected / rate:.2f} s could be"
      " decoded"
    )
  return wave, rate


def _decode_av(
  path: pathlib.Path, max_seconds: float
) -> tuple[np.ndarray, int]:
  import av

  try:
    with av.open(str(path)) as container:
      if not container.streams.audio:
        raise Unusable("the file holds no audio")
      if container.duration is not None:
        _check_length(container.duration / 1e6, max_seconds)
      rate = container.streams.audio[0].codec_context.sample_rate
      resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
      blocks: list[np.ndarray] = []
      total = 0
      for frame in container.decode(audio=0):
        for part in resampler.resample(frame):
          blocks.append(part.to_ndarray().reshape(-1, 1))
          total += len(blocks[-1])
        _check_length(total / rate, max_seconds)
  except (av.FFmpegError, ValueError) as error:
    reason = getattr(error, "strerror", None) or str(error)
    raise Unusable(f"not audio, or corrupt: {reason}") from error
  if not blocks:
    raise Unusable("the file holds no audio")
  return np.concatenate(blocks), rate


def _check_length(seconds: float, max_seconds: float) -> None:
  if seconds > max_seconds:
    raise Unusable(
      f"{seconds:.1f} s is longer than --max_seconds {max_seconds:g}"
    )


def _mix(wave: np.ndarray) -> np.ndarray:
  """Averages channels, [n, channels] -> [n]; the first where they cancel."""
  mean = wave.mean(axis=1)
  if wave.size and np.abs(mean).max() < 0.1 * np.abs(wave).max():
    return wave[:, 0]
  return mean


def _check(wave: np.ndarray) -> None:
  """Raises Unusable for samples that no clip can be made of."""
  if not len(wave):
    raise Unusable("the file holds no samples")
  if not np.all(np.isfinite(wave)):
    raise Unusable("some samples are not finite numbers")
  loud = np.abs(wave)
  peak = float(loud.max())
  if np.ptp(wave) < 2 * SILENCE:
    raise Unusable("silent: no sample exceeds -60 dB of full scale")
  flat = (wave[1:] == wave[:-1]) & (loud[1:] >= 0.95 * peak) & (peak >= 0.5)
  share = max(float(np.mean(loud >= _FULL_SCALE)), flat.sum() / len(wave))
  if share > _CLIPPED_SHARE:
    raise Unusable(f"clipped: {share:.0%} of the samples are cut off")
