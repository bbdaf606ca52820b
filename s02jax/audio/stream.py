"""Encoder of sound into bytes while the sound is made, for a listener far off.

Unlike `audio/writer.py` it never goes back: what was sent stays as it was. So
headers name no length, and every block leaves as soon as its coder allows.

Shape letters: n samples.
"""

import dataclasses
import fractions
import struct
from typing import Any

import numpy as np

from s02jax.core.errors import UserError

_EVEN = (8000, 12000, 16000, 24000, 48000)
_MANY = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
UNKNOWN = 0xFFFFFFFF  # length of a WAV file that is still being made


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
  """Format of a stream, in the terms of FFmpeg."""

  media_type: str  # as of HTTP
  muxer: str = ""  # FFmpeg's name of the container; "": none, plain samples
  codec: str = ""  # FFmpeg's name of the coder
  samples: str = "fltp"  # kind of samples that the coder takes
  options: tuple[tuple[str, str], ...] = ()  # of the container
  rates: tuple[int, ...] = ()  # Hz that it allows; (): any


# Neither a Xing header nor an ID3 tag: both would be written at the end. Pages
# of Ogg hold 0.1 s; by default they hold a whole second.
FORMATS = {
  "mp3": Format(
    media_type="audio/mpeg",
    muxer="mp3",
    codec="libmp3lame",
    options=(("write_xing", "0"), ("id3v2_version", "0")),
    rates=_MANY,
  ),
  "opus": Format(
    media_type="audio/ogg",
    muxer="ogg",
    codec="libopus",
    samples="flt",
    options=(("page_duration", "100000"),),
    rates=_EVEN,
  ),
  "aac": Format(media_type="audio/aac", muxer="adts", codec="aac", rates=_MANY),
  "flac": Format(
    media_type="audio/flac", muxer="flac", codec="flac", samples="s16"
  ),
  "wav": Format(media_type="audio/wav"),
  "pcm": Format(media_type="audio/pcm"),
}


def allowed_rate(name: str, rate: int) -> int:
  """Least rate in Hz, not below `rate`, that a format allows; or its highest.

  Args:
    name: one of FORMATS.
    rate: of the sound, Hz.
  """
  rates = FORMATS[name].rates
  if not rates:
    return rate
  return next((r for r in rates if r >= rate), rates[-1])


class StreamEncoder:
  """Encoder of sound of one channel; what it gives, joined, is one file."""

  def __init__(
    self,
    name: str,
    rate: int,
    *,
    channels: int = 1,
    bit_rate: int | None = None,
  ):
    """Prepares a coder.

    Args:
      name: one of FORMATS.
      rate: of the sound, Hz, one that the format allows.
      channels: 1, or 2 of the same sound.
      bit_rate: bits a second of compressed sound; None leaves it to the coder.

    Raises:
      UserError: PyAV is needed and not installed.
    """
    self._format, self._rate, self._channels = FORMATS[name], rate, channels
    self._wav = name == "wav"
    self._begun = False
    self._av = (
      _Coder(self._format, rate, channels, bit_rate)
      if (self._format.muxer)
      else None
    )

  def push(self, samples: np.ndarray) -> bytes:
    """Encodes float [n], clipped to -1..1; returns the bytes that are ready."""
    samples = np.clip(np.asarray(samples, np.float32), -1.0, 1.0)
    if self._av is not None:
      return self._av.push(samples)
    head = b"" if self._begun or not self._wav else self._header()
    self._begun = True
    whole = np.round(samples * 32767).astype("<i2")
    return head + np.repeat(whole, self._channels).tobytes()

  def finish(self) -> bytes:
    """Ends the sound; returns the last bytes. Nothing may follow."""
    if self._av is not None:
      return self._av.finish()
    return self.push(np.zeros(0, np.float32))

  def _header(self) -> bytes:
    """Header of a WAV file of 16 bits whose length is unknown."""
    return wav_header(self._rate, self._channels, UNKNOWN)


def wav_header(rate: int, channels: int, size: int) -> bytes:
  """Header of a WAV file of 16 bits.

  Args:
    rate: of the sound, Hz.
    channels: of the sound.
    size: bytes of its samples, or UNKNOWN.
  """
  return struct.pack(
    "<4sI4s4sIHHIIHH4sI",
    b"RIFF",
    min(size + 36, UNKNOWN),
    b"WAVE",
    b"fmt ",
    16,
    1,
    channels,
    rate,
    2 * channels * rate,
    2 * channels,
    16,
    b"data",
    size,
  )


class _Sink:
  """File that can only be written to; `take` empties it."""

  def __init__(self):
    self._data = bytearray()

  def write(self, data) -> int:
    self._data += data
    return len(data)

  def take(self) -> bytes:
    data = bytes(self._data)
    self._data.clear()
    return data


class _Coder:
  """Coder and container of FFmpeg."""

  def __init__(
    self, fmt: Format, rate: int, channels: int, bit_rate: int | None
  ):
    try:
      import av
    except ImportError as e:
      raise UserError(
        "compressed sound needs PyAV: pip install 's02jax[serve]'; wav and pcm"
        " go without."
      ) from e
    self._av, self._rate, self._channels = av, rate, channels
    self._samples, self._given = fmt.samples, 0
    self._base = fractions.Fraction(1, rate)
    self._sink = _Sink()
    self._file = av.open(
      self._sink, "w", format=fmt.muxer, options=dict(fmt.options)
    )
    self._layout = "mono" if channels == 1 else "stereo"
    rates: dict[str, Any] = {"rate": rate}
    if bit_rate is not None:
      rates["bit_rate"] = bit_rate
    # Its kind is that of the coder's name, which no annotation knows.
    self._stream: Any = self._file.add_stream(
      fmt.codec, layout=self._layout, format=fmt.samples, **rates
    )

  def push(self, samples: np.ndarray) -> bytes:
    """Encodes float32 [n] more; returns what is ready."""
    if len(samples):
      self._mux(self._frame(samples))
    return self._sink.take()

  def finish(self) -> bytes:
    """Ends the sound; returns the rest."""
    if not self._given:  # a file without a frame is none
      self._mux(self._frame(np.zeros(self._rate // 100, np.float32)))
    self._mux(None)
    self._file.close()
    return self._sink.take()

  def _mux(self, frame) -> None:
    """Encodes a frame, or None at the end."""
    for packet in self._stream.encode(frame):
      self._file.mux(packet)

  def _frame(self, samples: np.ndarray):
    """Frame of the coder's kind of samples."""
    rows = np.stack([samples] * self._channels)
    if self._samples == "s16":
      rows = np.round(rows * 32767).astype(np.int16)
    if not self._samples.endswith("p"):  # channels side by side
      rows = rows.T.reshape(1, -1)
    frame = self._av.AudioFrame.from_ndarray(
      np.ascontiguousarray(rows), format=self._samples, layout=self._layout
    )
    frame.sample_rate, frame.time_base = self._rate, self._base
    frame.pts = self._given
    self._given += len(samples)
    return frame
