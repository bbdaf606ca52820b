"""Arguments of every launcher: checked before anything starts."""

import re
import subprocess

import pytest

from launch import common, jobset, slurm, tpu_vm
from s02jax import stages
from s02jax.core.errors import UserError
from tests.launch.launched import OWN, ROOT, TOY, TRAINING

each_launcher = pytest.mark.parametrize(
  "launcher", OWN, ids=lambda module: module.__name__
)


def nothing_runs(monkeypatch):
  def fail(*args, **kwargs):
    pytest.fail(f"ran {args}")

  monkeypatch.setattr(subprocess, "run", fail)
  monkeypatch.setattr(subprocess, "Popen", fail)


@each_launcher
@pytest.mark.parametrize(
  "wrong, complaint",
  [
    (["--config.stepz=1"], "config.stepz is not a field"),
    (["--config.steps=many"], "steps"),
    (["--process_id=1"], "--process_id=1: leave it out"),
    (["--num_processes", "2"], "--num_processes: leave it out"),
  ],
)
def test_mistakes_are_told_before_anything_starts(
  launcher, wrong, complaint, monkeypatch
):
  nothing_runs(monkeypatch)
  with pytest.raises(UserError, match=complaint):
    launcher.main([*OWN[launcher], "--", *TRAINING, *wrong])


FIT = ["--config=configs/ar.py:base", "--config.corpus=/no/corpus"]


@each_launcher
@pytest.mark.parametrize(
  "wrong, complaint",
  [
    (["model.transformer.remat=foo"], "config.model.transformer: remat 'foo'"),
    (["model.transformer.heads=5"], "config.model.transformer: width 1536"),
    (["stage=poetry"], "config.stage is 'poetry'"),
    (["batch_size=7"], "config.batch_size is 7; it must be a multiple of 8"),
    (["batch_size=0", "mesh.fsdp=1"], "config.batch_size is 0"),
    (["mesh.data=3"], "config.batch_size is 1024; .* a multiple of 24"),
    (["accumulate=3"], "config.accumulate is 3; it must divide"),
    (["accumulate=0"], "config.accumulate is 0; it must divide"),
  ],
)
def test_what_training_would_refuse_is_not_queued(
  launcher, wrong, complaint, monkeypatch
):
  nothing_runs(monkeypatch)
  words = [f"--config.{w}" for w in wrong]
  own = [*OWN[launcher], "--dry-run"]
  with pytest.raises(UserError, match=complaint):
    launcher.main([*own, "--", *FIT, "--workdir=/data/runs/ar", *words])


# An adapter has the sizes of a bundle, which must be there.
@pytest.mark.parametrize("stage", sorted({*stages.STAGES} - {"adapter"}))
def test_every_stage_is_launched_without_its_corpus(stage):
  argv = ["--workdir=w", "--config.corpus=/no/corpus"]
  checked = common.check([f"--config=configs/{stage}.py:base", *argv])
  assert checked.config.corpus == "/no/corpus"


def test_a_stage_of_ones_own_need_not_be_here():
  common.check([*TRAINING, "--config.stage=only.in.the.image:Stage"])


@each_launcher
def test_training_needs_arguments(launcher, monkeypatch):
  nothing_runs(monkeypatch)
  with pytest.raises(UserError, match="needs --config"):
    launcher.main(OWN[launcher])


@each_launcher
def test_a_dry_run_only_prints(launcher, monkeypatch, capsys, tmp_path):
  nothing_runs(monkeypatch)
  workdir = tmp_path / "data" / "toy"
  own = [w.replace("/data", str(tmp_path)) for w in OWN[launcher]]
  training = [*TOY, "--workdir", str(workdir)]
  assert launcher.main([*own, "--dry-run", "--", *training]) == 0
  printed = capsys.readouterr().out
  assert re.search(r"s02jax\W+train", printed) and str(workdir) in printed
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("launcher", [slurm, tpu_vm], ids=["slurm", "tpu_vm"])
def test_a_missing_program_is_one_sentence(launcher, monkeypatch, tmp_path):
  monkeypatch.setenv("PATH", str(tmp_path))
  training = [*TOY, "--workdir", str(tmp_path / "toy")]
  with pytest.raises(UserError, match="is not on the PATH; .*--dry-run"):
    launcher.main([*OWN[launcher], "--", *training])


def test_a_missing_kubectl_is_one_sentence(monkeypatch, tmp_path):
  monkeypatch.setenv("PATH", str(tmp_path))
  with pytest.raises(
    UserError, match="kubectl is not on the PATH; .*--dry-run"
  ):
    jobset.main([*OWN[jobset], "--", *TRAINING])


def test_names_suit_everyone_and_tell_folders_apart():
  folders = ["a/ar", "b/ar", "runs/rate=3e-4,width=1536-0a1b2c3d", "/", "ä/é"]
  folders += ["x" * 200, "x" * 201, "-.-", "9"]
  names = [common.name_of(folder) for folder in folders]
  assert len(set(names)) == len(folders)
  for name in names:
    assert re.fullmatch(jobset.NAME, name), name
  assert common.name_of("a/ar") == common.name_of(str(ROOT / "a" / "ar"))


def test_every_launcher_passes_variables_on(tmp_path, monkeypatch, capsys):
  monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth1")
  monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/tmp/x y")
  training = ["--", *TOY, "--workdir", "/data/runs/toy"]
  own = ["--dry-run", "--env=NCCL_DEBUG=WARN", "--env=MINE=1"]
  gpu = ["--xla_gpu_enable_latency_hiding_scheduler=true", "MEM_FRACTION"]
  where = ["--tpu=t", "--zone=z"]
  pods = ["--image=i", "--volume=data:/data"]
  for launcher, options, words in (
    (slurm, [], gpu),
    (
      jobset,
      [*pods, "--gpus=8", "--rdma=rdma/ib=8"],
      [*gpu, "IPC_LOCK", "rdma/ib: 8"],
    ),
    (jobset, [*pods, "--tpu=v5p:2x2x1"], []),
    (tpu_vm, where, []),
  ):
    assert launcher.main([*own, *options, *training]) == 0
    out = capsys.readouterr().out
    for word in (
      *words,
      "NCCL_SOCKET_IFNAME",
      "eth1",
      "NCCL_DEBUG",
      "MINE",
      "/tmp/x y",
    ):
      assert word in out, (launcher.__name__, word)
    assert ("IPC_LOCK" in out) == ("IPC_LOCK" in words)


@pytest.mark.parametrize(
  ("gpus", "more", "kept"),
  [
    (8, [], ["8"]),
    (4, [], ["4"]),
    (1, [], []),  # nothing can stay within one
    (8, ["--config.mesh.fsdp=32"], ["32"]),
    (8, ["--config.mesh.tensor=4"], []),  # who says one axis says all
  ],
)
def test_fsdp_stays_within_a_node_of_gpus(gpus, more, kept, tmp_path, capsys):
  training = ["--config", "configs/ar.py:large", "--workdir", "/data/runs/ar"]
  training += [f"--config.corpus={tmp_path}", *more]
  pods = ["--image=i", "--volume=data:/data"]
  for launcher, own in (
    (slurm, [f"--gpus-per-node={gpus}", "--nodes=4"]),
    (jobset, [*pods, f"--gpus={gpus}", "--nodes=4"]),
  ):
    assert launcher.main([*own, "--dry-run", "--", *training]) == 0
    found = re.findall(r"config\.mesh\.fsdp=(\d+)", capsys.readouterr().out)
    assert found == kept, launcher.__name__
  argv = [*pods, "--tpu=v5p:4x4x4", "--dry-run", "--", *training]
  assert jobset.main(argv) == 0
  out = capsys.readouterr().out
  assert ("mesh.fsdp" in out) == (kept == ["32"])


def test_a_variable_without_a_value_is_one_sentence():
  with pytest.raises(UserError, match="--env A: give NAME=VALUE"):
    slurm.main(["--dry-run", "--env=A", "--", *TOY, "--workdir", "w"])
