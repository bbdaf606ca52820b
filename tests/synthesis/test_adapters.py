"""Adapters at synthesis: the base untouched, mixtures, many in one batch."""

import dataclasses

import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.synthesis.decode import decoder
from s02jax.synthesis.emotion import parse, strengths
from s02jax.synthesis.render import flow
from s02jax.synthesis.request import Request, Settings
from s02jax.synthesis.store import adapter_store
from s02jax.synthesis.synthesizer import Synthesizer
from tests import tiny

SETTINGS = vars(Settings(steps=2))
NAMES = ("angry", "happy", "sad")


@pytest.fixture(scope="module")
def adapters():
  return [tiny.adapter(name, i) for i, name in enumerate(NAMES)]


@pytest.fixture(scope="module")
def emotional(adapters):
  """Synthesizer of the tiny bundle with three emotions."""
  return Synthesizer(tiny.bundle(), adapters)


@pytest.fixture(scope="module")
def request_of(voices):
  def make(emotion=None, text="Oh no!"):
    return Request(text=text, language="en", voice=voices[0], emotion=emotion)

  return make


def test_without_strength_it_is_the_base_bit_for_bit(
  synthesizer, emotional, request_of
):
  """Adapters that nobody asked for change no bit of tokens or sound."""
  (base,) = synthesizer.synthesize([request_of()], **SETTINGS)
  for nothing in (None, {}, "sad:0", {"angry": 0.0}, "neutral"):
    (same,) = emotional.synthesize([request_of(nothing)], **SETTINGS)
    np.testing.assert_array_equal(same.tokens, base.tokens)
    np.testing.assert_array_equal(same.wave, base.wave)


def test_emotions_in_one_batch_are_each_as_if_alone(emotional, request_of):
  """Seven requests of other emotions and strengths need no other program."""
  asked = [None, "angry", "happy", "sad", "sad:0.5", "sad:0.2,happy:0.4", "Sad"]
  requests = [request_of(emotion) for emotion in asked]
  together = emotional.synthesize(requests, **SETTINGS)
  sizes = decoder.decode._cache_size(), flow.flow_chunk._cache_size()
  other = [request_of(e) for e in ("happy:0.7", *asked[:-1])]
  emotional.synthesize(other, **SETTINGS)
  assert (decoder.decode._cache_size(), flow.flow_chunk._cache_size()) == sizes
  for one, request in zip(together, requests, strict=True):
    (alone,) = emotional.synthesize([request], **SETTINGS)
    np.testing.assert_array_equal(alone.tokens, one.tokens)
    np.testing.assert_allclose(alone.wave, one.wave, atol=2e-4)
  assert len({one.tokens.tobytes() for one in together[:4]}) == 4


def test_an_emotion_is_its_merged_bundle(adapters, emotional, request_of):
  """Mixed at the moment of speaking or into the weights: the same speech."""
  merged = adapter_store.merged(tiny.bundle(), adapters[1:], (0.5, 0.8))
  base = Synthesizer(merged)
  (mixed,) = emotional.synthesize([request_of("happy:.5,sad:.8")], **SETTINGS)
  voice = dataclasses.replace(request_of().voice, fingerprint=base.fingerprint)
  request = dataclasses.replace(request_of(), voice=voice)
  (whole,) = base.synthesize([request], **SETTINGS)
  np.testing.assert_array_equal(whole.tokens, mixed.tokens)
  np.testing.assert_allclose(whole.wave, mixed.wave, atol=1e-3)
  assert merged.fingerprint != tiny.bundle().fingerprint


def test_adapters_are_kept_in_the_bundle_and_refused_on_another(
  tmp_path, adapters, caplog
):
  tiny.bundle().write(tmp_path / "bundle")
  folder, fingerprint = tmp_path / "bundle", tiny.bundle().fingerprint
  for one in adapters:
    adapter_store.add(folder, one)
  with pytest.raises(UserError, match="already; give --replace"):
    adapter_store.add(folder, adapters[0])
  tiny.bundle().write(folder)  # they stay where the bundle is written again
  assert adapter_store.names(folder) == list(NAMES)
  for kept, made in zip(
    adapter_store.load_all(folder, fingerprint), adapters, strict=True
  ):
    assert kept.name == made.name and kept.scale == made.scale
    for model, pairs in made.weights.items():
      for path, pair in pairs.items():
        for part, array in pair.items():
          np.testing.assert_array_equal(kept.weights[model][path][part], array)
  with pytest.raises(UserError, match="another base .* train it again"):
    adapter_store.load(folder, "sad", "0123")
  assert adapter_store.load_all(folder, "0123") == []
  assert caplog.text.count("trained on another base") == len(NAMES)
  with pytest.raises(UserError, match="did you mean sad"):
    adapter_store.load(folder, "sadd", fingerprint)
  adapter_store.remove(folder, "sad")
  assert adapter_store.names(folder) == ["angry", "happy"]


@pytest.mark.parametrize(
  ("emotion", "message"),
  [
    ("sad:x", "'sad:x' is no emotion"),
    ("sad:-1", "a strength of 0 or more"),
    (":1", "is no emotion"),
    ("sad,sad", "given twice"),
    ("sad:1.5,happy", "2.5 together; give at most 2"),
    ("joyful", "no emotion 'joyful' here"),
    ("hapy", "did you mean happy"),
    (3, "the emotion is a int"),
  ],
)
def test_a_wrong_emotion_is_one_sentence(emotion, message):
  with pytest.raises(UserError, match=message) as error:
    strengths(emotion, NAMES)
  assert "\n" not in str(error.value)


def test_strengths_are_in_the_order_of_the_adapters():
  np.testing.assert_allclose(strengths("SAD:0.6, angry", NAMES), [1, 0, 0.6])
  assert parse({"sad": 0.0}) == {}
  with pytest.raises(UserError, match="none yet: `s02 adapt emotion`"):
    strengths("sad", ())
