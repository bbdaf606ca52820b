"""Named voices of a bundle: stored, kept, mixed."""

import dataclasses
import logging

import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.synthesis import voice_store
from s02jax.synthesis.voice import Transcript
from tests import tiny


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
