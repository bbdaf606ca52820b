"""Trainings of the launchers' tests, and programs that stand in for others."""

import json
import os
import pathlib
import signal
import subprocess
import time

from launch import jobset, local, slurm, tpu_vm

ROOT = pathlib.Path(__file__).parents[2]
TOY = ("--config", "tests/toy_config.py")
TRAINING = [*TOY, "--workdir", "/data/runs/toy", "--config.steps=7"]
OWN = {
  local: [],
  slurm: [],
  jobset: ["--image=image", "--gpus=8", "--volume=claim:/data"],
  tpu_vm: ["--tpu=name", "--zone=zone"],
}


def executable(path: pathlib.Path, text: str) -> None:
  """Writes a program that can be run."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  path.chmod(0o755)


def lines(workdir: pathlib.Path) -> int:
  """Number of lines of a run's metrics.jsonl."""
  log = workdir / "metrics.jsonl"
  return log.read_text().count("\n") if log.exists() else 0


def stop_while_training(process: subprocess.Popen, workdir) -> str:
  """Sends SIGTERM once the process trains; returns its output."""
  while lines(workdir) < 20:
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.02)
  process.send_signal(signal.SIGTERM)
  return process.communicate(timeout=900)[0]


def saved(workdir: pathlib.Path) -> int:
  """Step of the newest checkpoint, which is the last one in the log."""
  last = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
  step = max(map(int, os.listdir(workdir / "checkpoints")))
  assert last["step"] == step
  return step
