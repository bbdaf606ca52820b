"""Recordings: read whole and alike everywhere, or refused in a sentence."""

import contextlib
import io
import struct
import tracemalloc

import numpy as np
import pyloudnorm
import pytest
import soundfile

from s02jax.audio import containers, loudness, recording
from s02jax.audio.recording import Refused
from tests.fuzz import recordings

RATE = 16_000


def voice(seconds=2.0, rate=RATE, level=0.1, seed=0) -> np.ndarray:
  """Bursts of noise like syllables, float32 [n]."""
  n = int(seconds * rate)
  noise = np.random.default_rng(seed).normal(size=n).clip(-3, 3)
  bursts = np.sin(2 * np.pi * 3 * np.arange(n) / rate) ** 2
  return (level * noise * bursts).astype(np.float32)


def encoded(wave, rate=RATE, container="WAV", coding=None) -> bytes:
  """File of [n] or [n, channels]."""
  buffer = io.BytesIO()
  soundfile.write(buffer, wave, rate, format=container, subtype=coding)
  return buffer.getvalue()


def floats(wave, rate=RATE) -> bytes:
  return encoded(wave, rate, coding="FLOAT")


def mp3(wave, rate, bits, xing) -> bytes:
  """MP3 of a constant bit rate, with or without a header."""
  av = pytest.importorskip("av")
  buffer = io.BytesIO()
  options = {"write_xing": str(int(xing)), "id3v2_version": "0"}
  with av.open(buffer, "w", format="mp3", options=options) as out:
    stream = out.add_stream("libmp3lame", rate=rate, layout="mono")
    stream.bit_rate = bits
    frame = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
    frame.sample_rate = rate
    for packet in [*stream.encode(frame), *stream.encode(None)]:
      out.mux(packet)
  return buffer.getvalue()


def reason(source, **options) -> str:
  """Sentence by which a recording is refused."""
  with pytest.raises(Refused) as caught:
    recording.read(source, **options)
  assert "\n" not in str(caught.value)
  assert str(caught.value).endswith(".")
  return caught.value.reason


# ----------------------------------------------------- files as they should be


@pytest.mark.parametrize("kind", range(17))
def test_every_format_is_read_whole(kind, tmp_path):
  pytest.importorskip("av")
  data = recordings.whole(kind)
  (tmp_path / "a.raw").write_bytes(data)  # whatever its name
  wave, rate = recording.read(tmp_path / "a.raw")
  assert rate in (RATE, 48_000)
  assert len(wave) / rate == pytest.approx(1.5, abs=0.11)
  again, _ = recording.read(data)
  np.testing.assert_array_equal(again, wave)
  assert recording.rate_of(tmp_path / "a.raw") == rate


def test_samples_are_read_as_a_file_of_them_is():
  wave = voice()
  (read, rate), (same, _) = (
    recording.read(x) for x in (floats(wave), (wave, RATE))
  )
  assert rate == RATE
  np.testing.assert_array_equal(read, same)
  whole = np.rint(wave * 32768).astype(np.int16)
  np.testing.assert_allclose(recording.read((whole, RATE))[0], read, atol=1e-4)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF])
@pytest.mark.parametrize("container", ["WAV", "AU"])
def test_a_file_of_no_known_size_is_read_to_its_end(size, container):
  data = encoded(voice(), container=container)
  big = container == "AU"
  at = 8 if big else data.index(b"data") + 4
  order = ">I" if big else "<I"
  data = data[:at] + struct.pack(order, size) + data[at + 4 :]
  assert len(recording.read(data)[0]) == 2 * RATE


def test_silence_at_the_start_is_no_padding():
  wave = np.concatenate([np.zeros(RATE, np.float32), voice()])
  data = encoded(wave)
  at = data.index(b"data") + 4
  data = data[:at] + bytes(4) + data[at + 4 :]
  assert len(recording.read(data)[0]) == 3 * RATE


def test_a_chunk_behind_an_odd_number_of_bytes_may_be_anywhere():
  data = encoded(voice(2.1)[:-1], 16_000, coding="PCM_U8")
  assert len(data) % 2 == 0  # the last one only makes it even
  notes = b"LIST" + struct.pack("<I", 9000) + b"INFO" * 2250
  for start in (data, data[:-1]):
    assert len(recording.read(start + notes)[0]) == 33_599


def test_what_follows_the_samples_of_a_wav_does_not_matter():
  wave = voice()
  plain, _ = recording.read(encoded(wave))
  for rest in (b"LIST" + struct.pack("<I", 8000) + b"INFO" * 2000, bytes(9000)):
    np.testing.assert_array_equal(
      recording.read(encoded(wave) + rest)[0], plain
    )


def test_a_flac_whose_length_was_not_known_is_read_to_its_end():
  pytest.importorskip("av")
  data = bytearray(encoded(voice(), container="FLAC"))
  data[21] &= 0xF0
  data[22:26] = bytes(4)
  assert len(recording.read(bytes(data))[0]) == 2 * RATE


# -------------------------------------------------------- files that lack sound


@pytest.mark.parametrize(
  "container", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC",
                "OGG", "MP3"],
)  # fmt: skip
def test_half_a_file_is_refused(container):
  pytest.importorskip("av")
  data = encoded(voice(), container=container)
  assert "corrupt" in reason(data[: len(data) // 2])


@pytest.mark.parametrize("rates", [(RATE, RATE), (RATE, 24_000)])
@pytest.mark.parametrize(
  "container,coding",
  [("WAV", None), ("RF64", None), ("W64", None), ("AIFF", None), ("AU", None),
   ("CAF", None), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS")],
)  # fmt: skip
def test_joined_files_are_refused(container, coding, rates):
  joined = b"".join(
    encoded(voice(seed=i, rate=rate), rate, container, coding)
    for i, rate in enumerate(rates)
  )
  assert reason(joined) == containers.JOINED


@pytest.mark.parametrize("xing", [True, False])
def test_joined_mp3s_of_one_rate_are_read_whole(xing):
  first = mp3(voice(4), RATE, 64_000, xing)
  second = mp3(voice(4), RATE, 16_000, xing)
  for joined in (first + second, second + first):
    wave, rate = recording.read(joined)
    assert len(wave) / rate == pytest.approx(8.1, abs=0.2)


@pytest.mark.parametrize("other", [24_000, 44_100])
def test_joined_mp3s_of_two_rates_are_refused(other):
  files = [mp3(voice(2, r), r, 64_000, False) for r in (RATE, other)]
  for joined in (files[0] + files[1], files[1] + files[0]):
    assert reason(joined) == containers.JOINED


@pytest.mark.parametrize("xing", [True, False])
def test_an_mp3_whose_first_frame_is_damaged_is_known_by_the_next(xing):
  whole = mp3(voice(4), RATE, 64_000, xing)
  for start in (whole[:2] + b"\x08" + whole[3:], whole[100:]):
    assert containers.inspect(start).kind == "mp3"
    assert len(recording.read(start)[0]) / RATE > 3.8
    middle = len(start) // 2
    holed = start[:middle] + bytes(4000) + start[middle:]
    # Decoders give up there; that is never taken for the end.
    with contextlib.suppress(Refused):
      assert len(recording.read(holed)[0]) / RATE > 3.8


def test_a_header_that_contradicts_what_follows_is_refused():
  wav = encoded(voice())
  at = wav.index(b"data") + 4
  short = wav[:at] + struct.pack("<I", 100) + wav[at + 4 :]
  assert "announces 0.00 s" in reason(short)
  flac = bytearray(encoded(voice(), container="FLAC"))
  flac[22:26] = (300).to_bytes(4, "big")
  assert "announces 0.02 s" in reason(bytes(flac))


@pytest.mark.parametrize("hertz", [1, 3999, 400_000])
def test_rates_that_nobody_records_at_are_refused(hertz):
  wav = encoded(voice())
  wav = wav[:24] + struct.pack("<I", hertz) + wav[28:]
  assert f"{hertz} Hz is implausible" in reason(wav)
  assert "implausible" in reason((voice(), hertz))


def test_an_aiff_whose_rate_is_beyond_all_numbers_is_refused():
  aiff = bytearray(encoded(voice(), container="AIFF"))
  at = aiff.index(b"COMM") + 16  # a float of 80 bits
  aiff[at : at + 2] = b"\x7f\xfe"
  assert reason(bytes(aiff))


def test_what_is_no_recording_is_named(tmp_path):
  empty, text = tmp_path / "empty.wav", tmp_path / "words.wav"
  empty.write_bytes(b"")
  text.write_text("this is no audio " * 100)
  for path, said in (
    (tmp_path / "none.wav", "does not exist"),
    (tmp_path, "not a file"),
    (empty, "is empty"),
    (text, "not audio"),
  ):
    assert said in reason(path)
    with pytest.raises(Refused, match=str(path)):
      recording.speech(path, RATE)


# ------------------------------------------------------------------- limits


def test_no_more_is_decoded_than_asked_for():
  data = encoded(voice(600))
  assert "600.0 s is longer than the 2 s" in reason(data, longest=2)
  tracemalloc.start()
  try:
    wave, _ = recording.read(data, longest=2, whole=False)
    _, most = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  assert len(wave) == 2 * RATE
  assert most < 4e6  # of the 38 MB that all of it would take


def test_channels_are_limited():
  assert "channels" in reason((np.zeros((RATE, 33)), RATE))


# ------------------------------------------------------------------- channels


def layouts() -> dict[str, np.ndarray]:
  wave = voice()
  dead = np.zeros_like(wave)
  hiss = 1e-4 * voice(seed=1)
  return {
    "antiphase": np.stack([wave, -wave], 1),
    "nearly antiphase": np.stack([wave, -0.9 * wave], 1),
    "left": np.stack([wave, dead], 1),
    "right, beside hiss": np.stack([hiss, wave], 1),
    "centre of 5.1": np.stack([dead, dead, wave, dead, dead, dead], 1),
    "both": np.stack([wave, wave], 1),
  }


@pytest.mark.parametrize("name", layouts())
def test_channels_become_the_voice_in_them(name):
  wave, _ = recording.read(floats(layouts()[name]))
  want = voice() - voice().mean()
  np.testing.assert_allclose(wave, want, atol=2e-4)


def test_two_microphones_are_averaged():
  both = np.stack([voice(seed=1), voice(seed=2)], 1)
  wave, _ = recording.read(floats(both))
  np.testing.assert_allclose(wave, (both - both.mean(0)).mean(1), atol=1e-6)


# ------------------------------------------------------------------- samples


def test_an_offset_does_not_matter():
  quiet = np.zeros(RATE, np.float32)
  wave = np.concatenate([quiet, voice(), quiet])
  want, found = (
    recording.speech(floats(x), RATE) for x in (wave, wave + np.float32(0.3))
  )
  assert len(want) < 2.3 * RATE
  np.testing.assert_allclose(found, want, atol=1e-4)


@pytest.mark.parametrize("scale", [3.0, 32768.0])
def test_floats_beyond_full_scale_are_no_clipping(scale):
  want, found = (
    recording.speech(floats(x), RATE) for x in (voice(), scale * voice(level=1))
  )
  # Scaled, they are one recording.
  np.testing.assert_allclose(found, want, atol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_sound_are_refused(bad):
  wave = voice()
  wave[9000] = bad
  assert "samples" in reason(floats(wave))
  assert "samples" in reason((wave, RATE))


@pytest.mark.parametrize(
  "wave,said",
  [
    (np.zeros(0), "no samples"),
    (np.zeros(RATE), "silent"),
    (np.full(RATE, 0.3), "silent"),
    (np.clip(100 * voice(), -1, 1), "clipped"),
    (np.clip(100 * voice(), -0.6, 0.6), "clipped"),
  ],
)
def test_sound_that_nobody_can_learn_from_is_refused(wave, said):
  with pytest.raises(Refused, match=said):
    recording.speech(encoded(wave), RATE)


@pytest.mark.parametrize("milliseconds", [0.1, 5, 30])
@pytest.mark.parametrize("at", [0.0, 0.5, 3.2])
def test_a_click_does_not_hold_quiet_speech_down(at, milliseconds):
  quiet = np.zeros(RATE, np.float32)
  wave = np.concatenate([quiet, voice(level=0.005), quiet])
  want = recording.speech(floats(wave), RATE)
  first = int(at * RATE)
  wave[first : first + max(1, int(milliseconds * RATE / 1000))] = 0.99
  found = recording.speech(floats(wave), RATE)
  for sound in (want, found):
    measured = pyloudnorm.Meter(RATE).integrated_loudness(sound)
    assert measured == pytest.approx(loudness.LOUDNESS, abs=1)
  # No speech is taken for silence, no silence but up to the click for speech.
  length = max(len(want), abs(first - 2 * RATE) + 1.2 * RATE)
  assert len(want) - 0.05 * RATE <= len(found) <= length


def test_one_broken_float_does_not_hide_the_rest():
  wave = voice()
  want = recording.speech(floats(wave), RATE)
  wave[5000] = 1e9
  found = recording.speech(floats(wave), RATE)
  apart = np.abs(found - want) > 0.01
  assert len(found) == len(want) and apart.mean() < 0.02


def test_a_click_alone_is_silence():
  wave = np.zeros(RATE, np.float32)
  wave[5000:5010] = 0.9
  with pytest.raises(Refused, match="silent"):
    recording.speech(floats(wave), RATE)


def test_speech_without_clicks_stays_as_it_is():
  wave = voice()
  assert loudness.soften(wave, RATE) is wave
