"""Whole synthesis with tiny random models: batches, seeds, refusals."""

import dataclasses

import numpy as np
import pytest

from s02jax.bundle import Bundle
from s02jax.core.errors import UserError
from s02jax.synthesis.pipeline import derive_seed
from s02jax.synthesis.request import Request, Settings
from s02jax.synthesis.synthesizer import Synthesizer
from tests import tiny

# Short texts, so that the random models soon reach their limit.
TEXTS = ("Yes.", "Oh no!", "Why?", "El perro.", "So", "Fox", "Dog.", "Hi")


@pytest.fixture(scope="module")
def requests():
  """Eight requests, half of them one-shot, all references different."""
  return [
    Request(
      text=text,
      language="es" if "perro" in text else "en",
      reference=tiny.wave(0.7 + 0.06 * i, seed=i),
      reference_text="Good morning" if i % 2 else None,
    )
    for i, text in enumerate(TEXTS)
  ]


@pytest.fixture(scope="module")
def spoken(synthesizer, requests):
  return synthesizer.synthesize(requests, steps=3)


@pytest.mark.parametrize(
  "wave,match",
  [
    (np.zeros(16000, np.float32), "silence"),
    (np.full(16000, 0.3, np.float32), "silence"),
    (tiny.wave(0.4), "0.40 s"),
    (np.zeros(0, np.float32), "0.00 s"),
    (np.full(16000, np.nan, np.float32), "not numbers"),
  ],
)
def test_bad_references_are_refused(synthesizer, wave, match):
  with pytest.raises(UserError, match=match):
    synthesizer.synthesize(
      [Request(text="Hello", language="en", reference=wave)]
    )


def test_a_request_is_read_by_the_front_end_unless_it_is_in_words(
  synthesizer, monkeypatch
):
  asked = []
  monkeypatch.setattr(
    synthesizer, "_job", lambda text, *_, **__: asked.append(text)
  )
  wave = tiny.wave(0.7)
  for text in ("OH NO, 5\u00a0DO\u00adGS!", "Oh no, five dogs!"):
    request = Request(text=text, language="en", reference=wave)
    synthesizer.jobs([request], Settings(), whole=True)
  done = Request(text="5", language="en", reference=wave, in_words=True)
  synthesizer.jobs([done], Settings(), whole=True)
  assert asked == ["Oh no, five dogs!", "Oh no, five dogs!", "5"]


def test_utterances_are_whole_tokens_of_finite_sound(spoken):
  assert len(spoken) == len(TEXTS)
  for utterance in spoken:
    assert len(utterance.wave) == len(utterance.tokens) * tiny.SAMPLES
    assert utterance.wave.dtype == np.float32
    assert np.isfinite(utterance.wave).all()
    assert utterance.wave.std() > 0


def test_a_request_does_not_depend_on_its_batch(synthesizer, requests, spoken):
  for i in (0, 1, 3, 6):
    (alone,) = synthesizer.synthesize([requests[i]], steps=3)
    np.testing.assert_array_equal(alone.tokens, spoken[i].tokens)
    np.testing.assert_allclose(alone.wave, spoken[i].wave, atol=2e-4)


def test_same_seed_same_samples_other_seed_others(synthesizer, requests):
  again = [
    synthesizer.synthesize(requests[:1], steps=2, seed=seed)[0]
    for seed in (5, 5, 6)
  ]
  np.testing.assert_array_equal(again[0].wave, again[1].wave)
  assert not np.array_equal(again[0].tokens, again[2].tokens)


def test_derive_seeds_differ_by_every_part():
  seeds = {
    derive_seed(0, "a", "b"),
    derive_seed(1, "a", "b"),
    derive_seed(0, "ab"),
    derive_seed(0, "b", "a"),
  }
  assert len(seeds) == 4
  assert all(0 <= seed < 2**32 for seed in seeds)


@pytest.mark.parametrize(
  "setting",
  [
    {"steps": 0},
    {"guidance": -1.0},
    {"temperature": float("nan")},
    {"top_k": -1},
    {"top_p": 0.0},
    {"repetition_penalty": 0.0},
    {"repetition_window": 26},
    {"repetition_share": 1.5},
    {"shortest": float("nan")},
  ],
)
def test_bad_settings_are_named(synthesizer, requests, setting):
  with pytest.raises(UserError, match=next(iter(setting))):
    synthesizer.synthesize(requests[:1], **setting)


def test_speech_does_not_end_before_the_shortest_length(synthesizer, requests):
  """The least length follows the text, whatever the model would draw."""
  rate = synthesizer.generator.config.rate("en")
  for text in ("Yes.", "The quick brown fox."):
    request = dataclasses.replace(requests[0], text=text, language="en")
    pieces = len(synthesizer.text.pieces(text))
    for shortest in (0.0, 0.5, 1.0):
      (job,) = synthesizer.jobs(
        [request], Settings(shortest=shortest), whole=True
      )
      least = min(int(shortest * pieces / rate), job.prompt.limit)
      assert job.prompt.least == max(least, 1)


def test_a_prompt_may_be_in_another_language(synthesizer, requests):
  text = synthesizer.text
  tags = {code: text.language_id(code) for code in ("en", "es")}
  request = dataclasses.replace(requests[1], text="El perro.", language="es")
  for told, first in ((None, "es"), ("en", "en"), ("es-mx", "es")):
    asked = dataclasses.replace(request, reference_language=told)
    (job,) = synthesizer.jobs([asked], Settings(), whole=True)
    ids = job.prompt.ids.tolist()
    found = [i for i in ids if i in tags.values()]
    assert found == [tags[first], tags["es"]]
    assert ids[1] == tags[first]


def test_no_request_no_answer(synthesizer):
  assert synthesizer.synthesize([]) == []


def test_voices_ignore_batch_mates_and_padding(synthesizer, requests):
  waves = [r.reference for r in requests]
  together = synthesizer.voices(waves, [None] * len(waves))
  for i in (0, 5):
    (alone,) = synthesizer.voices([waves[i]], [None])
    np.testing.assert_allclose(
      alone.ar_vector, together[i].ar_vector, atol=1e-5
    )
    np.testing.assert_allclose(
      alone.flow_vector, together[i].flow_vector, atol=1e-5
    )
  assert np.abs(together[0].ar_vector - together[5].ar_vector).max() > 1e-3


def test_loaded_from_disk_it_speaks_the_same(tmp_path, requests, spoken):
  tiny.bundle().write(tmp_path / "bundle")
  loaded = Synthesizer(Bundle.load(tmp_path / "bundle"))
  (again,) = loaded.synthesize(requests[1:2], steps=3)
  np.testing.assert_array_equal(again.tokens, spoken[1].tokens)
