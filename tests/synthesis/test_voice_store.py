"""Named voices of a bundle: stored, kept, mixed."""

import dataclasses
import logging

import numpy as np
import pytest
import soundfile

from s02jax.core.errors import UserError
from s02jax.pretrained import silero
from s02jax.synthesis import voice_store
from s02jax.synthesis.voice import Transcript
from tests import tiny
from tests.spoken import SENTENCES, spoken


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Folder of a bundle with two voices, and of their recordings."""
  return tiny.write_with_voices(tmp_path_factory.mktemp("voices"))


def test_what_is_added_is_loaded_as_it_was(folder, synthesizer):
  said = Transcript(text="Good morning", language="en")
  made, _ = voice_store.recorded(synthesizer, [folder / "1.wav"], said)
  kept = voice_store.mixed(synthesizer, folder / "bundle", {"ben": 2.0})
  np.testing.assert_allclose(kept.ar_vector, made.ar_vector, atol=1e-6)
  np.testing.assert_array_equal(kept.prompt.tokens, made.prompt.tokens)
  assert (kept.prompt.text, kept.prompt.language) == ("Good morning", "en")


def test_writing_a_bundle_anew_keeps_its_voices(folder, tmp_path, caplog):
  bundle = tiny.bundle()
  bundle.write(tmp_path / "b")
  source = folder / "bundle" / "voices" / "ben.safetensors"
  kept = tmp_path / "b" / "voices" / "ben.safetensors"
  kept.write_bytes(source.read_bytes())
  with caplog.at_level(logging.WARNING):
    bundle.write(tmp_path / "b")
  assert kept.read_bytes() == source.read_bytes()
  assert not caplog.records
  vae = bundle.params["flow_vae"] | {"more": np.ones(1, np.float32)}
  other = dataclasses.replace(bundle, params=bundle.params | {"flow_vae": vae})
  other.write(tmp_path / "b")
  assert kept.read_bytes() == source.read_bytes()
  assert "other models" in caplog.text and "ben" in caplog.text


@pytest.mark.parametrize(
  "items,match",
  [
    (["a"] * 5, "at most 4"),
    (["a", "a:2"], "twice"),
    (["a:0"], "above 0"),
    (["a:x"], "above 0"),
    (["a:-1"], "above 0"),
    (["a:nan"], "above 0"),
  ],
)
def test_mixtures_that_make_no_sense_are_refused(items, match):
  with pytest.raises(UserError, match=match):
    voice_store.parse_mixture(items)


def test_a_mixture_reads_names_and_weights():
  assert voice_store.parse_mixture(["a:0.7", "b"]) == {"a": 0.7, "b": 1.0}


@pytest.mark.skipif(not silero.is_installed(), reason=silero.MISSING)
def test_a_reference_in_which_nobody_speaks_is_a_warning(tmp_path, caplog):
  noise = 0.1 * np.random.default_rng(0).normal(size=32_000)
  for name, wave in (("noise", noise), ("speech", spoken(SENTENCES[0]))):
    soundfile.write(tmp_path / f"{name}.wav", wave, 16_000)
    voice_store.reference(tmp_path / f"{name}.wav", 16_000)
  assert caplog.text.count("nobody seems to speak") == 1
  assert "noise.wav" in caplog.text


def test_a_missing_detector_is_said_once(tmp_path, caplog, monkeypatch):
  monkeypatch.setattr(silero, "is_installed", lambda: False)
  voice_store._say_unchecked.cache_clear()
  soundfile.write(tmp_path / "a.wav", spoken(SENTENCES[0]), 16_000)
  with caplog.at_level(logging.INFO):
    for _ in range(2):
      voice_store.reference(tmp_path / "a.wav", 16_000)
  assert caplog.text.count("silero-vad") == 1


def test_a_reference_must_fit_its_transcript(tmp_path, caplog):
  path = tmp_path / "a.wav"
  soundfile.write(path, spoken(SENTENCES[0]), 16_000)
  voice_store.reference(path, 16_000, SENTENCES[0])
  assert not caplog.records
  voice_store.reference(path, 16_000, " ".join(SENTENCES[:4]))
  assert "to read" in caplog.text
  with pytest.raises(UserError, match="a.wav: .* is missing"):
    voice_store.reference(path, 16_000, 3 * " ".join(SENTENCES))


def test_only_the_start_of_a_long_reference_is_decoded(tmp_path):
  path = tmp_path / "a.wav"
  long = np.tile(spoken(SENTENCES[0]), 100)
  soundfile.write(path, long, 16_000)
  wave = voice_store.reference(path, 16_000)
  assert len(wave) <= voice_store.DECODED * 16_000 < len(long)
  with pytest.raises(UserError, match="longer than the 120 s"):
    voice_store.reference(path, 16_000, 50 * SENTENCES[0])
