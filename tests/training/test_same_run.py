"""A run that goes on: same rows, or a change that is asked for by name."""

import json

import pytest
from ml_collections import ConfigDict

from s02jax.core.config import plain
from s02jax.core.errors import UserError
from s02jax.training import hosts, same_run
from tests import toy_config


def config(**changes) -> ConfigDict:
  out = toy_config.get_config()
  with out.unlocked():
    out.corpus_digest = {"records": "a"}
    out.update_from_flattened_dict(changes)
  return out


@pytest.fixture
def workdir(tmp_path):
  (tmp_path / "config.json").write_text(json.dumps(plain(config())))
  return tmp_path


@pytest.mark.parametrize(
  "change",
  [
    {"batch_size": 16},
    {"seed": 1},
    {"data.poison": 3},
    {"corpus_digest.records": "b"},
  ],
)
def test_other_rows_are_refused_unless_asked_for_by_name(workdir, change):
  (name,) = change
  with pytest.raises(UserError, match=f"add --config.may_change={name} if"):
    same_run.check_same_run(workdir, config(**change))
  for allowed in (name, f"steps, {name.split('.')[0]}"):
    same_run.check_same_run(workdir, config(**change, may_change=allowed))
  with pytest.raises(UserError, match="another --workdir"):
    same_run.check_same_run(workdir, config(**change, may_change="batch"))


def test_a_lock_that_is_let_go_is_waited_for(tmp_path, monkeypatch):
  monkeypatch.setattr(same_run, "PATIENCE", 5.0)
  held, waited = same_run.lock(tmp_path), []

  def sleep(seconds):
    waited.append(seconds)
    if len(waited) == 3:
      held()

  monkeypatch.setattr(same_run.time, "sleep", sleep)
  same_run.lock(tmp_path)()
  assert len(waited) == 3


def test_a_model_stays_what_it_was_whatever_is_asked(workdir):
  changed = config(**{"model.hidden": 3, "may_change": "model"})
  with pytest.raises(UserError, match="config.model.hidden"):
    same_run.check_same_run(workdir, changed)


def test_other_values_and_runs_from_before_the_digest_go_on(workdir):
  same_run.check_same_run(workdir, config(steps=99))
  old = plain(config())
  del old["corpus_digest"], old["may_change"]
  (workdir / "config.json").write_text(json.dumps(old))
  same_run.check_same_run(workdir, config())


def test_processes_compare_the_packages_that_decide_results(
  tmp_path, monkeypatch
):
  facts = same_run.run_facts(config(), tmp_path)
  assert {"the version of numpy", "the version of jaxlib"} <= facts.keys()
  assert facts["config.corpus_digest.records"] == "a"
  monkeypatch.setattr(hosts.importlib.metadata, "version", lambda _: "9.9")
  after = same_run.run_facts(config(), tmp_path)
  assert after["the version of jax"] == "9.9" != facts["the version of jax"]
