"""Signal processing of the judges."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from s02jax.pretrained import signal
from tests.spoken import SENTENCES, needs_pesq, noise, spoken


def test_mel_filters_have_slaneys_scale_and_area():
  filters = signal.slaney_mel(16000, 400, 40)
  hz = np.fft.rfftfreq(400, 1 / 16000)
  centres = hz[np.argmax(filters, axis=1)]
  assert filters.shape == (40, 201)
  assert np.all(np.diff(centres) > 0)
  wide = signal.slaney_mel(16000, 16000, 40)
  assert_allclose(wide.sum(axis=1), 1.0, rtol=0.01)


def test_power_frames_are_centred_and_padded_with_zeros():
  wave = noise(1000)
  power = signal.power_frames(wave, 400, 160)
  assert power.shape == (1 + 1000 // 160, 201)
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
  middle = np.abs(np.fft.rfft(wave[280:680] * hann)) ** 2
  assert_allclose(power[3], middle, rtol=1e-3, atol=1e-4)


def test_trimming_keeps_the_speech_and_drops_the_quiet():
  speech = noise(8000)
  wave = np.concatenate([noise(16000, 1, 1e-4), speech, np.zeros(16000)])
  trimmed = signal.trim_silence(wave)
  assert 8000 <= len(trimmed) <= 8000 + 2 * 640
  assert len(signal.trim_silence(np.zeros(5000))) == 0
  assert len(signal.trim_silence(np.zeros(0))) == 0


def test_broken_samples_become_silence():
  wave = signal.to_judge_rate([np.nan, np.inf, -np.inf, 0.5], 16000)
  assert_array_equal(wave, np.array([0, 0, 0, 0.5], np.float32))


def test_perfect_copies_get_the_best_marks():
  wave = spoken(SENTENCES[0])
  assert signal.stoi(wave, wave) > 0.999
  assert signal.spectral_distance(wave, wave) == 0


@needs_pesq
def test_perfect_copies_get_the_best_pesq():
  wave = spoken(SENTENCES[0])
  assert signal.wb_pesq(wave, wave) > 4.6
  assert signal.nb_pesq(wave, wave) > 4.5


def nearness(wave, copy):
  return -signal.spectral_distance(wave, copy)


@pytest.mark.parametrize(
  "mark",
  [
    signal.stoi,
    nearness,
    pytest.param(signal.wb_pesq, marks=needs_pesq),
    pytest.param(signal.nb_pesq, marks=needs_pesq),
  ],
)
def test_noise_lowers_every_mark_the_more_the_louder(mark):
  wave = spoken(SENTENCES[1])
  copies = (wave, wave + noise(len(wave), 1, 0.02), noise(len(wave), 2))
  assert np.all(np.diff([mark(wave, copy) for copy in copies]) < 0)


@pytest.mark.parametrize(
  "mark", [signal.stoi, pytest.param(signal.wb_pesq, marks=needs_pesq)]
)
def test_what_holds_no_speech_is_not_marked(mark):
  wave = spoken(SENTENCES[0])
  assert mark(wave[:100], wave[:100]) is None
  assert mark(np.zeros_like(wave), wave) is None
