"""Distillation: what the student learns, from which rows, and its refusals."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import distillation
from configs.adapters import full
from data_pipelines import solving
from s02jax import stages
from s02jax.bundle import CODECS, MODELS, Bundle
from s02jax.core.errors import UserError
from s02jax.data.features import card_path
from s02jax.data.rows import solved_utterances
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.training import bundling
from s02jax.training.loop import train
from s02jax.training.trained import Trained
from tests import acted, tiny

KINDS = ("line", "mean")
ROWS, SECONDS = 4, 0.64


@functools.cache
def made(kind: str, **teacher):
  """Stage of tiny sizes, bound to a teacher, and a batch of full rows."""
  config = stages.assume(distillation.get_config("test"))
  config.distillation.update(**teacher)
  config.model.update(
    velocity=kind, num_codes=10, channels=4, token_lookahead=(1,),
    latent_lookahead=(1,), speaker_layers=1,
  )  # fmt: skip
  config.data.buckets = (SECONDS,)
  config.steps, config.optimizer.learning_rate = 150, 5e-4
  config.loss.update(mean=0.0, scale=0.0)
  stage = stages.make(config)
  shapes = stage.frozen_shapes()
  stage = stage.bind(tiny.random_params(shapes))
  random = np.random.default_rng(0)
  spec = stage.inner.batch_specs(ROWS)[0]
  batch = {
    "tokens": random.integers(0, 10, spec["tokens"].shape),
    "latents": random.normal(size=spec["latents"].shape).astype(np.float32),
    "length": np.array([16, 16, 12, 9], np.int32),
    "reference": 0.1 * random.normal(size=spec["reference"].shape),
    "reference_samples": np.full(ROWS, 16000, np.int32),
  }
  return stage, {k: jnp.asarray(x) for k, x in batch.items()}


def gaussian(stage):
  """Stage whose teacher's velocity is that of its Gaussian alone."""
  params = dict(stage._frozen["params"])
  params["out"] = jax.tree.map(jnp.zeros_like, params["out"])
  return stage.bind({"params": params})


def x_t(batch):
  """Latents of a prepared batch on their way, zero where padded."""
  draw = batch["draw"]
  place = draw["t"][:, None, None]
  x1 = jnp.where((draw["segment"] > 0)[..., None], batch["latents"], 0)
  return (1 - place) * draw["noise"] + place * x1


@pytest.mark.parametrize("kind", KINDS)
def test_the_student_of_a_gaussian_is_there_in_one_step(kind):
  stage, batch = made(kind, steps=256, guidance=1.0)
  stage = gaussian(stage)
  state = jax.jit(stage.init_state)(jax.random.key(0))
  found = jax.jit(stage.eval_step)(state, batch)
  assert found["apart_1"] < 1e-4
  assert found["teacher_1"] > 0.1


def test_the_target_of_a_gaussian_is_its_mean_velocity():
  """Equation 1 holds for the closed form, but for one small step's error."""
  stage, batch = made("mean", steps=4000, guidance=1.0)
  stage = gaussian(stage)
  params = stage.init_state(jax.random.key(0)).params
  batch = stage.prepared(batch, jax.random.key(3))
  draw = batch["draw"]
  place = draw["t"][:, None, None]
  x_t = (1 - place) * draw["noise"] + place * batch["latents"]
  path = stage.path(stage.inner.model, params, batch, None)
  expected = path(x_t, draw["t"], draw["end"])
  assert float((draw["end"] - draw["t"]).max()) > 0.2
  # One step of the teacher is a straight line, a little beside the curve.
  np.testing.assert_allclose(
    stage.target(params, batch), expected, rtol=5e-3, atol=5e-3
  )


def test_without_a_span_the_target_is_the_teachers_guided_velocity():
  stage, batch = made("mean", steps=16, guidance=2.0)
  params = jax.jit(stage.init_state)(jax.random.key(0)).params
  batch = stage.prepared(batch)
  t = batch["draw"]["t"]
  batch["draw"]["end"] = t

  @jax.jit
  def both(batch):
    expected = stage.taught(batch)(x_t(batch), t, t)
    return stage.target(params, batch), expected

  found, expected = both(batch)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def gentle(stage):
  """Stage whose teacher's Gaussian is the noise's, and the rest of it small.

  A random Gaussian is none of the data: off it, velocities are large.
  """
  params = dict(stage._frozen["params"])
  params["gaussian"] = jax.tree.map(jnp.zeros_like, params["gaussian"])
  params["out"] = jax.tree.map(lambda x: 0.3 * x, params["out"])
  return stage.bind({"params": params})


@pytest.mark.parametrize("kind", KINDS)
def test_training_brings_one_step_nearer_to_the_teacher(kind):
  stage, batch = made(kind, steps=8, guidance=1.5)
  stage = gentle(stage)
  if kind == "line":
    numbers = {"draw": jnp.arange(ROWS, dtype=jnp.uint32)}
    solved = jax.jit(lambda x: stage.solve(stage.prepared(x)))
    batch |= numbers | {"solved": solved(batch | numbers)}
  state = jax.jit(stage.init_state)(jax.random.key(0))
  step, evaluate = jax.jit(stage.train_step), jax.jit(stage.eval_step)
  before = evaluate(state, batch)
  for _ in range(stage.config.steps):
    state, metrics = step(state, batch)
    assert np.isfinite(metrics["loss"])
  after = evaluate(state, batch)
  assert after["apart_1"] < 0.8 * before["apart_1"]
  assert after["teacher_1"] == before["teacher_1"] > after["apart_1"]


# ------------------------------------------------------------------- bundles


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Folder of the tiny bundle and of a corpus for it."""
  folder = tmp_path_factory.mktemp("distilled")
  tiny.bundle().write(folder / "bundle")
  acted.write(folder / "corpus")
  return folder


def config_of(folder, kind="line"):
  config = distillation.get_config("test")
  config.bundle, config.corpus = str(folder / "bundle"), str(folder / "corpus")
  config.model.velocity = kind
  config.distillation.update(steps=2, batches=2)
  config.batch_size = 2
  config.mesh.data = 1
  return config


def test_rows_are_what_the_teacher_makes_of_them(folder):
  config = config_of(folder)
  config.mesh.data = -1
  config.batch_size = 8  # one a device
  solving.solve(config)
  stage = stages.make(stages.resolve(config))
  rows = stage.rows(config.corpus, "train", 8, 0)
  picked = [rows[i] for i in range(8)]
  batch = {k: np.stack([row[k] for row in picked]) for k in picked[0]}
  bound = stage.bind(stage.frozen())
  made = jax.jit(lambda x: bound.solve(bound.prepared(x)))(batch)
  np.testing.assert_allclose(batch["solved"], made, atol=4e-3)
  again = rows[17]
  assert all(np.array_equal(again[k], rows[1][k]) for k in again)
  assert not np.array_equal(rows[1]["solved"], rows[2]["solved"])
  config.distillation.guidance = 3.0
  other = stages.make(stages.resolve(config))
  with pytest.raises(UserError, match="distillation.guidance 1.5, this run 3"):
    other.rows(config.corpus, "train", 8, 0)


def test_nothing_is_solved_twice(folder, monkeypatch):
  config = config_of(folder)
  one = jax.devices()[:1]
  solving.solve(config, one)

  def fail(*_):
    raise AssertionError("solved again")

  monkeypatch.setattr(solved_utterances, "write", fail)
  solving.solve(config, one)
  config.batch_size = 4
  with pytest.raises(AssertionError, match="solved again"):
    solving.solve(config, one)


def test_no_solved_rows_are_one_sentence(folder, tmp_path):
  acted.write(tmp_path / "corpus")
  config = config_of(folder)
  config.corpus = str(tmp_path / "corpus")
  stage = stages.make(stages.resolve(config))
  with pytest.raises(UserError, match="has no rows .*: run `s02 distill`"):
    stage.rows(config.corpus, "train", 2, 0)
  stage.rows(config.corpus, "unseen", 2, 0)
  config.model.velocity = "mean"
  with pytest.raises(UserError, match="velocity=line alone"):
    solving.solve(config)


def test_what_cannot_teach_is_one_sentence(folder, tmp_path):
  config = config_of(folder)
  config.bundle = None
  with pytest.raises(UserError, match="config.bundle has no value"):
    stages.resolve(config)
  tiny.student("mean").write(tmp_path / "student")
  config.bundle = str(tmp_path / "student")
  with pytest.raises(UserError, match="is distilled already"):
    stages.resolve(config)
  adapter = full.get_config("flow_matching")
  adapter.bundle, adapter.corpus = config.bundle, config.corpus
  with pytest.raises(UserError, match="is distilled already"):
    stages.resolve(adapter)


def test_features_of_other_models_are_one_sentence(folder, tmp_path):
  acted.write(tmp_path / "corpus")
  card = tmp_path / "corpus" / "features" / "card.json"
  card.write_text(card.read_text().replace("0.8", "0.7"))
  config = config_of(folder)
  config.corpus = str(tmp_path / "corpus")
  with pytest.raises(UserError, match="extract --corpus .* --bundle"):
    stages.resolve(config)


def test_a_run_becomes_a_bundle_that_says_how_it_is_solved(folder, tmp_path):
  corpus = acted.write(tmp_path / "corpus")
  base = folder / "bundle"
  codecs = {n: Trained.load(base, n).fingerprint for n in CODECS}
  card = json.loads(card_path(corpus).read_text())
  card["sources"] = {n: {"fingerprint": x} for n, x in codecs.items()}
  card_path(corpus).write_text(json.dumps(card))
  config = config_of(folder, "mean")
  config.corpus, config.steps, config.eval_splits = str(corpus), 1, ()
  config.solver.steps = 3
  assert train(config, tmp_path / "run", jax.devices()[:1]) == 0
  places = dict.fromkeys(MODELS, str(base))
  places["flow_matching"] = str(tmp_path / "run")
  bundling.gather(corpus, places).write(tmp_path / "fast")
  bundle = Bundle.load(tmp_path / "fast")
  told = bundle.card["models"]["flow_matching"]
  assert told["solver"] == {"steps": 3, "guidance": None}
  assert told["distilled"] == {
    "velocity": "mean",
    "teacher": tiny.bundle().fingerprint,
    "steps": 2,
    "guidance": 1.5,
  }
  solver = Synthesizer(bundle).flow.solver
  assert solver.settings(None, None) == {"steps": 3, "guidance": 1.0}
