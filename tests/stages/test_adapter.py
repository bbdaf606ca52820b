"""Adapters: what trains, what stays, and which rows they are trained on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.adapters import full, lora, speaker
from s02jax import stages
from s02jax.core.errors import UserError
from s02jax.data.rows.rehearsal import Rehearsed
from s02jax.models.layers import lora as layers
from s02jax.training import programs
from s02jax.training.loop import train
from s02jax.training.trained import Trained
from tests import acted, tiny

KINDS = {"lora": lora, "speaker": speaker, "full": full}
MODELS = ("ar", "flow_matching")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Folder of the tiny bundle and of a corpus for it."""
  folder = tmp_path_factory.mktemp("adapted")
  tiny.bundle().write(folder / "bundle")
  acted.write(folder / "corpus")
  return folder


def config_of(folder, kind, model="ar", names=(), **adapter):
  config = KINDS[kind].get_config(model)
  config.bundle, config.corpus = str(folder / "bundle"), str(folder / "corpus")
  config.adapter.names = names
  config.adapter.update(adapter)
  config.batch_size = 2 * max(len(names), 1)
  config.steps = 2
  config.mesh.data = 1
  return config


def made(config):
  """Bound stage of a config, and a training batch of it."""
  stage = stages.make(stages.resolve(config))
  rows = stage.rows(config.corpus, "train", config.batch_size, 0)
  picked = [rows[i] for i in range(config.batch_size)]
  batch = {
    name: np.stack([row[name] for row in picked])
    for name in picked[0]
    if name not in ("audio_seconds", "padding")
  }
  return stages.bound(stage, stages.frozen_of(stage)), batch


def same(a, b):
  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return all(np.array_equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_changes_what_trains_and_the_state_has_nothing_else(
  folder, kind, model
):
  names = acted.EMOTIONS if kind == "lora" else ()
  stage, batch = made(config_of(folder, kind, model, names, rank=1))
  state = jax.jit(stage.init_state)(jax.random.key(0))
  step = jax.jit(stage.train_step)
  after, metrics = step(step(state, batch)[0], batch)
  assert np.isfinite(metrics["loss"]) and metrics["grad_norm"] > 0
  assert not same(state.params, after.params)
  base = stage._frozen["params"]
  if kind == "full":
    assert jax.tree.structure(state.params) == jax.tree.structure(base)
    assert same(state.params, base)
    return
  # Neither parameters, average nor moments have the shape of a frozen weight.
  count = sum(x.size for x in jax.tree.leaves(base))
  held = sum(x.size for x in jax.tree.leaves(state) if hasattr(x, "size"))
  assert held < count
  names = {
    jax.tree_util.keystr(path, simple=True)[-8:]
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]
    if leaf.ndim > 0
  }
  assert all(n.endswith(("lora_a", "lora_b", "vector")) for n in names), names


@pytest.mark.parametrize("model", MODELS)
def test_a_fresh_change_is_the_base_bit_for_bit(folder, model):
  stage, batch = made(config_of(folder, "lora", model, ("sad",)))
  state = stage.init_state(jax.random.key(0))
  params = jax.tree.map(lambda x: x[0], state.params)
  changed = layers.change(stage._frozen["params"], params, stage.adapter.scale)
  assert same(changed, stage._frozen["params"])
  found = jax.jit(stage.eval_step)(state, batch)
  np.testing.assert_allclose(found["loss"], found["base_loss"], rtol=1e-5)


def test_emotions_train_as_if_each_were_alone(folder):
  """The gradient of an emotion comes from its own rows and no others."""
  stage, batch = made(config_of(folder, "lora", "ar", acted.EMOTIONS))
  state = stage.init_state(jax.random.key(0))
  step = jax.jit(stage.train_step)
  other = dict(batch)
  for name in ("ids", "target"):  # the rows of the emotion 1 say other codes
    other[name] = np.array(batch[name])
    other[name][1::3] = np.where(
      batch["weight"][1::3] > 0, 0, other[name][1::3]
    )
  one, two = step(state, batch)[0], step(state, other)[0]
  path = next(iter(state.params))
  before, after = (x.opt_state[1][0].mu[path]["lora_b"] for x in (one, two))
  ratio = np.array(after) / np.array(before)
  for i in (0, 2):  # but for the common factor of clipping
    np.testing.assert_allclose(ratio[i], np.median(ratio[i]), rtol=1e-3)
  assert np.std(ratio[1]) > 0.1


@pytest.mark.parametrize("model", MODELS)
def test_a_fitted_voice_starts_from_the_encoder_and_stays_on_its_sphere(
  folder, model
):
  stage, batch = made(config_of(folder, "speaker", model))
  state = stage.init_state(jax.random.key(0))
  start = state.params["vector"]
  mean = stage._frozen["start"]
  cosine = start @ mean / jnp.linalg.norm(start) / jnp.linalg.norm(mean)
  assert cosine > 0.9999
  for _ in range(3):
    state, _ = jax.jit(stage.train_step)(state, batch)
  vector = stage.inference_params(state)["params"]["vector"]
  np.testing.assert_allclose(np.mean(vector**2), 1.0, rtol=1e-4)
  assert stage.config.loss.get("noise", 0.0) == 0
  assert stage.optimizer_config.weight_decay == 0


@pytest.mark.parametrize("model", MODELS)
def test_a_batch_says_the_same_texts_in_all_emotions(folder, model):
  config = config_of(folder, "lora", model, acted.EMOTIONS)
  stage = stages.make(stages.resolve(config))
  rows = stage.rows(config.corpus, "train", 6, 0)
  corpus = rows._corpus
  for batch in range(3):
    for row in range(2):
      said = []
      for emotion, name in enumerate(acted.EMOTIONS):
        index = batch * 6 + row * 3 + emotion
        records = _targets(rows, index)
        assert {corpus.emotion(r) for r in records} == {name}
        said.append([(corpus.text(r), corpus.speaker[r]) for r in records])
      assert said[0] == said[1] == said[2]


def _targets(rows, index):
  if hasattr(rows, "members"):
    return [record for record, _, _ in rows.members(index)]
  return rows.records(index)


@pytest.mark.parametrize("mode", ["neutral", "random", "same"])
def test_a_reference_says_something_else_in_the_emotion_asked_for(folder, mode):
  config = config_of(folder, "lora", "ar", ("sad", "happy"), reference=mode)
  stage = stages.make(stages.resolve(config))
  rows = stage.rows(config.corpus, "train", 4, 0)
  corpus, heard = rows._corpus, set()
  for index in range(12):
    for target, _, reference in rows.members(index):
      assert corpus.speaker[target] == corpus.speaker[reference]
      assert corpus.text(target) != corpus.text(reference)
      heard.add((corpus.emotion(target), corpus.emotion(reference)))
  references = {b for _, b in heard}
  if mode == "neutral":
    assert references == {"neutral"}
  elif mode == "same":
    assert heard == {("sad", "sad"), ("happy", "happy")}
  else:
    assert references == set(acted.EMOTIONS)


def test_rehearsal_takes_its_share_of_whole_batches():
  class Rows:
    batch_size, excluded = 2, {}

    def __init__(self, name):
      self.name = name

    def __getitem__(self, index):
      return self.name, index

  mixed = Rehearsed(Rows("new"), Rows("old"), 0.25)
  found = [mixed[i] for i in range(16)]
  for batch in range(8):
    assert len({name for name, _ in found[2 * batch : 2 * batch + 2]}) == 1
  for name, count in (("new", 12), ("old", 4)):
    assert [i for n, i in found if n == name] == list(range(count))


def test_the_loop_trains_an_adapter_and_goes_on(folder, tmp_path):
  config = config_of(folder, "lora", "ar", ("sad", "happy"))
  config.eval_batches = 1
  assert train(config, tmp_path / "run", jax.devices()[:1]) == 0
  config.steps = 3
  assert train(config, tmp_path / "run", jax.devices()[:1]) == 0
  trained = Trained.load(tmp_path / "run", "adapter")
  assert trained.step == 3
  leaves = jax.tree.leaves(trained.params)
  assert all(x.shape[0] == 2 for x in leaves)
  assert any(np.abs(x).max() > 0 for x in leaves)


def test_frozen_parameters_are_sharded_like_a_base(folder):
  config = config_of(folder, "lora", "ar", ("sad",))
  stage = stages.make(stages.resolve(config))
  from s02jax import sharding

  mesh = sharding.make_mesh(dict(data=1, fsdp=2, sequence=1, tensor=4))
  frozen = programs.frozen_parameters(stage, mesh)
  kernel = frozen["params"]["stack"]["blocks"]["mlp"]["gate"]["kernel"]
  assert str(kernel.sharding.spec) == str(sharding.P(None, "fsdp", "tensor"))
  state = programs.abstract_state(stage, mesh, frozen)
  pair = state.params["stack/blocks/attention/q"]
  assert pair["lora_a"].sharding.spec == sharding.P(None, None, "fsdp")
  assert pair["lora_b"].sharding.spec == sharding.P(None, None, None, "tensor")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(rank=0), "config.adapter: rank is 0; it must be 1 or more"),
    (dict(targets="nothing$"), "'nothing\\$' matches no kernel"),
    (dict(targets="("), "is no regular expression"),
    (dict(targets="head$"), "only kernels below stack/blocks/ can change"),
    (dict(rehearsal_share=1.0), "rehearsal_share is 1.0; it must be 0"),
    (dict(names=("angry",)), "no clip of the emotion 'angry'"),
    (dict(names=("sadd",)), "did you mean sad"),
  ],
)
def test_bad_input_is_one_sentence(folder, changes, message):
  config = config_of(folder, "lora", **(dict(names=("sad",)) | changes))
  with pytest.raises(UserError, match=message):
    stage, _ = made(config)
    jax.eval_shape(stage.init_state, jax.random.key(0))
