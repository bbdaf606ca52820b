"""Writer of sound files while the sound is made.

Shape letters: n samples.
"""

import os
import pathlib

import numpy as np
import soundfile

from s02jax.core import files
from s02jax.core.errors import UserError

# Suffix -> libsndfile's names of container and coding. Samples have 16 bits or
# are compressed; .pcm holds little-endian samples without a header.
FORMATS = {
  ".wav": ("WAV", "PCM_16"),
  ".flac": ("FLAC", "PCM_16"),
  ".ogg": ("OGG", "VORBIS"),
  ".mp3": ("MP3", "MPEG_LAYER_III"),
  ".opus": ("OGG", "OPUS"),
  ".pcm": ("RAW", "PCM_16"),
}
# Rates in Hz that a format allows; formats not listed allow any.
RATES = {
  ".mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
  ".opus": (8000, 12000, 16000, 24000, 48000),
}
_BLOCK = 1 << 14  # samples a call: libsndfile's Vorbis keeps them on its stack


def check_out(path, rate: int | None = None) -> pathlib.Path:
  """Checks that sound can be written to `path`; returns it as a Path.

  Args:
    path: of the file, which need not exist.
    rate: of the sound, Hz; None if it is not known yet.

  Raises:
    UserError: unknown suffix, no folder, or a rate the format lacks.
  """
  path = pathlib.Path(path)
  suffix = path.suffix.lower()
  if suffix not in FORMATS:
    raise UserError(f"{path}: the suffix must be one of {', '.join(FORMATS)}.")
  if not path.parent.is_dir():
    raise UserError(f"{path}: there is no folder {path.parent}; make it first.")
  rates = RATES.get(suffix)
  if rate is not None and rates and rate not in rates:
    raise UserError(
      f"{path}: {suffix} has no {rate} Hz; give a --rate of"
      f" {', '.join(map(str, rates))}, or another suffix."
    )
  return path


class SoundWriter:
  """Writer of a mono sound file in the format of its suffix.

  with SoundWriter("out.flac", 24000) as out:
    for samples in speech:
      out.write(samples)

  It needs constant memory. The file gets its name once all is written.
  """

  def __init__(self, path, rate: int):
    """Opens a temporary file.

    Args:
      path: of the file to be written.
      rate: of the sound, Hz.

    Raises:
      UserError: it cannot be written, see `check_out`.
    """
    self._path = check_out(path, rate)
    self._rate, self.seconds = rate, 0.0
    self._temporary = files.part_of(self._path)
    container, coding = FORMATS[self._path.suffix.lower()]
    try:
      self._file = soundfile.SoundFile(
        self._temporary,
        "w",
        rate,
        channels=1,
        format=container,
        subtype=coding,
        endian="LITTLE" if container == "RAW" else None,
      )
    except (soundfile.LibsndfileError, OSError) as e:
      self._discard(e)

  def write(self, samples: np.ndarray) -> None:
    """Appends float [n], clipped to -1..1."""
    samples = np.clip(np.asarray(samples, np.float32), -1.0, 1.0)
    try:
      for start in range(0, len(samples), _BLOCK):
        self._file.write(samples[start : start + _BLOCK])
    except (soundfile.LibsndfileError, OSError) as e:
      self._discard(e)
    self.seconds += len(samples) / self._rate

  def _discard(self, error: Exception) -> None:
    """Deletes the temporary file and raises UserError."""
    self._temporary.unlink(missing_ok=True)
    raise UserError(
      f"{self._path}: cannot write audio ({error}); give a folder you may write"
      " to, with room for it."
    ) from error

  def __enter__(self) -> "SoundWriter":
    return self

  def __exit__(self, kind, error, traceback) -> None:
    try:
      self._file.close()
      if kind is None:
        os.replace(self._temporary, self._path)
    except (soundfile.LibsndfileError, OSError) as e:
      self._discard(e)
    self._temporary.unlink(missing_ok=True)
