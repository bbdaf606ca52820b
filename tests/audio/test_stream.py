"""Sound encoded while it is made: complete, early, readable by everybody."""

import numpy as np
import pytest

from s02jax.audio import recording, stream
from s02jax.audio.stream import FORMATS, StreamEncoder

SECONDS = 2.0


def tone(rate, seconds=SECONDS):
  return (0.3 * np.sin(np.arange(int(rate * seconds)) * 0.1)).astype("f4")


def encode(name, rate, blocks, **options):
  encoder = StreamEncoder(name, rate, **options)
  return [*(encoder.push(block) for block in blocks), encoder.finish()]


@pytest.mark.parametrize("rate", [16000, 24000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", [n for n in FORMATS if n != "pcm"])
def test_a_stream_is_a_file_of_the_same_sound(name, rate, channels):
  wave = tone(rate)
  parts = encode(name, rate, np.array_split(wave, 20), channels=channels)
  heard, found = recording.read(b"".join(parts))
  assert found == rate
  # Coders that know no length add a frame of silence at each end.
  assert len(wave) <= len(heard) <= len(wave) + 3 * 1152
  spectrum = np.abs(np.fft.rfft(heard[: len(wave)]))
  assert np.argmax(spectrum) == np.argmax(np.abs(np.fft.rfft(wave)))


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_leave_while_sound_is_made(name):
  parts = encode(name, 16000, np.array_split(tone(16000), 8))
  assert sum(map(len, parts[:4])) > 0.3 * sum(map(len, parts))


@pytest.mark.parametrize("name", FORMATS)
def test_no_sound_at_all_is_no_fault(name):
  assert name == "pcm" or encode(name, 16000, [])[-1]


def test_plain_samples_are_those_that_came_in():
  wave = tone(16000)
  parts = encode("pcm", 16000, np.array_split(wave, 7))
  whole = np.frombuffer(b"".join(parts), "<i2") / 32767
  np.testing.assert_allclose(whole, wave, atol=1e-4)
  loud = np.frombuffer(encode("pcm", 16000, [2 * np.ones(3)])[0], "<i2")
  assert loud.tolist() == [32767] * 3


def test_a_rate_that_a_format_lacks_is_replaced_by_a_higher_one():
  assert stream.allowed_rate("opus", 22050) == 24000
  assert stream.allowed_rate("mp3", 22050) == 22050
  assert stream.allowed_rate("opus", 96000) == 48000
  assert stream.allowed_rate("wav", 22050) == 22050
