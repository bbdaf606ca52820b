"""Sound files written piece by piece."""

import numpy as np
import pytest
import soundfile

from s02jax.audio import loudness, recording
from s02jax.audio.writer import FORMATS, RATES, SoundWriter, check_out
from s02jax.core.errors import UserError

RATE = 16000


def tone(seconds=1.0, rate=RATE):
  t = np.arange(round(seconds * rate)) / rate
  return (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)


def write(path, wave, cuts=(), rate=RATE):
  with SoundWriter(path, rate) as out:
    for block in np.split(wave, cuts):
      out.write(block)
  assert out.seconds == pytest.approx(len(wave) / rate)
  return path


def read(path):
  if path.suffix == ".pcm":
    return np.frombuffer(path.read_bytes(), "<i2") / 32768, RATE
  return recording.read(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_written_is_read_again(suffix, tmp_path):
  wave = tone()
  got, rate = read(write(tmp_path / f"a{suffix}", wave, [7, 7, 5000]))
  assert rate in (RATE, 48000)  # Opus is always read at 48 kHz
  got = loudness.resample(got.astype(np.float32), rate, RATE)
  assert len(got) == pytest.approx(len(wave), abs=0.1 * RATE)
  got, want = (np.abs(np.fft.rfft(x[4000:12000])) for x in (got, wave))
  np.testing.assert_allclose(got, want, atol=0.05 * want.max())
  assert [p.name for p in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".pcm"])
def test_blocks_do_not_matter(suffix, tmp_path, random):
  wave = tone(0.5)
  cuts = np.sort(random.integers(0, len(wave), 50))
  whole = write(tmp_path / f"a{suffix}", wave).read_bytes()
  parts = write(tmp_path / f"b{suffix}", wave, cuts).read_bytes()
  assert whole == parts


@pytest.mark.parametrize("suffix", RATES)
def test_every_rate_that_is_promised_works(suffix, tmp_path):
  for rate in RATES[suffix]:
    path = write(tmp_path / f"a{suffix}", tone(0.2, rate), rate=rate)
    assert soundfile.info(path).frames > 0


def test_a_rate_that_the_format_lacks_is_named(tmp_path):
  with pytest.raises(UserError, match="22050 Hz.*--rate of 8000, 12000"):
    SoundWriter(tmp_path / "a.opus", 22050)


def test_loud_sound_is_cut_off(tmp_path):
  got, _ = soundfile.read(write(tmp_path / "a.wav", 4 * tone()))
  assert got.max() > 0.99
  assert got.min() == -1


def test_an_error_leaves_nothing(tmp_path):
  with (
    pytest.raises(RuntimeError),
    SoundWriter(tmp_path / "a.wav", RATE) as out,
  ):
    out.write(tone())
    raise RuntimeError
  assert list(tmp_path.iterdir()) == []


def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path):
  path = write(tmp_path / "a.wav", tone(0.1))
  before = path.read_bytes()
  with SoundWriter(path, RATE) as out:
    out.write(tone())
    assert path.read_bytes() == before
  assert path.read_bytes() != before


@pytest.mark.parametrize(
  "name,match", [("a.txt", "suffix"), ("a", "suffix"), ("no/a.wav", "folder")]
)
def test_names_that_cannot_be(name, match, tmp_path):
  with pytest.raises(UserError, match=match) as error:
    check_out(tmp_path / name)
  assert "\n" not in str(error.value)


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
  def full(*args):
    raise OSError(28, "No space left on device")

  with (
    pytest.raises(UserError, match="No space"),
    SoundWriter(tmp_path / "a.wav", RATE) as out,
  ):
    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    out.write(tone())
  assert list(tmp_path.iterdir()) == []
