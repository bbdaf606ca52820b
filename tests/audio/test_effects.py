"""Effects on a buzz like a voice: speed, pitch, volume, rate, joins."""

import numpy as np
import pytest

from s02jax.audio.effects import CEILING, FADE, Changes, Effects, join
from s02jax.core.errors import UserError

RATE = 16000
F0 = 140.0


def voice(seconds=2.0, f0=F0, rate=RATE):
  """Harmonics that grow and fall four times a second, float32 [n]."""
  t = np.arange(round(seconds * rate)) / rate
  harmonics = sum(
    np.sin(2 * np.pi * f0 * k * t + k * k) / k for k in range(1, 12)
  )
  swell = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * t)
  return (0.2 * swell * harmonics).astype(np.float32)


def f0_of(wave, rate):
  """Median over frames of the strongest period from 50 to 400 Hz."""
  window, found = rate // 10, []
  for start in range(0, len(wave) - window, window // 2):
    frame = wave[start : start + window] * np.hanning(window)
    spectrum = np.abs(np.fft.rfft(frame, 2 * window)) ** 2
    r = np.fft.irfft(spectrum)[:window]
    r /= np.linspace(1, 0.5, window) ** 2
    low = rate // 400
    period = low + int(np.argmax(r[low : rate // 50]))
    left, mid, right = r[period - 1 : period + 2]
    shift = 0.5 * (left - right) / (left - 2 * mid + right)
    found.append(rate / (period + shift))
  return float(np.median(found))


def changed(wave, cuts=(), **settings):
  """Runs a wave, cut into blocks at `cuts`, through the effects."""
  effects = Effects(Changes(**settings), RATE)
  blocks = np.split(wave, sorted(cuts))
  made = [effects.push(block) for block in blocks] + [effects.finish()]
  assert all(block.dtype == np.float32 for block in made)
  return np.concatenate(made), effects.rate


ALL = (
  {"speed": 0.5},
  {"speed": 2.0},
  {"speed": 1.3, "rate": 24000},
  {"pitch": 12.0},
  {"pitch": -12.0},
  {"pitch": 3.5, "speed": 0.8, "volume": 3.0},
  {"pitch": -12.0, "speed": 2.0},
  {"pitch": 12.0, "speed": 0.5, "rate": 48000},
  {"pitch": 12.0, "speed": 2.0},
  {"rate": 8000},
  {"rate": 44100},
  {"volume": 10.0},
)


@pytest.mark.parametrize("settings", ALL, ids=str)
def test_length_and_pitch_are_as_asked(settings):
  made, rate = changed(voice(), **settings)
  seconds = 2.0 / settings.get("speed", 1.0)
  assert len(made) / rate == pytest.approx(seconds, abs=2.5 / rate)
  factor = 2 ** (settings.get("pitch", 0.0) / 12)
  # Read at a rate that gives the pitch back, so that one ruler fits all.
  found = f0_of(made, round(rate / factor))
  assert found == pytest.approx(F0, rel=0.01)


@pytest.mark.parametrize("settings", [{}, *ALL], ids=str)
def test_the_result_does_not_depend_on_the_blocks(settings, random):
  wave = voice(0.7) + 0.01 * random.normal(size=11200).astype(np.float32)
  whole, _ = changed(wave, **settings)
  for count in (1, 7, 60):
    cuts = random.integers(0, len(wave), count)
    made, _ = changed(wave, cuts=cuts, **settings)
    np.testing.assert_array_equal(made, whole)


@pytest.mark.parametrize("samples", [0, 1, 100, 700])
@pytest.mark.parametrize("settings", ALL, ids=str)
def test_short_and_empty_speech_keeps_its_length(samples, settings):
  made, rate = changed(voice()[:samples], **settings)
  seconds = samples / RATE / settings.get("speed", 1.0)
  assert len(made) == pytest.approx(seconds * rate, abs=2.5)
  assert np.isfinite(made).all()


def test_sound_comes_before_the_end():
  effects = Effects(Changes(speed=1.5, pitch=2, volume=2, rate=24000), RATE)
  made = effects.push(voice(1.0))
  assert len(made) > 0.4 * 24000


def test_no_change_changes_nothing():
  wave = voice()
  made, rate = changed(wave)
  assert rate == RATE
  np.testing.assert_array_equal(made, wave)


def test_volume_is_a_gain_until_the_ceiling():
  wave = voice()
  quiet, _ = changed(wave, volume=0.3)
  np.testing.assert_allclose(quiet, 0.3 * wave, atol=1e-6)
  loud, _ = changed(wave, volume=10.0)
  assert 0.9 * CEILING < np.abs(loud).max() <= CEILING
  # Held down by gain, not cut: hardly a sample lies at the ceiling itself.
  assert (np.abs(loud) >= CEILING - 1e-6).mean() < 0.02
  assert np.corrcoef(loud, wave)[0, 1] > 0.9


def test_resampling_keeps_a_tone():
  t = np.arange(RATE) / RATE
  tone = np.sin(2 * np.pi * 1000 * t).astype(np.float32)
  made, rate = changed(tone, rate=24000)
  want = np.sin(2 * np.pi * 1000 * np.arange(24000) / 24000)
  inner = slice(2400, -2400)
  np.testing.assert_allclose(made[inner], want[inner], atol=1e-3)


@pytest.mark.parametrize(
  "setting",
  [
    {"speed": 0.49},
    {"speed": 2.1},
    {"speed": float("nan")},
    {"pitch": 12.5},
    {"pitch": -13},
    {"volume": 0},
    {"volume": 11},
    {"rate": 7999},
    {"rate": 96000},
  ],
  ids=str,
)
def test_settings_out_of_range_are_named(setting):
  with pytest.raises(UserError, match=f"^{next(iter(setting))} is") as error:
    Changes(**setting)
  assert "\n" not in str(error.value)


# ---------------------------------------------------------------------- joins


def joined(*parts):
  blocks = list(join([p if isinstance(p, float) else [p] for p in parts], RATE))
  return np.concatenate(blocks)


FADED = round(FADE * RATE)


def test_one_chunk_is_left_alone():
  wave = voice(0.5)
  np.testing.assert_array_equal(joined(wave), wave)
  assert len(joined()) == len(joined(wave[:0])) == 0


def test_a_pause_is_silence_of_its_length():
  first, second = voice(0.5), voice(0.4, 200)
  made = joined(first, 0.31, second)
  assert len(made) == len(first) + round(0.31 * RATE) + len(second)
  silence = made[len(first) : len(first) + round(0.31 * RATE)]
  assert not silence.any()
  np.testing.assert_array_equal(made[:FADED], first[:FADED])
  np.testing.assert_array_equal(made[-FADED:], second[-FADED:])
  at_ends = joined(0.1, first, 0.2)
  assert len(at_ends) == len(first) + round(0.3 * RATE)
  assert not at_ends[:1600].any() and not at_ends[-3200:].any()


@pytest.mark.parametrize("pause", [(), (0.05,)])
def test_joins_do_not_click(pause):
  """No step from a crest to a trough is much larger than the waves' own."""
  t = np.arange(RATE // 2) / RATE
  crest = 0.5 * np.cos(2 * np.pi * 100 * t).astype(np.float32)
  step = np.abs(np.diff(crest)).max()
  made = joined(crest, *pause, -crest)
  assert np.abs(np.diff(made)).max() < 2.5 * step


def test_a_join_keeps_the_power_of_noise(random):
  parts = random.normal(size=(400, 2, 4 * FADED)).astype(np.float32)
  power = np.mean([joined(*pair) ** 2 for pair in parts], axis=0)
  assert len(power) == 7 * FADED
  np.testing.assert_allclose(power, 1.0, atol=0.4)
  assert power[3 * FADED : 4 * FADED].mean() == pytest.approx(1, abs=0.05)


def test_a_join_does_not_depend_on_the_blocks(random):
  chunks = [voice(s, f) for s, f in ((0.3, 100), (0.01, 300), (0.2, 150))]
  parts = [chunks[0], chunks[1], 0.02, chunks[1], chunks[2]]
  whole = joined(*parts)
  for count in (3, 40, 400):
    cut = [
      p
      if isinstance(p, float)
      else np.split(p, np.sort(random.integers(0, len(p), count)))
      for p in parts
    ]
    made = np.concatenate(list(join(cut, RATE)))
    np.testing.assert_array_equal(made, whole)


def test_a_long_pause_comes_in_small_blocks():
  blocks = list(join([99.99], RATE))
  assert max(map(len, blocks)) <= RATE
  assert sum(map(len, blocks)) == round(99.99 * RATE)
