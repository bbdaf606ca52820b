"""Fingerprints of sound, voices of recordings, measures of clips."""

import io

import numpy as np
import pytest
import soundfile

from data_pipelines.recordings.analysis import fingerprint, measures, voices
from s02jax.audio import recording
from s02jax.pretrained.judges import unit_vectors
from tests.spoken import SENTENCES, spoken

RATE = 16_000


def _vectors(random, count, *, near=None):
  noise = unit_vectors(random.normal(size=(count, 64)))
  found = noise if near is None else near + 0.4 * noise
  return unit_vectors(found).astype(np.float32)


def test_a_quieter_mp3_of_a_clip_has_its_fingerprint():
  whole = [np.asarray(spoken(text, "f3"), np.float32) for text in SENTENCES[:4]]
  sketches = [fingerprint.sketch(wave) for wave in whole]
  for i, wave in enumerate(whole):
    file = io.BytesIO()
    soundfile.write(file, 0.4 * wave[700:-900], RATE, format="MP3")
    copy = fingerprint.sketch(recording.read(file.getvalue())[0])
    found = [fingerprint.overlap(copy, sketch) for sketch in sketches]
    assert found[i] > 0.15
    assert max(x for j, x in enumerate(found) if j != i) < 0.08


def test_too_little_sound_has_no_fingerprint():
  assert fingerprint.sketch(np.ones(RATE // 2, np.float32)) == ()
  assert fingerprint.overlap((), (1, 2)) == 0


def test_strangers_are_found_among_a_main_voice():
  random = np.random.default_rng(0)
  people = _vectors(random, 2)
  clips = np.concatenate([
    _vectors(random, 8, near=people[0]), _vectors(random, 3, near=people[1])
  ])  # fmt: skip
  found, share = voices.strangers(clips, [4.0] * 11, 0.6)
  assert found.tolist() == [False] * 8 + [True] * 3
  assert share == pytest.approx(8 / 11)


def test_short_clips_are_nobody_s_strangers():
  random = np.random.default_rng(0)
  found, share = voices.strangers(_vectors(random, 3), [4.0, 4.0, 0.5], 0.99)
  assert not found[2]
  assert share == pytest.approx(0.5)


def test_people_do_not_depend_on_the_order_of_recordings():
  random = np.random.default_rng(1)
  people = _vectors(random, 3)
  vectors = np.concatenate([_vectors(random, 4, near=x) for x in people])
  names = [f"{i:02d}.wav" for i in random.permutation(12)]
  found = voices.people(names, vectors, 0.6)
  order = random.permutation(12)
  again = voices.people([names[i] for i in order], vectors[order], 0.6)
  assert found == again
  assert len(set(found.values())) == 3
  for person in range(3):
    mine = names[4 * person : 4 * person + 4]
    assert {found[name] for name in mine} == {min(mine)}


def test_the_bandwidth_of_a_telephone_is_found_at_any_rate():
  wave = np.random.default_rng(0).normal(size=4 * 8000).astype(np.float32)
  up = __import__("soxr").resample(wave, 8000, 48_000)
  assert measures.bandwidth(up, 48_000) == pytest.approx(4000, rel=0.1)
  assert measures.bandwidth(wave, 8000) == pytest.approx(4000, rel=0.05)


def test_chords_behind_speech_are_music_and_noise_is_not():
  speech = np.asarray(spoken(SENTENCES[0], "f3"), np.float32)
  level = np.sqrt(np.mean(speech**2))
  time = np.arange(3 * RATE) / RATE
  chord = sum(np.sin(2 * np.pi * f * time) for f in (220, 277, 330, 440))
  noise = np.random.default_rng(0).normal(size=3 * RATE)
  assert measures.music(0.1 * level * chord, speech) > 0.8
  assert measures.music(0.1 * level * noise, speech) < 0.1
  assert measures.music(0.001 * level * chord, speech) == 0
