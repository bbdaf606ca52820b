"""Voices from descriptions: words and tags, the space, training, design."""

import dataclasses

import jax
import numpy as np
import pytest

from configs import text_to_voice
from s02jax import stages
from s02jax.core.errors import UserError
from s02jax.data import descriptions
from s02jax.data.voices import VoiceSpace, VoiceTable
from s02jax.synthesis.store import voice_design, voice_store
from s02jax.synthesis.store.voice_design import VoiceDesigner
from s02jax.training.loop import train
from s02jax.training.trained import Trained
from tests import tiny


def table(voices=24, seed=0) -> VoiceTable:
  """Random voices of the tiny bundle's sizes, on their spheres."""
  random = np.random.default_rng(seed)

  def vectors():
    x = random.normal(size=(voices, 32)).astype(np.float32)
    return x / np.sqrt(np.mean(x**2, axis=1, keepdims=True))

  tags = np.stack(
    [random.integers(0, size, voices) for size in descriptions.SIZES], axis=1
  )
  return VoiceTable(ar=vectors(), flow=vectors(), tags=tags.astype(np.int32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Tables of voices, their space, and the tiny bundle with a prior."""
  folder = tmp_path_factory.mktemp("voices")
  bundle = tiny.bundle()
  bundle.write(folder / "bundle")
  (folder / "text.model").write_bytes(bundle.text_model)
  for seed, split in enumerate(("train", "unseen")):
    table(seed=seed).save(folder, split)
  VoiceSpace.fit(table()).save(folder)
  config = text_to_voice.get_config("test")
  config.corpus, config.eval_splits = str(folder), ("unseen",)
  config.mesh.data, config.eval_batches = 1, 1
  assert train(config, folder / "run", jax.devices()[:1]) == 0
  run = Trained.load(folder / "run", "text_to_voice")
  voice_design.add(
    folder / "bundle",
    bundle,
    run.config,
    run.params["params"],
    VoiceSpace.load(folder),
    {"steps": run.step},
  )
  return folder


def load(path, bundle):
  return VoiceDesigner.load(path, bundle.text, bundle.fingerprint)


def test_a_voice_goes_through_the_space_and_back():
  voices = table(voices=300)
  space = VoiceSpace.fit(voices)
  codes = space.codes(voices)
  assert codes.shape == (300, 64)  # all of two halves of 32
  np.testing.assert_allclose(np.mean(codes**2), 1.0, rtol=0.01)
  for made, given in zip(
    space.vectors(codes), (voices.ar, voices.flow), strict=True
  ):
    np.testing.assert_allclose(made, given, atol=1e-3)
  few = VoiceSpace.fit(table(voices=9))
  for made in few.vectors(np.random.default_rng(0).normal(size=(5, 8))):
    np.testing.assert_allclose(np.mean(made**2, axis=1), 1.0, rtol=1e-4)
  with pytest.raises(UserError, match="has 3 speakers"):
    VoiceSpace.fit(table(voices=3))


def test_descriptions_mention_what_is_known_in_many_wordings(random):
  tags = descriptions.parse_tags("gender=male,pitch=1,rate=slow")
  made = {descriptions.write(tags, random, 1.0) for _ in range(200)}
  assert len(made) > 100
  english = [text for text in made if "slow" in text or "calm" in text]
  assert any("low" in text or "deep" in text for text in english)
  assert not any("woman" in text or "mujer" in text for text in made)
  masked = [descriptions.write(tags, random, 0.3) for _ in range(200)]
  assert np.mean([len(t) for t in masked]) < np.mean([len(t) for t in made])
  assert descriptions.write(descriptions.UNKNOWN, random, 1.0)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("gender", "write NAME=VALUE"),
    ("gendre=male", "did you mean gender"),
    ("gender=mail", "did you mean male"),
    ("pitch=7", "a value of pitch"),
    ("language=xx", "xx"),
  ],
)
def test_a_wrong_tag_is_one_sentence(text, message):
  with pytest.raises(UserError, match=message):
    descriptions.parse_tags(text)


def test_pitch_has_six_bins():
  hertz = (80, 110, 140, 170, 210, 300)
  assert [descriptions.pitch_bin(x) for x in hertz] == [1, 2, 3, 4, 5, 6]


def test_the_prior_learns_what_a_tag_means():
  """Two clusters of voices, one a gender: a design lies in the right one."""
  config = text_to_voice.get_config("test")
  config.model.update(text_size=384, coordinates=4, tags=descriptions.SIZES)
  config.steps, config.loss.jitter = 250, 0.1
  config.optimizer.update(dict(learning_rate=5e-3, warmup=5))
  stage = stages.make(config)
  state = jax.jit(stage.init_state)(jax.random.key(0))
  step = jax.jit(stage.train_step)
  random = np.random.default_rng(0)
  for _ in range(config.steps):
    gender = random.integers(1, 3, 32)
    codes = 0.2 * random.normal(size=(32, 4)) + (2 * gender - 3)[:, None]
    tags = np.zeros((32, 5), np.int32)
    tags[:, 0] = gender
    batch = {
      "codes": codes.astype(np.float32),
      "ids": np.zeros((32, 8), np.int32),
      "length": np.zeros(32, np.int32),
      "tags": tags,
    }
    state, _ = step(state, batch)
  for gender in (1, 2):
    tags = np.tile([[gender, 0, 0, 0, 0]], (16, 1)).astype(np.int32)
    codes = voice_design._solve(
      stage.model,
      {"params": state.ema},
      np.zeros((16, 8), np.int32),
      np.zeros((16, 8), bool),
      tags,
      np.arange(16, dtype=np.uint32),
      np.float32(1.0),
    )
    right = np.sign(np.mean(codes, axis=1)) == 2 * gender - 3
    assert right.mean() > 0.9
    assert np.std(codes, axis=0).min() > 0.05


def test_designs_are_voices_of_the_bundle_and_depend_on_the_seed(folder):
  designer = load(folder / "bundle", tiny.bundle())
  made = designer.design("good dog", seed=3, candidates=3)
  again = designer.design("good dog", seed=4, candidates=2)
  for one, two in zip(made[1:], again, strict=True):
    np.testing.assert_allclose(one.ar_vector, two.ar_vector, atol=1e-5)
  assert len({v.ar_vector.tobytes() for v in made}) == 3
  for voice in made:
    for vector in (voice.ar_vector, voice.flow_vector):
      np.testing.assert_allclose(np.mean(vector**2), 1.0, rtol=1e-4)
  voice_store.add(folder / "bundle", "designed", made[0], 0.0)
  assert voice_store.entry(folder / "bundle", "designed").kind == "zero-shot"


def test_bad_designs_are_one_sentence(folder, tmp_path):
  bundle = tiny.bundle()
  designer = load(folder / "bundle", bundle)
  with pytest.raises(UserError, match="never saw"):
    designer.design("спокойный мужчина")
  with pytest.raises(UserError, match="has no words"):
    designer.design(" !")
  with pytest.raises(UserError, match="candidates is 0"):
    designer.design("good dog", candidates=0)
  designer.design("", descriptions.parse_tags("gender=male"), candidates=1)
  bundle.write(tmp_path / "bare")
  with pytest.raises(UserError, match="has no voice prior"):
    load(tmp_path / "bare", bundle)
  other = dataclasses.replace(
    bundle, params=bundle.params | {"ar": {"params": {"x": np.ones(1)}}}
  )
  with pytest.raises(UserError, match="another base"):
    load(folder / "bundle", other)
