"""Launcher of SLURM jobs: their script, its signals, directives.

Scripts that do to training what srun and the others do stand in for them.
"""

import os
import pathlib
import shlex
import signal
import sys
import time

import pytest

from launch import slurm
from s02jax.core import errors
from tests.launch.launched import TOY, executable, saved, stop_while_training

# Starts tasks on this machine as srun would: kills them at a SIGTERM, and ends
# with the highest of their codes.
SRUN = f"""#!{sys.executable}
import os, signal, subprocess, sys
words = sys.argv[1:]
while words[0].startswith("--"):
  words.pop(0)
count = int(os.environ["SLURM_NTASKS"])
tasks = [
  subprocess.Popen(words, env=os.environ | {{
    "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_NUM_NODES": "1",
    "SLURM_PROCID": str(i), "SLURM_LOCALID": str(i),
  }}) for i in range(count)
]
with open("PIDS", "w") as file:
  file.write(" ".join(str(task.pid) for task in tasks))
signal.signal(signal.SIGTERM, lambda *_: [t.kill() for t in tasks])
sys.exit(max(task.wait() % 256 for task in tasks))
"""
# Carries the signal to the tasks of the job's first step.
SCANCEL = """#!/bin/sh
[ "$*" = "--signal=TERM $SLURM_JOB_ID.0" ] && kill -TERM $(cat PIDS)
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> pathlib.Path:
  """A folder of stand-ins on the PATH; `squeue` tells what is in `state`."""
  folder = tmp_path / "bin"
  here = shlex.quote(str(tmp_path))
  tasks = str(tmp_path / "tasks")
  executable(folder / "srun", SRUN.replace("PIDS", tasks))
  executable(folder / "scancel", SCANCEL.replace("PIDS", shlex.quote(tasks)))
  executable(folder / "squeue", f"#!/bin/sh\ncat {here}/state\n")
  executable(folder / "scontrol", f'#!/bin/sh\necho "$@" >> {here}/told\n')
  executable(folder / "sbatch", f"#!/bin/sh\ncat > {here}/job.sh\n")
  (tmp_path / "state").write_text("RUNNING\n")
  monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
  return tmp_path


def told(cluster) -> list[str]:
  path = cluster / "told"
  return path.read_text().splitlines() if path.exists() else []


def submit(cluster, workdir, *own: str, steps: int = 7) -> list[str]:
  """Submits a job; returns the command that runs its script."""
  training = [*TOY, "--workdir", str(workdir), f"--config.steps={steps}"]
  assert slurm.main([*own, "--", *training]) == 0
  return ["bash", str(cluster / "job.sh")]


@pytest.mark.parametrize(
  "code, state, requeued",
  [
    (143, "RUNNING", True),
    (143, "COMPLETING", False),  # cancelled
    (0, "RUNNING", False),
    (1, "RUNNING", False),
    (2, "RUNNING", False),
    (69, "RUNNING", True),
    (70, "RUNNING", True),
    (75, "RUNNING", True),
    (75, "COMPLETING", False),
  ],
)
def test_only_a_stopped_job_is_requeued(
  start, cluster, monkeypatch, code, state, requeued
):
  executable(cluster / "stub", f"#!/bin/sh\nexit {code}\n")
  (cluster / "state").write_text(state)
  monkeypatch.setattr(slurm.sys, "executable", str(cluster / "stub"))
  command = submit(cluster, cluster / "toy")
  process = start(*command, SLURM_JOB_ID="4242", SLURM_NTASKS="1")
  output, _ = process.communicate(timeout=60)
  assert process.returncode == code, output
  assert told(cluster) == (["requeue 4242"] if requeued else [])


def test_failures_that_pass_are_tried_again_a_bounded_number_of_times(
  start, cluster, monkeypatch
):
  executable(cluster / "stub", f"#!/bin/sh\nexit $(cat {cluster}/code)\n")
  monkeypatch.setattr(slurm.sys, "executable", str(cluster / "stub"))
  (cluster / "toy").mkdir()
  command = submit(cluster, cluster / "toy", "--restarts=2")
  requeued = []
  for code in (75, 69, 75, 143, 70):
    (cluster / "code").write_text(str(code))
    before = len(told(cluster))
    process = start(*command, SLURM_JOB_ID="4242", SLURM_NTASKS="1")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output
    requeued.append(len(told(cluster)) > before)
  # The third failure is one too many; a stop after saving begins anew.
  assert requeued == [True, True, False, True, True]


# A step that ends while scancel still runs, with the code in `code`.
ENDING = """#!/bin/sh
echo $$ > HERE/step
until [ -e HERE/ended ]; do sleep 0.01; done
exit $(cat HERE/code)
"""
SLOW_SCANCEL = """#!/bin/sh
touch HERE/ended
while kill -0 $(cat HERE/step) 2>/dev/null; do sleep 0.01; done
"""


@pytest.mark.parametrize("code", [0, 2, 143])
def test_a_step_that_ends_while_the_signal_is_carried(start, cluster, code):
  """A step's own code counts, not that of the wait which the signal ended."""
  here = shlex.quote(str(cluster))
  executable(cluster / "bin" / "srun", ENDING.replace("HERE", here))
  executable(cluster / "bin" / "scancel", SLOW_SCANCEL.replace("HERE", here))
  (cluster / "code").write_text(str(code))
  process = start(*submit(cluster, cluster / "toy"), SLURM_JOB_ID="4242")
  while not (cluster / "step").exists():
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.02)
  process.send_signal(signal.SIGTERM)
  output, _ = process.communicate(timeout=60)
  assert process.returncode == code, output
  assert told(cluster) == (["requeue 4242"] if code == 143 else [])


@pytest.mark.processes
def test_a_signal_to_the_job_saves_and_requeues(start, cluster):
  """Two tasks find each other by SLURM's variables, and save at the signal."""
  env = dict(SLURM_JOB_ID="4242", SLURM_NTASKS="2")
  workdir = cluster / "my toy"
  process = start(*submit(cluster, workdir, steps=100_000), **env)
  output = stop_while_training(process, workdir)
  assert process.returncode == errors.STOPPED, output
  assert output.count("stopped by SIGTERM") == 2
  assert told(cluster) == ["requeue 4242"]
  step = saved(workdir)
  process = start(*submit(cluster, workdir, steps=step + 1), **env)
  output, _ = process.communicate(timeout=900)
  assert process.returncode == 0, output
  assert told(cluster) == ["requeue 4242"]  # not once more
  assert saved(workdir) == step + 1


def directives(cluster, *own: str) -> list[str]:
  submit(cluster, cluster / "toy", *own)
  text = (cluster / "job.sh").read_text()
  return [
    word
    for line in text.splitlines()
    if line.startswith("#SBATCH ")
    for word in shlex.split(line.removeprefix("#SBATCH "))
  ]


def test_one_task_per_gpu_that_sees_all_gpus_of_its_node(cluster):
  found = directives(cluster, "--nodes=3", "--gpus-per-node=8")
  assert {"--nodes=3", "--ntasks-per-node=8", "--gpus-per-node=8"} <= {*found}
  # JAX counts the GPUs of the node: a task bound to its own would find none.
  assert "--gpus-per-task" not in (cluster / "job.sh").read_text()


def test_directives(cluster):
  found = directives(cluster, "--grace=90", "--sbatch=--account=ours")
  assert {"--requeue", "--signal=B:TERM@90", "--account=ours"} <= {*found}
  assert {"--dependency=singleton", "--open-mode=append"} <= {*found}
  assert f"--output={cluster}/toy/slurm-%j.out" in found
  more = directives(cluster, "--cpus-per-gpu=12", "--time=8:00:00")
  assert {"--cpus-per-task=12", "--time=8:00:00"} <= {*more}
  assert "srun --label --kill-on-bad-exit=1 --cpus-per-task=12" in (
    (cluster / "job.sh").read_text()
  )
