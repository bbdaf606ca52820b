"""Demo: shared cores, logs, seconds, failures."""

import argparse
import json
import os
import pathlib

import pytest

from launch import demo
from s02jax.core.errors import UserError


@pytest.fixture
def phases(tmp_path):
  return demo.Phases(tmp_path)


def test_times_add_up_over_interruptions(phases, tmp_path):
  command = demo.Command("calm", ("platform",))
  phases.run(command)
  first = json.loads((tmp_path / "phases.json").read_text())["calm"]
  demo.Phases(tmp_path).run(command)
  second = json.loads((tmp_path / "phases.json").read_text())["calm"]
  assert second >= first
  assert len((tmp_path / "logs" / "calm.log").read_text().split()) >= 2


def test_a_failure_names_its_command_and_log(phases, tmp_path):
  broken = demo.Command("broken", ("no_such_module_anywhere",))
  with pytest.raises(UserError, match=r"broken failed: .*no_such_module.*log"):
    phases.run(broken, demo.Command("calm", ("platform",)))
  # What the others took is not lost.
  assert "broken + calm" in json.loads((tmp_path / "phases.json").read_text())


def test_a_failure_ends_its_neighbour(phases, tmp_path, monkeypatch):
  (tmp_path / "sleeps.py").write_text("import time; time.sleep(1000)")
  monkeypatch.setenv("PYTHONPATH", str(tmp_path))
  sleeper = demo.Command("sleeper", ("sleeps",))
  with pytest.raises(UserError, match="broken failed"):
    phases.run(sleeper, demo.Command("broken", ("no_such_module_anywhere",)))


def test_an_override_of_no_stage_is_one_sentence(tmp_path):
  flags = ["--workdir", str(tmp_path / "w"), "--set", "tokenizer.steps=5"]
  with pytest.raises(UserError, match="tokenizer.steps=5: .* audio_tokenizer"):
    demo.main(flags)
  assert not (tmp_path / "w").exists()


def test_pairs_share_the_cores(phases, tmp_path, monkeypatch):
  mine = sorted(os.sched_getaffinity(0))
  (tmp_path / "cores.py").write_text(
    "import os; print(sorted(os.sched_getaffinity(0)))"
  )
  monkeypatch.setenv("PYTHONPATH", str(tmp_path))
  phases.run(
    demo.Command("first", ("cores",)), demo.Command("second", ("cores",))
  )
  seen = [
    json.loads((tmp_path / "logs" / f"{name}.log").read_text())
    for name in ("first", "second")
  ]
  half = max(1, len(mine) // 2)
  assert [len(cores) for cores in seen] == [half, half]
  assert set(seen[0]).isdisjoint(seen[1]) or len(mine) == 1
  assert sorted(os.sched_getaffinity(0)) == mine


def test_installation_is_known_where_make_did_it(tmp_path, monkeypatch):
  monkeypatch.setattr(demo.sys, "prefix", str(tmp_path))
  assert demo.installation_seconds() is None
  (tmp_path / "ready").write_text("")  # of an older Makefile
  assert demo.installation_seconds() is None
  (tmp_path / "ready").write_text("61\n")
  assert demo.installation_seconds() == 61


@pytest.mark.parametrize("size", demo.CORPORA)
def test_overrides_reach_their_own_stage_only(size):
  args = argparse.Namespace(
    size=size, workdir=pathlib.Path("w"), set=["ar.steps=5"]
  )
  corpus = pathlib.Path("w/corpus")
  assert "--config.steps=5" in demo.train_command(args, "ar", corpus).argv
  other = demo.train_command(args, "flow_vae", corpus).argv
  assert not any("steps" in word for word in other)


@pytest.mark.parametrize("together", [True, False])
def test_phases_come_in_their_order(together, tmp_path, monkeypatch):
  monkeypatch.setattr(demo, "side_by_side", lambda: together)
  args = argparse.Namespace(
    size="demo", workdir=tmp_path, set=[], manifest=None, items=3
  )
  phases = list(demo.phases_of(args, tmp_path / "phases.json"))
  names = [[command.name for command in phase] for phase in phases]
  audio, tokens = ["audio_tokenizer", "flow_vae"], ["ar", "flow_matching"]
  first, second = (
    [pair] if together else [[name] for name in pair]
    for pair in (audio, tokens)
  )
  before, between = [["corpus"], ["text"]], [["extract"]]
  after = [["bundle"], ["report"]]
  assert names == before + first + between + second + after
  (report,) = phases[-1]
  assert report.argv[:2] == ("s02jax", "report")
  assert "--bars" in report.argv and "--items" in report.argv
