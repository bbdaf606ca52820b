"""Speaker conditioning of the AR model: its encoder, fixed vectors, or none."""

import jax
import numpy as np
import pytest

from configs import ar as ar_config
from s02jax.core.config import build
from s02jax.data.rows.packed_sequences import PackedSequences
from s02jax.models.ar import ARConfig, ARTransformer, SpeakerConfig, init
from s02jax.pretrained import ge2e
from s02jax.stages.ar import ARStage
from s02jax.synthesis.decode.generator import TokenGenerator
from tests import fakes, tiny

KINDS = ("encoder", "embedding", "none")


def speaker_stage(kind):
  config = ar_config.get_config("test")
  config.model.update(text_size=20, num_codes=12, speaker_id=1, text_rate=0.5)
  config.model.transformer.update(width=16, hidden=24)
  config.model.speaker.update(kind=kind, width=16, out=8)
  return ARStage(config)


@pytest.fixture(scope="module")
def heard():
  """Parameters of each kind, and their loss as a function of a batch."""
  found = {}
  for kind in KINDS:
    stage = speaker_stage(kind)
    params = tiny.random_params(
      jax.eval_shape(stage.init_state, jax.random.key(0)).params
    )
    loss = jax.jit(lambda params, batch, s=stage: s.nats(params, batch)[0])
    found[kind] = (params, loss)
  return found


@pytest.fixture
def batch(random):
  """Two rows of one segment: [speaker], [language], texts, [start], codes."""
  ids = np.array([[1, 3, 5, 6, 2, 22, 25, 30], [1, 3, 9, 8, 2, 28, 21, 24]])
  place = np.tile(np.arange(8), (2, 1))
  return {
    "ids": ids.astype(np.int32),
    "segment": np.ones((2, 8), np.int32),
    "position": place.astype(np.int32),
    "cursor": place.astype(np.float32),
    "prompt": np.zeros((2, 8), np.int32),
    "target": np.roll(np.maximum(ids - 20, 0), -1, axis=1).astype(np.int32),
    "weight": (place >= 4).astype(np.float32),
    "references": random.normal(size=(2, 1, 3200)).astype(np.float32),
    "reference_samples": np.full((2, 1), 3200, np.int32),
    "speaker_vectors": random.normal(size=(2, 1, 256)).astype(np.float32),
  }


def test_only_the_encoder_has_parameters_of_its_own(heard):
  names = {kind: set(params) for kind, (params, _) in heard.items()}
  assert names["encoder"] - names["embedding"] == {"speaker_encoder"}
  assert names["embedding"] - names["none"] == {"speaker_in"}
  assert not any("speaker" in name for name in names["none"])
  rest = names["none"]
  for kind in KINDS:
    for name in rest:
      shapes = jax.tree.map(np.shape, heard[kind][0][name])
      assert shapes == jax.tree.map(np.shape, heard["none"][0][name])


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_depends_on_its_own_reference_alone(kind, heard, batch):
  params, loss = heard[kind]
  before = loss(params, batch)
  assert np.isfinite(before)
  depends = {
    name: loss(params, batch | {name: batch[name][::-1].copy()}) != before
    for name in ("references", "speaker_vectors")
  }
  assert depends == {
    "references": kind == "encoder",
    "speaker_vectors": kind == "embedding",
  }


def packed(corpus, vectors, **more) -> PackedSequences:
  """Packed rows over a fake corpus."""
  return PackedSequences(
    corpus,
    fakes.FakeFeatures(corpus),
    fakes.FakeText(),
    batch_size=2,
    seed=0,
    rate=lambda _: 0.5,
    vectors=vectors,
    **more,
  )


@pytest.mark.parametrize("kind", KINDS)
def test_the_shapes_of_a_batch_are_foretold(kind):
  stage = speaker_stage(kind)
  corpus = fakes.FakeCorpus(60, 6)
  features = stage.model_config.speaker.features
  vectors = np.zeros((len(corpus), features), np.float32)
  rows = packed(
    corpus, None if kind == "encoder" else vectors, **stage.config.data
  )
  (spec,) = stage.batch_specs(2)
  row = rows[0]
  for name, abstract in spec.items():
    assert row[name].shape == abstract.shape[1:], name
    assert row[name].dtype == abstract.dtype, name
  assert ("references" in row) == (kind == "encoder")
  assert stage.flops(spec) > 0


def test_vectors_are_those_of_the_references():
  corpus = fakes.FakeCorpus(60, 6)
  rows = packed(
    corpus,
    np.tile(np.arange(60, dtype=np.float32)[:, None], (1, 256)),
    row_tokens=256,
    max_segments=5,
    reference_seconds=0.5,
    prompt_probability=0.4,
  )
  for i in range(200):
    members, row = rows.members(i), rows[i]
    vectors = row["speaker_vectors"]
    assert vectors.shape == (5, 256)
    assert not vectors[len(members) :].any()
    assert not row["reference_samples"][len(members) :].any()
    for k, (_, _, reference) in enumerate(members):
      assert (vectors[k] == reference).all()
      expected = min(corpus.num_samples[reference], fakes.RATE // 2)
      assert abs(row["reference_samples"][k] - expected) < fakes.HOP


def test_the_model_takes_vectors_of_the_network_that_makes_them():
  assert SpeakerConfig(kind="embedding").features == ge2e.SIZE


def test_fixed_vectors_have_unit_power_and_tell_voices_apart():
  a, b = tiny.wave(2.0, 0), tiny.wave(2.0, 3)
  first, again, other, silent = ge2e.speaker_vectors(
    [a, a[:-1600], b, np.zeros(16000, np.float32)], tiny.RATE
  )
  assert np.mean(first**2) == pytest.approx(1.0, rel=1e-4)
  assert not silent.any()
  assert np.mean(first * again) > np.mean(first * other) + 0.02


@pytest.mark.parametrize("kind", ["embedding", "none"])
def test_a_bundle_of_each_kind_has_vectors(kind):
  config, _ = tiny.stages()["ar"]
  model = config["model"] | {
    "speaker": config["model"]["speaker"] | {"kind": kind}
  }
  module = ARTransformer(build(ARConfig, model))
  params = tiny.random_params(
    jax.eval_shape(lambda key: init(module, key), jax.random.key(0))
  )
  generator = TokenGenerator(
    config | {"model": model}, params, tiny.bundle().text
  )
  waves = [tiny.wave(1.0), tiny.wave(1.5, 2)]
  found = generator.speakers(waves)
  expected = {
    "embedding": ge2e.speaker_vectors(waves, tiny.RATE),
    "none": [np.zeros(0, np.float32)] * 2,
  }[kind]
  for mine, theirs in zip(found, expected, strict=True):
    np.testing.assert_array_equal(mine, theirs)
