"""A run that goes on: same rows, or a change that is asked for by name."""

import errno
import json
import re

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


class ClientError(Exception):
  """Error as the clients of stores raise it."""

  __module__ = "botocore.exceptions"


@pytest.mark.parametrize(
  ("error", "code", "told"),
  [
    (OSError(errno.EIO, "QuotaExceeded"), 2, "there is no room"),
    (ValueError("UNKNOWN: XMinioStorageFull"), 2, "there is no room"),
    (PermissionError(errno.EACCES, "denied"), 2, "refuses: .*denied; check"),
    (FileNotFoundError("no such bucket"), 2, "refuses: no such bucket"),
    (OSError(errno.EIO, "reset"), 75, "of s3://b/x does not do its part"),
    (ClientError("timed out"), 75, "timed out; the same command goes on"),
    (ValueError("ABORTED: [http_response_code='503']"), 75, "'503'"),
  ],
  ids=str,
)
def test_an_error_of_a_store_is_one_sentence(error, code, told):
  found = same_run.storage_error("s3://b/x", "corpus", error)
  assert isinstance(found, UserError) and found.code == code
  assert re.search(told, str(found))


def test_other_errors_stay_what_they_are():
  for workdir in ("run", "s3://b/x"):
    bug = ValueError("shapes differ")
    assert same_run.storage_error(workdir, "corpus", bug) is None
  reset = OSError(errno.EIO, "reset")
  assert same_run.storage_error("run", "corpus", reset) is None
  full = same_run.storage_error("run", "corpus", OSError(errno.ENOSPC, ""))
  assert "cannot write to --workdir run: No space left" in str(full)
