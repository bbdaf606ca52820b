"""Benchmarks run behind the training, and training does not depend on them."""

import json
import logging
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from launch import local
from s02jax.bundle import MODELS, Bundle
from s02jax.core import errors
from s02jax.core.errors import UserError
from s02jax.training import benchmark, checkpoint, loop
from tests import tiny, toy_config, toy_stage
from tests.processes import ROOT, TOY
from tests.runs import at_step, lines, losses, stop_at

# What `s02 evaluate` would leave; the figures are made of the parameters.
EVALUATE = """
import argparse, json, os, pathlib, sys, time
parser = argparse.ArgumentParser()
for name in ("bundle", "out", "wait", "fail"):
  parser.add_argument(f"--{name}", default="")
args = parser.parse_args()
out = pathlib.Path(args.out)
step = int(out.name)
value = float((pathlib.Path(args.bundle) / "weights").read_text())
assert os.environ["JAX_PLATFORMS"] == "cpu"
began = time.monotonic()
while args.wait and not pathlib.Path(args.wait).exists():
  time.sleep(0.02)
  if time.monotonic() - began > 60:
    sys.exit("nobody came")
if args.fail and step in json.loads(args.fail):
  sys.exit("the judge of step %d is ill" % step)
pair = {"utterance_mean": value, "corpus_level": None}
scores = {
  "mean": {"official": pair, "fair": pair, "similarity": 0.5},
  "rows": [{"missing": ["a"]}, {"missing": []}],
}
(out / "scores.json").write_text(json.dumps(scores))
"""


class Weights:
  """Fake bundle that holds one number computed from the parameters."""

  def __init__(self, params):
    leaves = [float(np.abs(x).sum()) for x in jax.tree.leaves(params)]
    self.value = sum(leaves)

  def write(self, out: pathlib.Path) -> None:
    out.mkdir()
    (out / "weights").write_text(repr(self.value))


@pytest.fixture(autouse=True)
def a_fake(monkeypatch, tmp_path_factory):
  script = tmp_path_factory.mktemp("fake") / "evaluate.py"
  script.write_text(EVALUATE)
  monkeypatch.setattr(benchmark, "COMMAND", (sys.executable, str(script)))
  monkeypatch.setattr(benchmark, "PAUSE", 0.02)
  monkeypatch.setattr(benchmark, "check_config", lambda config: None)
  monkeypatch.setattr(
    benchmark, "lent_bundle", lambda config, step, params: Weights(params)
  )


def run(workdir, devices=1, **changes) -> int:
  config = toy_config.get_config()
  config.update_from_flattened_dict(
    {f"benchmark.{name}": value for name, value in changes.items()}
  )
  return loop.train(config, workdir, jax.devices()[:devices])


def figures(workdir) -> dict[int, dict]:
  return {
    line["step"]: {k: v for k, v in line.items() if k != "step"}
    for line in lines(workdir)
    if "benchmark/similarity" in line
  }


@pytest.fixture(scope="module")
def without(tmp_path_factory) -> pathlib.Path:
  workdir = tmp_path_factory.mktemp("without")
  assert run(workdir) == 0
  return workdir


def parameters(workdir) -> list[np.ndarray]:
  config = toy_config.get_config()
  stage = toy_stage.ToyStage(config)
  abstract = jax.eval_shape(stage.init_state, jax.random.key(0))
  _, state = checkpoint.load(workdir, abstract)
  return [np.asarray(x) for x in jax.tree.leaves(state)]


def test_training_goes_on_and_figures_come_under_their_step(
  without, tmp_path, monkeypatch, caplog
):
  # The first one waits for a file that only a later step leaves.
  signal_file = tmp_path / "go"
  at_step(monkeypatch, 8, signal_file.touch)
  with caplog.at_level(logging.INFO):
    code = run(tmp_path, every=4, arguments=f"--wait '{signal_file}'")
  assert code == 0
  found = figures(tmp_path)
  assert 4 in found and 12 in found
  first = [x["step"] for x in lines(tmp_path)]
  at = [i for i, x in enumerate(lines(tmp_path)) if "benchmark/missing" in x][0]
  assert max(first[:at]) >= 8  # steps that were taken meanwhile
  assert found[12]["benchmark/similarity"] == 0.5
  assert found[12]["benchmark/missing"] == 1.0
  assert "benchmark/official/corpus_level" not in found[12]
  # Of the averaged parameters of that step, not of a later one.
  name = "benchmark/official/utterance_mean"
  assert found[4][name] != found[12][name]
  assert losses(tmp_path) == losses(without)
  for a, b in zip(parameters(tmp_path), parameters(without), strict=True):
    np.testing.assert_array_equal(a, b)
  assert not list((tmp_path / "benchmark").glob("*/bundle"))


def test_figures_are_of_the_parameters_of_their_step(tmp_path, monkeypatch):
  seen = {}

  def lend(config, step, params):
    seen[step] = Weights(params)
    return seen[step]

  monkeypatch.setattr(benchmark, "lent_bundle", lend)
  assert run(tmp_path, devices=4, every=6) == 0
  name = "benchmark/fair/utterance_mean"
  assert {6, 12} == set(seen)
  for step, values in figures(tmp_path).items():
    assert values[name] == seen[step].value
  averaged = toy_stage.ToyStage(toy_config.get_config())
  abstract = jax.eval_shape(averaged.init_state, jax.random.key(0))
  _, state = checkpoint.load(tmp_path, abstract)
  last = Weights(averaged.inference_params(state)).value
  assert seen[12].value == pytest.approx(last, rel=1e-6)


def test_one_at_a_time(tmp_path, monkeypatch, caplog):
  signal_file = tmp_path / "go"
  at_step(monkeypatch, 10, signal_file.touch)
  with caplog.at_level(logging.WARNING):
    assert run(tmp_path, every=2, arguments=f"--wait '{signal_file}'") == 0
  assert any(
    "that of step 2 still runs, so step 4 has none" in m
    for m in caplog.messages
  )
  assert {2, 12} <= set(figures(tmp_path))
  assert 4 not in figures(tmp_path)


def test_a_failing_one_is_a_warning(without, tmp_path, caplog):
  with caplog.at_level(logging.WARNING):
    assert run(tmp_path, every=12, arguments="--fail [12]") == 0
  (told,) = [m for m in caplog.messages if "exit code 1" in m]
  assert "benchmark of step 12" in told
  assert "the judge of step 12 is ill" in told
  assert not figures(tmp_path)
  assert losses(tmp_path) == losses(without)
  assert not list((tmp_path / "benchmark").glob("*/bundle"))


def test_what_cannot_begin_is_a_warning(tmp_path, monkeypatch, caplog):
  monkeypatch.setattr(benchmark, "COMMAND", (str(tmp_path / "nothing"),))
  with caplog.at_level(logging.WARNING):
    assert run(tmp_path, every=12) == 0
  assert any("did not begin" in m for m in caplog.messages)
  assert not list((tmp_path / "benchmark").glob("*/bundle"))


def test_a_stop_waits_for_nothing(tmp_path, monkeypatch, caplog):
  stop_at(monkeypatch, 6)
  with caplog.at_level(logging.WARNING):
    code = run(tmp_path, every=2, arguments="--wait /never/there")
  assert code == errors.STOPPED
  assert any("step 2: stopped unfinished" in m for m in caplog.messages)
  assert not figures(tmp_path)


def test_a_stop_ends_the_wait_for_the_last(tmp_path, monkeypatch, caplog):
  stop_at(monkeypatch, 12)
  with caplog.at_level(logging.WARNING):
    run(tmp_path, every=2, arguments="--wait /never/there")
  assert any("stopped unfinished" in m for m in caplog.messages)
  assert max(losses(tmp_path)) == 12


def test_one_that_hangs_is_stopped(tmp_path, caplog):
  with caplog.at_level(logging.WARNING):
    assert (
      run(tmp_path, every=12, arguments="--wait /never/there", timeout=0.5) == 0
    )
  assert any("step 12: over 0.5 s" in m for m in caplog.messages)
  assert any("step 12: stopped unfinished" in m for m in caplog.messages)
  assert not figures(tmp_path)
  assert not list((tmp_path / "benchmark").glob("*/bundle"))


JOB = """
import sys
from s02jax import cli
from s02jax.cli import train
from s02jax.training import benchmark
from tests.training.test_benchmark import Weights
benchmark.COMMAND = (sys.executable, {script!r})
benchmark.check_config = lambda config: None
benchmark.lent_bundle = lambda config, step, params: Weights(params)
sys.exit(cli.run(train.main))
"""


@pytest.mark.processes
def test_two_processes_compute_what_one_does_and_gather_it(without, tmp_path):
  script = tmp_path / "evaluate.py"
  script.write_text(EVALUATE)
  workdir = tmp_path / "run"
  flags = [f"--config={TOY}", f"--workdir={workdir}", "--config.mesh.fsdp=2"]
  flags += ["--config.benchmark.every=6", "--config.eval_batches=0"]
  program = JOB.format(script=str(script))
  job = [
    subprocess.Popen(
      [
        *line[: line.index("-m")],
        "-c",
        program,
        *line[line.index("train") + 1 :],
      ],
      cwd=ROOT,
      stderr=subprocess.PIPE,
      text=True,
    )
    for line in local.commands(2, flags)
  ]
  said = [process.communicate(timeout=120)[1] for process in job]
  assert [process.returncode for process in job] == [0, 0], said
  expected, found = losses(without), losses(workdir)
  assert found.keys() == expected.keys()
  np.testing.assert_allclose(
    list(found.values()), list(expected.values()), rtol=2e-5
  )
  # What one process restores is what the two of them had evaluated.
  stage = toy_stage.ToyStage(toy_config.get_config())
  abstract = jax.eval_shape(stage.init_state, jax.random.key(0))
  _, state = checkpoint.load(workdir, abstract)
  last = Weights(stage.inference_params(state)).value
  name = "benchmark/official/utterance_mean"
  assert figures(workdir)[12][name] == pytest.approx(last, rel=1e-6)
  # And one process goes on from what two have saved, half of it each.
  config = toy_config.get_config()
  config.update(steps=13, eval_batches=0)
  assert loop.train(config, workdir, jax.devices()[:1]) == 0
  assert losses(workdir).keys() == expected.keys() | {13}


def test_off_leaves_nothing(without):
  assert not (without / "benchmark").exists()


def test_what_is_not_scores_is_one_sentence(tmp_path):
  path = tmp_path / "scores.json"
  for content in ("", "[]", "{}", '{"mean": 1, "rows": []}'):
    path.write_text(content)
    with pytest.raises(UserError, match="not the scores"):
      benchmark.read_scores(path)
  with pytest.raises(UserError, match="not the scores"):
    benchmark.read_scores(tmp_path / "none.json")


# ----------------------------------------------------- what is lent, for real


@pytest.fixture(scope="module")
def lender(tmp_path_factory) -> pathlib.Path:
  path = tmp_path_factory.mktemp("lender") / "bundle"
  tiny.bundle().write(path)
  return path


@pytest.fixture
def real(lender, tmp_path, monkeypatch) -> ConfigDict:
  """Config of an AR run on features of the bundle's tokenizer."""
  monkeypatch.undo()
  card = json.loads((lender / "card.json").read_text())
  card["models"] = {
    name: {"fingerprint": f"print of {name}"} for name in MODELS
  }
  (lender / "card.json").write_text(json.dumps(card))
  (tmp_path / "text.model").write_bytes((lender / "text.model").read_bytes())
  config = ConfigDict(Bundle.load(lender).configs["ar"])
  config.corpus = str(tmp_path)
  config.features = {"audio_tokenizer": "print of audio_tokenizer"}
  config.benchmark = {
    "every": 1,
    "bundle": str(lender),
    "arguments": "--data x",
  }
  return config


def test_the_stage_takes_its_place_in_the_bundle(real, lender, tmp_path):
  benchmark.check_config(real)
  before = Bundle.load(lender)
  params = jax.tree.map(lambda x: x + 1, before.params["ar"])
  benchmark.lent_bundle(real, 7, params).write(tmp_path / "out")
  after = Bundle.load(tmp_path / "out")
  assert after.card["models"]["ar"]["steps"] == 7
  assert after.configs["ar"]["benchmark"]["every"] == 1
  for name in MODELS:
    same = jax.tree.map(np.array_equal, after.params[name], before.params[name])
    assert all(jax.tree.leaves(same)) == (name != "ar")


@pytest.mark.parametrize(
  "field, value, message",
  [
    ("stage", "flow_vae", "flow_vae has no benchmark"),
    ("benchmark.bundle", None, "benchmark.bundle has no value"),
    ("benchmark.bundle", "/nothing/here", "not a bundle"),
    ("benchmark.arguments", "", "benchmark.arguments has no value"),
    ("benchmark.arguments", "--data 'x", "arguments: No closing quotation"),
    ("features.audio_tokenizer", "other", "another audio_tokenizer"),
  ],
)
def test_what_does_not_fit_is_refused_at_once(real, field, value, message):
  *parents, name = field.split(".")
  at = real
  for parent in parents:
    at = at[parent]
  at[name] = value
  with pytest.raises(UserError, match=message):
    benchmark.check_config(real)


def test_another_text_model_is_refused(real, tmp_path):
  (tmp_path / "text.model").write_bytes(b"other")
  with pytest.raises(UserError, match="another text model"):
    benchmark.check_config(real)
