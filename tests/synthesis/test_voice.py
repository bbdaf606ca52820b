"""Voices: stored, averaged and mixed; references checked."""

import dataclasses
import logging

import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.synthesis.voice import (
  Prompt,
  Voice,
  average,
  check_reference,
  mix,
)
from tests import tiny


def voice(seed: int, prompt: bool = False) -> Voice:
  random = np.random.default_rng(seed)
  return Voice(
    ar_vector=random.normal(size=8).astype(np.float32),
    flow_vector=random.normal(size=6).astype(np.float32),
    prompt=Prompt(
      text="Grüße, 世界",
      language="de",
      tokens=np.arange(5, dtype=np.int32),
      latents=random.normal(size=(10, 3)).astype(np.float32),
    )
    if prompt
    else None,
    fingerprint="of one bundle",
  )


def same(a: Voice, b: Voice) -> None:
  np.testing.assert_array_equal(a.ar_vector, b.ar_vector)
  np.testing.assert_array_equal(a.flow_vector, b.flow_vector)
  assert (a.prompt is None) == (b.prompt is None)
  if a.prompt:
    assert a.prompt.text == b.prompt.text
    assert a.prompt.language == b.prompt.language
    np.testing.assert_array_equal(a.prompt.tokens, b.prompt.tokens)
    np.testing.assert_array_equal(a.prompt.latents, b.prompt.latents)


@pytest.mark.parametrize("prompt", [False, True])
def test_a_voice_survives_its_file(tmp_path, prompt):
  stored = voice(0, prompt)
  stored.save(tmp_path / "anna.safetensors")
  same(Voice.load(tmp_path / "anna.safetensors", "of one bundle"), stored)
  assert [p.name for p in tmp_path.iterdir()] == ["anna.safetensors"]


def test_files_that_are_no_voice_of_this_bundle_are_refused(tmp_path):
  path = tmp_path / "anna.safetensors"
  with pytest.raises(UserError, match="cannot be read"):
    Voice.load(path, "of one bundle")
  voice(0).save(path)
  with pytest.raises(UserError, match="another bundle"):
    Voice.load(path, "of another")
  data = path.read_bytes()
  path.write_bytes(data[:-9])
  with pytest.raises(UserError, match="damaged"):
    Voice.load(path, "of one bundle")
  path.write_bytes(data.replace(b"voice_version", b"other_version"))
  with pytest.raises(UserError, match="version"):
    Voice.load(path, "of one bundle")
  bad = dataclasses.replace(voice(0), ar_vector=np.full(8, np.nan, np.float32))
  bad.save(path)
  with pytest.raises(UserError, match="not numbers"):
    Voice.load(path, "of one bundle")
  for name in ("anna.npz", "nowhere/anna.safetensors"):
    with pytest.raises(UserError, match="anna"):
      voice(0).save(tmp_path / name)
  assert [p.name for p in tmp_path.iterdir()] == ["anna.safetensors"]


def test_a_mixture_is_the_weighted_mean_without_a_prompt():
  """A mixture has the power of its vectors, as the encoder's own have."""
  a, b = voice(1, prompt=True), voice(2)
  mixed = mix([a, b], [3, 1])
  for name in ("ar_vector", "flow_vector"):
    one, two, both = (getattr(v, name) for v in (a, b, mixed))
    power = 0.75 * np.mean(one**2) + 0.25 * np.mean(two**2)
    assert np.mean(both**2) == pytest.approx(power, rel=1e-5)
    mean = 0.75 * one + 0.25 * two
    cosine = mean @ both / np.linalg.norm(mean) / np.linalg.norm(both)
    assert cosine == pytest.approx(1.0, abs=1e-5)
  assert mixed.prompt is None
  same(mix([a], [0.1]), dataclasses.replace(a, prompt=None))


def test_an_average_keeps_the_first_prompt():
  a, b, c = voice(1), voice(2, prompt=True), voice(3)
  mean = average([a, b, c])
  expected = a.flow_vector + b.flow_vector + c.flow_vector
  expected /= np.linalg.norm(expected)
  found = mean.flow_vector / np.linalg.norm(mean.flow_vector)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
  assert mean.prompt is b.prompt


@pytest.mark.parametrize(
  "voices,weights,match",
  [
    ([], [], "0 voices"),
    ([voice(0)] * 5, [1] * 5, "5 voices"),
    ([voice(0)], [1, 2], "2 weights"),
    ([voice(0)] * 2, [0, 0], "0, 0"),
    ([voice(0)] * 2, [2, -1], "-1"),
    ([voice(0)] * 2, [2, float("nan")], "nan"),
    (
      [voice(0), dataclasses.replace(voice(1), fingerprint="x")],
      [1, 1],
      "different bundles",
    ),
    (
      [
        voice(0),
        dataclasses.replace(voice(0), flow_vector=-voice(0).flow_vector),
      ],
      [1, 1],
      "too unlike: 0%",
    ),
  ],
)
def test_what_makes_no_mixture_is_refused(voices, weights, match):
  with pytest.raises(UserError, match=match):
    mix(voices, weights)


def test_a_long_reference_is_cropped_and_said_so(caplog):
  wave = tiny.wave(21.0)
  with caplog.at_level(logging.INFO):
    cropped = check_reference(wave, tiny.RATE)
  np.testing.assert_array_equal(cropped, wave[: 20 * tiny.RATE])
  assert "first 20 s" in caplog.text


def test_a_long_reference_with_a_transcript_is_refused():
  with pytest.raises(UserError, match="transcript"):
    check_reference(tiny.wave(21.0), tiny.RATE, "Good morning")
