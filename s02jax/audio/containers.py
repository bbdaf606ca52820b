"""Containers of audio files, walked byte by byte before anything is decoded.

Decoders believe a header, stop at the end of the first of two joined files, and
take half a download for the whole. `inspect` finds out what a file itself says
it holds, so that `recording` can compare that with what was decoded.
"""

import dataclasses
import struct
from collections.abc import Iterator
from typing import Any

LOST = 0.1  # most seconds of a file's sound that may be missing
JOINED = "several recordings are joined in one file; give each as its own"
_CONTRADICTION = "corrupt: its header contradicts itself; export it again"
# Anything that slices to bytes and has len() and find(): bytes or an mmap.
Bytes = Any

# Kinds that hold streams of others; "" is a kind that is not known.
_NESTING = {"ogg", "matroska", "mp4", "asf", ""}
_UNKNOWN = 0x7FFF0000  # least 32-bit size that means "until the end"
_RIFF64 = bytes.fromhex("2e91cf11a5d628db04c10000")
_W64_REST = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_BLOCK = 1 << 20  # bytes that are searched at a time
_SEARCHED = 1 << 12  # bytes in which the first frame of an MP3 is looked for
_TAIL = 4096  # bytes of tags, say, that may end a file
_OGG_FIRST = 2  # flag of a stream's first page
# Kind, where it is looked for in a file, and bytes by which a file begins.
_BEGINNINGS = (
  ("riff", 8, b"WAVE"),
  ("w64", 0, b"riff" + _RIFF64),
  ("aiff", 8, b"AIFF"),
  ("aiff", 8, b"AIFC"),
  ("caf", 0, b"caff\0\1\0\0desc"),
  ("flac", 0, b"fLaC\0\0\0\x22"),
  ("flac", 0, b"fLaC\x80\0\0\x22"),
  ("ogg", 0, b"OggS\0\2"),
  ("amr", 0, b"#!AMR"),
  ("asf", 0, bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")),
  ("matroska", 0, bytes.fromhex("1a45dfa3")),
  ("mp4", 4, b"ftyp"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Account:
  """Sound that a file announces by its own bytes, or why not all can be had."""

  kind: str  # "riff", "ogg", "mp3" and so on; "" where it is not known
  seconds: float | None = None  # of sound, at least; None: it does not say
  patch: tuple[int, bytes] | None = None  # bytes to be read instead, and where
  fault: str | None = None  # why not all of its sound can be had


def inspect(data: Bytes) -> Account:
  """Reads what a file says of itself; never raises.

  Args:
    data: the whole file, as bytes or an mmap.
  """
  start = _after_id3(data)
  kind = _kind(data, start)
  walk = _WALKS.get(kind)
  try:
    return walk(data, start) if walk else Account(kind=kind)
  except (struct.error, IndexError, ArithmeticError):
    return Account(kind=kind)  # the decoder names the fault


def _cut_off(share: str) -> str:
  return f"corrupt: the file is cut off, {share}; copy or download it again"


def _after_id3(data: Bytes) -> int:
  """First byte after the ID3v2 tags at the start of a file."""
  at = 0
  while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
    a, b, c, d = data[at + 6 : at + 10]
    footer = 10 if data[at + 5] & 0x10 else 0
    at += 10 + footer + ((a & 127) << 21 | (b & 127) << 14 | (c & 127) << 7 | d)
  return at


def _kind(data: Bytes, start: int) -> str:
  """Kind of a file, by the bytes at its start."""
  first = data[start : start + 16]
  if first[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
    return "riff" if first[8:12] == b"WAVE" else ""
  for magic, kind in (
    (b"FORM", "aiff"), (b".snd", "au"), (b"OggS", "ogg"), (b"fLaC", "flac"),
  ):  # fmt: skip
    if first[:4] == magic:
      return kind
  for kind, offset, magic in _BEGINNINGS:
    if first[offset : offset + len(magic)] == magic[: 16 - offset]:
      return kind
  return "" if _first_mpeg(data, start) < 0 else "mp3"


def is_joined(data: Bytes) -> bool:
  """Whether another file begins inside of this one.

  Args:
    data: the whole file, as bytes or an mmap.
  """
  start = _after_id3(data)
  kind = _kind(data, start)
  if kind == "ogg":
    return _is_chained(data, start)
  if kind in _NESTING:  # what is inside of them may look like a beginning
    marks = [row for row in _BEGINNINGS if row[0] == kind]
  else:
    marks = [row for row in _BEGINNINGS if row[0] not in _NESTING - {"ogg"}]
  at = start + 1
  while at < len(data):
    # An mmap's own search is a slow one.
    block = bytes(data[at : at + _BLOCK + 64])
    for name, offset, magic in marks:
      found = block.find(magic)
      while found >= 0:
        if _begins(data, name, at + found - offset, start):
          return True
        found = block.find(magic, found + 1)
    at += _BLOCK
  return False


def _begins(data: Bytes, kind: str, at: int, start: int) -> bool:
  """Whether a file really begins where its mark was found."""
  if at <= start:
    return False
  if kind == "mp4":
    return data[at : at + 3] == b"\0\0\0" and data[at + 8 : at + 12].isalnum()
  if kind == "matroska":
    return any(x in data[at : at + 64] for x in (b"webm", b"matroska"))
  if kind in ("riff", "aiff"):
    return data[at : at + 4] in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM")
  return True


def _is_chained(data: Bytes, start: int) -> bool:
  """Whether a stream of Ogg begins after another one's sound."""
  body = False
  for _, flags, _ in _ogg_pages(data, start):
    if flags & _OGG_FIRST and body:
      return True
    body = body or not flags & _OGG_FIRST
  return False


# ------------------------------------------------------- chunks of a known size


def _chunks(
  data: Bytes, at: int, size: str, *, name: int = 4, inclusive: bool = False,
  even: int = 1,
) -> Iterator[tuple[bytes, int, int]]:  # fmt: skip
  """Walks chunks: yields each one's name, first byte and announced size.

  Args:
    data: the file.
    at: first byte of the first chunk.
    size: format of the size, as of `struct`.
    name: bytes of a name.
    inclusive: the size counts name and size too.
    even: chunks begin at multiples of this.
  """
  head = name + struct.calcsize(size)
  while at + head <= len(data):
    (length,) = struct.unpack(size, data[at + name : at + head])
    if inclusive:
      length -= head
    yield data[at : at + name], at + head, length
    at += head + max(0, length)
    at += -at % even


def _sized(
  kind: str, data: Bytes, first: int, length: int, bytes_a_second: float
) -> Account:
  """Account of a file of a known size of samples."""
  missing = first + length - len(data)
  if missing > LOST * bytes_a_second:
    held = (len(data) - first) / bytes_a_second
    whole = length / bytes_a_second
    return Account(
      kind=kind, fault=_cut_off(f"{held:.2f} of {whole:.2f} s are there")
    )
  return Account(kind=kind, seconds=length / bytes_a_second)


def _riff(data: Bytes, start: int) -> Account:
  order = ">" if data[start : start + 4] == b"RIFX" else "<"
  rate, large = 0, None
  for name, first, length in _chunks(data, start + 12, order + "I", even=2):
    if name == b"ds64":
      large = struct.unpack("<Q", data[first + 8 : first + 16])[0]
    elif name == b"fmt ":
      rate = _riff_rate(data[first : first + 16], order)
      if not rate:
        return Account(kind="riff", fault=_CONTRADICTION)
    elif name == b"data":
      if length == 0xFFFFFFFF and large:
        return _sized("riff", data, first, large, rate)
      if length >= _UNKNOWN:
        return Account(kind="riff")
      rest = first + length + length % 2
      # Some programs leave out the byte that makes the size even.
      if any(_is_chunks(data, x, order + "I") for x in {rest, first + length}):
        return _sized("riff", data, first, length, rate)
      return _checked("riff", data, first, length, rate, order)
  return Account(kind="riff")


def _riff_rate(fields: bytes, order: str) -> int:
  """Bytes a second by a format chunk; 0 where it contradicts itself."""
  coding, channels, hertz, rate, align, bits = struct.unpack(
    order + "HHIIHH", fields
  )
  if coding not in (1, 3, 6, 7, 0xFFFE):
    return rate
  if align < channels * ((bits + 7) // 8) or align % channels:
    return 0
  return hertz * align


def _checked(
  kind: str, data: Bytes, first: int, length: int, rate: int, order: str
) -> Account:
  """Account of samples up to the end of a file, whose size may be wrong.

  A program that could not go back to write the size left a zero.
  """
  left = len(data) - first
  if left - length <= LOST * rate:
    return _sized(kind, data, first, length, rate)
  if length:
    return Account(
      kind=kind,
      fault=(
        f"corrupt: its header announces {length / rate:.2f} s of sound, but"
        f" {left / rate:.2f} s follow; export it again"
      ),
    )
  at = first - 4 if kind == "riff" else 8
  return Account(
    kind=kind,
    seconds=left / rate,
    patch=(at, struct.pack(order + "I", min(left, _UNKNOWN - 1))),
  )


def _is_chunks(data: Bytes, at: int, size: str) -> bool:
  """Whether chunks, or padding, follow up to the end of the file."""
  for name, first, length in _chunks(data, at, size, even=2):
    if len(data) - first < _TAIL:
      return True
    if not all(32 <= x < 127 for x in name) or first + length > len(data):
      break
  else:
    return True
  return not any(
    data[i : i + _BLOCK].strip(b"\0") for i in range(at, len(data), _BLOCK)
  )


def _w64(data: Bytes, start: int) -> Account:
  rate = 0
  for name, first, length in _chunks(
    data, start + 40, "<q", name=16, inclusive=True, even=8
  ):
    if name == b"fmt " + _W64_REST:
      rate = _riff_rate(data[first : first + 16], "<")
    elif name == b"data" + _W64_REST:
      return _sized("w64", data, first, length, rate)
    if length < 0:
      break
  return Account(kind="w64")


def _aiff(data: Bytes, start: int) -> Account:
  account, rate = Account(kind="aiff"), 0.0
  for name, first, length in _chunks(data, start + 12, ">I", even=2):
    if name == b"COMM":
      channels, frames, bits = struct.unpack(">hIh", data[first : first + 8])
      exponent, mantissa = struct.unpack(">HQ", data[first + 8 : first + 18])
      hertz = mantissa * 2.0 ** ((exponent & 0x7FFF) - 16383 - 63)
      rate = channels * ((bits + 7) // 8) * hertz
      if data[start + 8 : start + 12] == b"AIFC" and (
        data[first + 18 : first + 22] not in (b"NONE", b"sowt", b"twos")
      ):
        rate = 0.0  # compressed
      if not frames:
        return account
    elif name == b"SSND" and rate and length < _UNKNOWN:
      account = _sized("aiff", data, first + 8, length - 8, rate)
  return account


def _au(data: Bytes, start: int) -> Account:
  first, length, coding, hertz, channels = struct.unpack(
    ">5I", data[start + 4 : start + 24]
  )
  width = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}.get(coding)
  if width is None or length >= _UNKNOWN:
    return Account(kind="au")
  rate = width * hertz * channels
  if data[first + length : first + length + 4] == b".snd":
    return Account(kind="au", fault=JOINED)
  return _checked("au", data, first, length, rate, ">")


def _caf(data: Bytes, start: int) -> Account:
  for name, first, length in _chunks(data, start + 8, ">q"):
    if name == b"data" and length >= 0 and first + length > len(data):
      share = (len(data) - first) / length
      return Account(kind="caf", fault=_cut_off(f"{share:.0%} of it are there"))
    if length < 0:
      break
  return Account(kind="caf")


def _flac(data: Bytes, start: int) -> Account:
  packed = int.from_bytes(data[start + 18 : start + 26], "big")
  rate, total = packed >> 44, packed & (1 << 36) - 1
  last = _last_flac_frame(data, start)
  if total and last > total:
    return Account(
      kind="flac",
      fault=(
        f"corrupt: its header announces {total / rate:.2f} s of sound, but"
        f" {last / rate:.2f} s follow; export it again"
      ),
    )
  return Account(kind="flac", seconds=max(total, last) / rate or None)


def _last_flac_frame(data: Bytes, start: int) -> int:
  """Sample at which the last frame of a FLAC begins, by the frame itself."""
  block = int.from_bytes(data[start + 10 : start + 12], "big")
  begin, is_last = start + 4, False
  while not is_last and begin + 4 <= len(data):
    is_last = data[begin] >= 0x80
    begin += 4 + int.from_bytes(data[begin + 1 : begin + 4], "big")
  mask = int.from_bytes(b"\xff\xff\x0f\x0f", "big")  # alike in all frames
  first = int.from_bytes(data[begin : begin + 4], "big") & mask
  mark = data[begin : begin + 2]
  if mark not in (b"\xff\xf8", b"\xff\xf9"):
    return 0
  at = len(data)
  while (at := data.rfind(mark, begin, at)) >= 0:
    head = data[at : at + 16]
    if int.from_bytes(head[:4], "big") & mask != first or len(head) < 16:
      continue
    # Number of the frame or the sample, coded as UTF-8 codes a character.
    ones = 8 - (head[4] ^ 0xFF).bit_length()
    if ones in (1, 8):
      continue
    count = max(1, ones)
    number = head[4] & (0x7F >> ones)
    for byte in head[5 : 4 + count]:
      number = number << 6 | byte & 0x3F
    size, rate = head[2] >> 4, head[2] & 15
    end = 4 + count + {6: 1, 7: 2}.get(size, 0)
    end += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if _crc8(head[:end]) == head[end]:
      return number if head[1] & 1 else number * block
  return 0


def _crc8(data: bytes) -> int:
  """Checksum of a frame's header in FLAC, of the polynomial 0x07."""
  value = 0
  for byte in data:
    value ^= byte
    for _ in range(8):
      value = (value << 1 ^ (0x107 if value & 0x80 else 0)) & 0x1FF
  return value & 0xFF


# -------------------------------------------------------------------------- Ogg


def _ogg_pages(data: Bytes, start: int) -> Iterator[tuple[int, int, int]]:
  """Walks pages: yields the first byte after each, its flags and granule."""
  at = data.find(b"OggS\0", start)
  while at >= 0 and at + 27 <= len(data):
    segments = data[at + 26]
    table = data[at + 27 : at + 27 + segments]
    end = at + 27 + segments + sum(table)
    (granule,) = struct.unpack("<q", data[at + 6 : at + 14])
    yield end, data[at + 5], granule
    at = data.find(b"OggS\0", min(end, len(data)))


def _ogg(data: Bytes, start: int) -> Account:
  rate, skip = _ogg_rate(data, start)
  first = last = whole = 0
  for end, flags, granule in _ogg_pages(data, start):
    whole = end
    if granule > 0 and not flags & _OGG_FIRST:
      first = first or granule
      last = granule
  if whole > len(data):
    return Account(kind="ogg", fault=_cut_off("in the middle of a page"))
  if not rate or not last:
    return Account(kind="ogg")
  # A recording out of a running broadcast begins at a later time than 0.
  begin = first if first > 5 * rate else skip
  return Account(kind="ogg", seconds=max(0, last - begin) / rate)


def _ogg_rate(data: Bytes, start: int) -> tuple[int, int]:
  """Units of granules in a second, and how many are skipped; 0 if unknown."""
  head = data[start : start + 128]
  at = head.find(b"OpusHead")
  if at >= 0:
    return 48000, struct.unpack("<H", head[at + 10 : at + 12])[0]
  at = head.find(b"\1vorbis")
  if at >= 0:
    return struct.unpack("<I", head[at + 12 : at + 16])[0], 0
  return 0, 0


# ------------------------------------------------------------------------- MPEG


@dataclasses.dataclass(frozen=True)
class _Mpeg:
  """One frame of MPEG audio, by its header."""

  version: int  # 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
  layer: int  # 1, 2 or 3
  hertz: int
  samples: int
  length: int  # bytes
  channels: int

  @classmethod
  def at(cls, data: Bytes, at: int) -> "_Mpeg | None":
    """Frame that begins at a byte, if one does."""
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
      return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or bits in (0, 15) or rate == 3:
      return None
    hertz = (44100, 48000, 32000)[rate] >> (3 - version if version else 2)
    kilobits = _KILOBITS[version == 3, layer][bits - 1]
    samples = {1: 384, 2: 1152, 3: 1152 if version == 3 else 576}[layer]
    padding = head[2] >> 1 & 1
    if layer == 1:
      length = (12000 * kilobits // hertz + padding) * 4
    else:
      length = samples // 8 * kilobits * 1000 // hertz + padding
    channels = 1 if head[3] >> 6 == 3 else 2
    return cls(version, layer, hertz, samples, length, channels)


_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KILOBITS = {
  (True, 1): tuple(range(32, 449, 32)),
  (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
  (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
  (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
  (False, 2): _LOW,
  (False, 3): _LOW,
}


def _mpeg(data: Bytes, start: int) -> Account:
  """Account of an MP3: all its frames, and how many its header announces."""
  start = _first_mpeg(data, start)
  first = _Mpeg.at(data, start)
  assert first is not None
  announced = _announced_frames(data, start, first)
  count, at = -(announced is not None), start
  while at + 4 <= len(data):
    frame = _Mpeg.at(data, at)
    if frame is None:
      at = _next_frame(data, at + 1, first)
      if at < 0:
        break
      continue
    if (frame.hertz, frame.layer) != (first.hertz, first.layer):
      after = _Mpeg.at(data, at + frame.length)
      if after and after.hertz == frame.hertz:
        return Account(kind="mp3", fault=JOINED)
      at += 1
      continue
    count += at + frame.length <= len(data)
    at += frame.length
  frame_seconds = first.samples / first.hertz
  seconds = count * frame_seconds
  if announced and (announced - count) * frame_seconds > LOST:
    whole = announced * frame_seconds
    share = f"{seconds:.2f} of {whole:.2f} s are there"
    return Account(kind="mp3", fault=_cut_off(share))
  unheard = _delay(data, start, first) if announced else first.samples
  return Account(kind="mp3", seconds=seconds - unheard / first.hertz)


def _xing(data: Bytes, start: int, first: _Mpeg) -> bytes:
  """Header of Xing or LAME in the first frame; empty without one."""
  side = {(True, 1): 17, (True, 2): 32, (False, 1): 9, (False, 2): 17}
  at = start + 4 + side[first.version == 3, first.channels]
  tag = data[at : at + 144]
  return tag if tag[:4] in (b"Xing", b"Info") else b""


def _announced_frames(data: Bytes, start: int, first: _Mpeg) -> int | None:
  """Number of frames by the header of Xing or LAME, None without one."""
  tag = _xing(data, start, first)
  if not tag:
    return None
  return int.from_bytes(tag[8:12], "big") if tag[7] & 1 else 0


def _delay(data: Bytes, start: int, first: _Mpeg) -> int:
  """Samples that the encoder put before and after the sound."""
  tag = _xing(data, start, first)
  if tag[7] & 15 != 15 or tag[120:124] not in (b"LAME", b"Lavf", b"Lavc"):
    return first.samples
  packed = int.from_bytes(tag[141:144], "big")
  return (packed >> 12) + (packed & 0xFFF)


def _first_mpeg(data: Bytes, start: int) -> int:
  """Byte at which MPEG audio begins, or -1.

  The frame at the start may be damaged, or the file begin in the middle of
  one: then three frames that follow each other tell.
  """
  if _Mpeg.at(data, start):
    return start
  at, head = start, bytes(data[start : start + _SEARCHED])
  while (at := start + head.find(b"\xff", at + 1 - start)) >= start:
    frames, after = [], at
    while len(frames) < 3 and (frame := _Mpeg.at(data, after)):
      frames.append((frame.hertz, frame.layer))
      after += frame.length
    if len(frames) == 3 and len(set(frames)) == 1:
      return at
  return -1


def _next_frame(data: Bytes, at: int, first: _Mpeg) -> int:
  """Byte at which two frames of any rate follow each other, or -1."""
  while (at := data.find(b"\xff", at)) >= 0:
    if frame := _Mpeg.at(data, at):
      after = _Mpeg.at(data, at + frame.length)
      if after and (after.hertz, after.layer) == (frame.hertz, frame.layer):
        return at
    at += 1
  return -1


_WALKS = {
  "riff": _riff, "w64": _w64, "aiff": _aiff, "au": _au, "caf": _caf,
  "flac": _flac, "ogg": _ogg, "mp3": _mpeg,
}  # fmt: skip
