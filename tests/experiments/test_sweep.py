"""Sweeps: every run once, whatever happened before, and one table of them."""

import itertools
import json
import os
import pathlib
import types

import pytest
import yaml

from configs.sweeps import ar_rate_width, flow_matching_rate
from launch import local, slurm
from s02jax.cli import sweep as verb
from s02jax.core.errors import UserError
from s02jax.experiments import sweep, sweep_table
from s02jax.training.arguments import parse
from tests import jobset_schema

ROOT = pathlib.Path(__file__).parents[2]
RATES = (0.01, 0.02)
FILE = f"""
def get_sweep(size="small"):
  rates = {RATES} if size == "small" else (0.5,)
  return {{
    "config": "{ROOT}/tests/toy_config.py",
    "runs": [{{"optimizer.learning_rate": rate}} for rate in rates],
  }}
"""


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
  monkeypatch.chdir(ROOT)


@pytest.fixture
def file(tmp_path) -> str:
  path = tmp_path / "toy_sweep.py"
  path.write_text(FILE)
  return str(path)


@pytest.fixture
def workdir(tmp_path) -> pathlib.Path:
  return tmp_path / "sweep"


def read(file, workdir) -> list[sweep.Run]:
  return sweep.read(file, workdir, ["--config.steps=4"])


# --------------------------------------------------------------------- names


def test_a_name_depends_on_the_overrides_alone():
  fields = {"a.rate": 1e-3, "b.width": 64, "c.on": True, "d.text": "ä b/c"}
  names = {
    sweep.name_of(dict(order))
    for order in itertools.permutations(fields.items())
  }
  assert len(names) == 1
  (name,) = names
  assert "/" not in name and " " not in name
  # A name that changed would train everything anew.
  assert sweep.name_of({"a.rate": 1e-3}) == "rate=0.001-340fe3bb"


def test_names_tell_runs_apart():
  values = [{"a.x": 1}, {"b.x": 1}, {"a.x": 1.0}, {"a.x": "1"}, {"a.x": True}]
  values += [{f"long.{'x' * 99}": i} for i in range(3)]
  names = [sweep.name_of(v) for v in values]
  assert len(set(names)) == len(names)
  assert max(map(len, names)) < 100


# ------------------------------------------------------------------- reading


@pytest.mark.parametrize("size", ["test", "demo", "base"])
@pytest.mark.parametrize(
  "module", [ar_rate_width, flow_matching_rate], ids=lambda m: m.__name__
)
def test_the_sweeps_that_we_give_can_be_trained(module, size, tmp_path):
  name = module.__name__.replace(".", "/") + f".py:{size}"
  runs = sweep.read(name, tmp_path, ["--config.corpus=corpus"])
  assert len(runs) == len(module.get_sweep(size)["runs"]) > 3
  for one in runs:
    config = parse(list(one.argv)).config
    for field, value in one.overrides.items():
      node = config
      for part in field.split("."):
        node = node[part]
      assert node == value
    if config.stage == "ar":
      shape = config.model.transformer
      assert shape.width % shape.heads == 0
      assert shape.heads % shape.kv_heads == 0
      assert (shape.width // shape.heads) % 2 == 0  # rotary pairs


def test_fields_of_the_command_line_hold_for_all(file, workdir):
  assert [one.steps for one in read(file, workdir)] == [4, 4]


def test_a_size_is_passed_on(file, workdir):
  (one,) = sweep.read(f"{file}:other", workdir, [])
  assert one.overrides == {"optimizer.learning_rate": 0.5}


@pytest.mark.parametrize(
  "text, complaint",
  [
    ("", "its get_sweep must return"),
    ("get_sweep = lambda: {'runs': []}", "its get_sweep must return"),
    ("get_sweep = lambda: {'config': 'x.py', 'runs': [{'a': 1}]}", "x.py"),
  ],
)
def test_a_file_that_is_no_sweep_is_one_sentence(tmp_path, text, complaint):
  path = tmp_path / "wrong.py"
  path.write_text(text)
  with pytest.raises(UserError, match=complaint):
    sweep.read(str(path), tmp_path, [])


@pytest.mark.parametrize(
  "old, new, complaint",
  [
    ("learning_rate", "learning_rat", "optimizer.learning_rat is not a field"),
    ("(0.01, 0.02)", "(0.01, 0.01)", "two runs are both"),
    ("(0.01, 0.02)", "('fast', 0.01)", "learning_rate"),
  ],
)
def test_a_wrong_run_is_told_before_the_first_starts(
  tmp_path, workdir, monkeypatch, old, new, complaint
):
  monkeypatch.setattr(local, "launch", lambda *_: pytest.fail("started"))
  path = tmp_path / "wrong.py"
  path.write_text(FILE.replace(old, new))
  with pytest.raises(UserError, match=complaint):
    verb.main(["--sweep", str(path), "--workdir", str(workdir)])
  assert not workdir.exists()


def test_a_folder_holds_one_sweep(file, workdir):
  sweep.claim(workdir, file)
  sweep.claim(workdir, file)
  with pytest.raises(UserError, match="holds the sweep toy_sweep.py, not o.py"):
    sweep.claim(workdir, "o.py")


# ----------------------------------------------------------------- launching


def save(one: sweep.Run, step: int) -> None:
  """Writes the checkpoint and the log that a training would leave."""
  (one.workdir / "checkpoints" / str(step)).mkdir(parents=True)
  lines = [{"step": i, "loss": 1 / i + one.steps} for i in range(1, step + 1)]
  lines.append({"step": step, "unseen/loss": 9 - step})
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (one.workdir / "metrics.jsonl").write_text(text)


def pretend(codes: dict[str, int]) -> types.SimpleNamespace:
  """A launcher that trains nothing and remembers what it was given."""
  given = []

  def train(argv):
    given.append(argv)
    return next((c for name, c in codes.items() if name in argv[1]), 0)

  return types.SimpleNamespace(train=train, given=given)


def launched(runs, codes) -> tuple[int, list[str]]:
  launcher = pretend(codes)
  code = sweep.launch_all(runs, launcher.train, print)
  return code, [
    next(r.name for r in runs if r.argv == a) for a in launcher.given
  ]


def test_finished_runs_are_skipped_and_begun_ones_go_on(file, workdir):
  first, second = runs = read(file, workdir)
  assert launched(runs, {}) == (0, [first.name, second.name])
  save(first, 4)
  save(second, 3)
  assert launched(runs, {}) == (0, [second.name])
  save(second, 4)
  assert launched(runs, {}) == (0, [])


def test_half_a_checkpoint_is_none(file, workdir):
  (one, _) = read(file, workdir)
  (one.workdir / "checkpoints" / "4.orbax-checkpoint-tmp").mkdir(parents=True)
  assert one.step() == 0 and not one.finished()


def test_a_failure_does_not_keep_the_others_and_a_stop_does(file, workdir):
  first, second = runs = read(file, workdir)
  assert launched(runs, {first.name: 3}) == (3, [first.name, second.name])
  assert launched(runs, {first.name: 143}) == (143, [first.name])


@pytest.mark.processes
def test_training_a_sweep(file, workdir, capsys):
  """Trains real processes, and again: nothing is left to do."""
  argv = ["--sweep", file, "--workdir", str(workdir), "--config.steps=4"]
  assert verb.main(argv) == 0
  records = [
    json.loads(x) for x in (workdir / "results.jsonl").read_text().splitlines()
  ]
  runs = read(file, workdir)
  assert [r["run"] for r in records] == [one.name for one in runs]
  for record, one in zip(records, runs, strict=True):
    assert record["overrides"] == one.overrides
    assert (record["state"], record["step"]) == ("finished", 4)
    assert record["metrics"]["unseen/loss"] > 0
    config = json.loads((one.workdir / "config.json").read_text())
    rate = one.overrides["optimizer.learning_rate"]
    assert config["optimizer"]["learning_rate"] == rate
  assert records[0]["metrics"]["loss"] != records[1]["metrics"]["loss"]
  assert (workdir / "results.png").read_bytes().startswith(b"\x89PNG")
  assert not list(workdir.glob(".*.part"))
  capsys.readouterr()
  before = [os.stat(r.workdir / "metrics.jsonl").st_mtime_ns for r in runs]
  assert verb.main(argv) == 0
  assert (
    capsys.readouterr().out.count("finished") == 4
  )  # told, and in the table
  after = [os.stat(r.workdir / "metrics.jsonl").st_mtime_ns for r in runs]
  assert before == after


def test_detached_launchers_take_all_and_are_collected_later(
  file, workdir, monkeypatch, capsys
):
  launcher = pretend({})
  monkeypatch.setattr(slurm, "launch", lambda _, argv: launcher.train(argv))
  argv = ["--sweep", file, "--workdir", str(workdir), "--config.steps=4"]
  assert verb.main([*argv, "--launcher=slurm", "--nodes=2"]) == 0
  assert len(launcher.given) == len(RATES)
  assert "--collect" in capsys.readouterr().out
  assert not (workdir / "results.md").exists()
  save(read(file, workdir)[0], 3)
  assert verb.main([*argv, "--launcher=slurm", "--collect"]) == 0
  records = [
    json.loads(x) for x in (workdir / "results.jsonl").read_text().splitlines()
  ]
  assert [(r["state"], r["step"]) for r in records] == [
    ("begun", 3),
    ("new", 0),
  ]


@pytest.mark.parametrize("separator", [[], ["--"]])
def test_a_dry_run_only_prints(separator, file, capsys):
  argv = ["--sweep", file, "--workdir=/data/sweep", "--launcher=jobset"]
  own = ["--image=i", "--gpus=8", "--volume=claim:/data", "--dry-run"]
  assert verb.main([*argv, *separator, *own]) == 0
  manifests = list(yaml.safe_load_all(capsys.readouterr().out))
  assert len(manifests) == len(RATES)
  for manifest in manifests:
    jobset_schema.validate(manifest)
  names = {manifest["metadata"]["name"] for manifest in manifests}
  assert len(names) == len(RATES)


def test_runs_of_a_sweep_share_no_name(file, workdir):
  argv = ["--sweep", file, "--workdir", str(workdir), "--launcher=jobset"]
  own = ["--image=i", "--gpus=8", "--volume=claim:/data", "--name=one"]
  with pytest.raises(UserError, match="--name one: leave it out of a sweep"):
    verb.main([*argv, *own])
  assert not workdir.exists()


# ------------------------------------------------------------------- results


def test_the_table_has_the_best_first_and_nothing_is_made_up(file, workdir):
  first, second = runs = read(file, workdir)
  save(first, 2)
  save(second, 4)

  def rows():
    return [
      sweep_table.read(r.name, r.overrides, r.workdir, r.step(), r.steps)
      for r in runs
    ]

  head, _, best, other = sweep_table.table(rows()).splitlines()
  cells = [[c.strip() for c in x.split("|")[1:-1]] for x in (head, best, other)]
  assert cells == [
    ["optimizer.learning_rate", "state", "step", "loss", "unseen/loss"],
    ["0.02", "finished", "4", "4.25", "5"],
    ["0.01", "begun", "2", "4.5", "7"],
  ]


def test_without_an_unseen_split_the_seen_one_ranks(file, workdir):
  runs = read(file, workdir)
  for one, step in zip(runs, (2, 4), strict=True):
    save(one, step)
    log = one.workdir / "metrics.jsonl"
    log.write_text(log.read_text().replace("unseen/", "seen/"))
  results = [
    sweep_table.read(r.name, r.overrides, r.workdir, r.step(), r.steps)
    for r in runs
  ]
  head, _, best, _ = sweep_table.table(results).splitlines()
  assert head.endswith("| loss | seen/loss |")
  assert best.startswith("| 0.02 |")


def test_a_run_that_diverged_is_last(file, workdir):
  first, second = runs = read(file, workdir)
  save(first, 4)
  save(second, 4)
  with (first.workdir / "metrics.jsonl").open("a") as log:
    log.write('{"step": 4, "loss": null, "unseen/loss": null}\n')
  rows = [sweep_table.read(r.name, r.overrides, r.workdir, 4, 4) for r in runs]
  best, other = sweep_table.table(rows).splitlines()[2:]
  assert best.startswith("| 0.02 |") and other.startswith("| 0.01 |")
  assert other.endswith("| 4 |  |  |")


def test_a_log_that_is_being_written_can_be_read(file, workdir):
  (one, _) = read(file, workdir)
  save(one, 2)
  with (one.workdir / "metrics.jsonl").open("a") as log:
    log.write('{"step": 3, "lo')
  assert sweep_table.read("x", {}, one.workdir, 2, 4).step == 2


def test_without_matplotlib_the_table_is_there(
  file, workdir, monkeypatch, capsys
):
  monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
  (one, _) = read(file, workdir)
  save(one, 2)
  result = sweep_table.read("x", {}, one.workdir, 2, 4)
  sweep_table.write_all(workdir, [result], print)
  assert "matplotlib is missing" in capsys.readouterr().out
  assert (workdir / "results.md").exists()
  assert not (workdir / "results.png").exists()
