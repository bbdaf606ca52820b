"""Launchers: what they would run is right, and what they run stops and resumes.

Programs of a cluster (srun, gcloud, …) are stood in for by scripts that do to
training what those do.
"""

import contextlib
import copy
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

import jsonschema
import pytest
import yaml

from launch import common, jobset, local, slurm, tpu_slices, tpu_vm
from s02jax import stages
from s02jax.core import errors
from s02jax.core.errors import UserError
from s02jax.training.arguments import Arguments, parse
from tests import jobset_schema

ROOT = pathlib.Path(__file__).parents[2]
TOY = ("--config", "tests/toy_config.py")
TRAINING = [*TOY, "--workdir", "/data/runs/toy", "--config.steps=7"]
OWN = {
  local: [],
  slurm: [],
  jobset: ["--image=image", "--gpus=8", "--volume=claim:/data"],
  tpu_vm: ["--tpu=name", "--zone=zone"],
}
each_launcher = pytest.mark.parametrize(
  "launcher", OWN, ids=lambda module: module.__name__
)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
  monkeypatch.chdir(ROOT)


def nothing_runs(monkeypatch):
  def fail(*args, **kwargs):
    pytest.fail(f"ran {args}")

  monkeypatch.setattr(subprocess, "run", fail)
  monkeypatch.setattr(subprocess, "Popen", fail)


# ---------------------------------------------------------------- arguments


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


@pytest.mark.parametrize("stage", sorted(stages.STAGES))
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


# ------------------------------------------------------------- TPU topologies


@pytest.mark.parametrize(
  "name, hosts, chips",
  [
    ("v5e:1x1", 1, 1),
    ("v5e:2x2", 1, 4),
    ("v5e:4x4", 4, 4),
    ("v5e:16x16", 64, 4),
    ("v5p:2x2x1", 1, 4),
    ("v5p:4x4x8", 32, 4),
    ("v5p:8x8x16", 256, 4),
    ("v6e:4x8", 8, 4),
    ("tpu7x:2x2x2", 2, 4),
    ("tpu7x:4x4x4", 16, 4),
  ],
)
def test_hosts_of_a_slice(name, hosts, chips):
  found = tpu_slices.parse(name)
  assert (found.hosts, found.chips_per_host) == (hosts, chips)


def test_a_host_of_eight_chips():
  found = tpu_slices.parse("v6e:2x4", chips_per_host=8)
  assert (found.hosts, found.chips_per_host) == (1, 8)
  with pytest.raises(UserError, match="--chips-per-host 8: .* have 4 chips"):
    tpu_slices.parse("v6e:4x4", chips_per_host=8)


@pytest.mark.parametrize(
  "name",
  ["v5p:4x4", "v6e:3x3", "v5p:8x4x4", "v5p:4x4x6", "v5p:x4x4", "v5p"]
  + ["v6e:16x32", "v5p:24x24x24", "v5e:", "v6e:4x4x4"],
)
def test_no_such_topology(name):
  with pytest.raises(UserError, match=f"--tpu {name}: a topology of v"):
    tpu_slices.parse(name)


def test_no_such_generation():
  with pytest.raises(UserError, match="one of v4, v5e, v5p, v6e, tpu7x"):
    tpu_slices.parse("v7:4x4")


# --------------------------------------------------------------------- JobSet


def manifest(*own: str, training=TRAINING) -> dict:
  """Manifest as read back from the YAML that kubectl would get."""
  argv = ["--image=image", "--volume=claim:/data", *own]
  options = jobset.parser().parse_args(argv)
  tree = jobset.manifest(options, training, common.check(training).workdir)
  return yaml.safe_load(yaml.safe_dump(tree))


def job_of(tree: dict) -> dict:
  return tree["spec"]["replicatedJobs"][0]["template"]["spec"]


def pod_of(tree: dict) -> dict:
  return job_of(tree)["template"]["spec"]


HARDWARE = (
  ("--gpus=1",),
  ("--gpus=8", "--nodes=4", "--namespace=speech", "--label=queue=a"),
  ("--tpu=v6e:1x1",),
  ("--tpu=v5e:4x4", "--node-selector=cloud.google.com/gke-spot=true"),
  ("--tpu=v5p:4x4x8", "--slices=4", "--restarts=0"),
  ("--tpu=tpu7x:2x2x1",),
)
each_hardware = pytest.mark.parametrize("own", HARDWARE, ids=" ".join)


@each_hardware
def test_manifests_are_what_kubernetes_takes(own):
  jobset_schema.validate(manifest(*own))


def paths(tree, at=()):
  """Paths to the keys of a tree that are fields, not names of the user's."""
  free = ("limits", "nodeSelector", "labels", "annotations")
  if isinstance(tree, dict):
    for key, value in tree.items():
      yield (*at, key)
      if key not in free:
        yield from paths(value, (*at, key))
  elif isinstance(tree, list):
    for i, value in enumerate(tree):
      yield from paths(value, (*at, i))


@each_hardware
def test_a_misspelt_field_anywhere_is_caught(own):
  tree = manifest(*own)
  fields = list(paths(tree))
  assert len(fields) > 40
  for *parents, last in fields:
    broken = copy.deepcopy(tree)
    node = broken
    for key in parents:
      node = node[key]
    node[last + "x"] = node.pop(last)
    with pytest.raises(jsonschema.ValidationError):
      jobset_schema.validate(broken)


@pytest.mark.parametrize(
  "where, value",
  [
    ("completions", "four"),
    (
      "podFailurePolicy",
      {"rules": [{"action": "FailJob", "onExitCodes": 143}]},
    ),
    ("template", {"spec": {"containers": [{"image": "no name"}]}}),
    ("template", {"spec": {"restartPolicy": "Never"}}),
  ],
)
def test_a_wrong_value_is_caught(where, value):
  tree = manifest("--gpus=1")
  job_of(tree)[where] = value
  with pytest.raises(jsonschema.ValidationError):
    jobset_schema.validate(tree)


@pytest.mark.parametrize("slices", [1, 3])
def test_a_slice_is_a_job_of_as_many_pods_as_it_has_hosts(slices):
  tree = manifest("--tpu=v5p:4x4x8", f"--slices={slices}")
  (replicated,) = tree["spec"]["replicatedJobs"]
  job, pod = job_of(tree), pod_of(tree)
  limits = pod["containers"][0]["resources"]["limits"]
  assert replicated["replicas"] == slices
  assert job["parallelism"] == job["completions"] == 32
  assert job["completions"] * limits["google.com/tpu"] == 4 * 4 * 8
  assert pod["nodeSelector"] == {
    "cloud.google.com/gke-tpu-accelerator": "tpu-v5p-slice",
    "cloud.google.com/gke-tpu-topology": "4x4x8",
  }
  # No two slices in one node pool.
  assert list(tree["metadata"]["annotations"].values()) == [
    "cloud.google.com/gke-nodepool"
  ]


def arguments(tree: dict, index: int) -> Arguments:
  """Arguments of training in pod `index`, after Kubernetes' substitution."""
  command = pod_of(tree)["containers"][0]["command"]
  assert command[:4] == ["python", "-m", "s02jax", "train"]
  mine = [
    re.sub(
      r"\$\$|\$\(JOB_COMPLETION_INDEX\)",
      lambda m: "$" if m[0] == "$$" else str(index),
      word,
    )
    for word in command[4:]
  ]
  return parse(mine)


def test_gpu_pods_are_told_of_each_other():
  tree = manifest("--gpus=8", "--nodes=4", "--name=speech")
  found = [arguments(tree, i) for i in range(4)]
  assert [a.process_id for a in found] == [0, 1, 2, 3]
  assert {a.num_processes for a in found} == {4}
  # The first pod, as JobSet names it, in the set's own domain.
  assert {a.coordinator for a in found} == {"speech-workers-0-0.speech:8476"}
  assert job_of(tree)["completionMode"] == "Indexed"


@pytest.mark.parametrize("own", [("--gpus=8",), ("--tpu=v5p:4x4x8",)])
def test_others_are_not(own):
  assert arguments(manifest(*own), 0).coordinator is None


def test_a_dollar_reaches_training():
  training = [*TRAINING, "--config.corpus=/data/$(HOME)"]
  tree = manifest("--gpus=1", training=training)
  assert arguments(tree, 0).config.corpus == "/data/$(HOME)"


AGAIN = "RestartJobSetAndIgnoreMaxRestarts"


def action(tree: dict, pod: dict) -> str:
  """Action of JobSet when a pod fails, by the Job's rules, then its own."""
  reason, message = "BackoffLimitExceeded", "Job has reached its limit"
  for i, rule in enumerate(job_of(tree)["podFailurePolicy"]["rules"]):
    codes = rule.get("onExitCodes", {})
    name, code = pod.get("exit", (None, None))
    conditions = [c["type"] for c in rule.get("onPodConditions", [])]
    if (
      name is not None
      and codes.get("containerName") == name
      and code in codes["values"]
    ) or pod.get("condition") in conditions:
      assert rule["action"] == "FailJob"
      reason = "PodFailurePolicy"
      message = f"Pod default/x failed, matching FailJob rule at index {i}"
      break
  for rule in tree["spec"]["failurePolicy"]["rules"]:
    patterns = rule.get("onJobFailureMessagePatterns", [""])
    if reason in rule["onJobFailureReasons"] and any(
      re.search(pattern, message) for pattern in patterns
    ):
      return rule["action"]
  return "RestartJobSet"


def test_a_stopped_run_starts_again_without_limit_and_a_failed_one_does_not():
  tree = manifest("--gpus=1", "--restarts=3", "--grace=99")
  policy = tree["spec"]["failurePolicy"]
  assert policy["maxRestarts"] == 3
  job, pod = job_of(tree), pod_of(tree)
  container = pod["containers"][0]["name"]
  assert action(tree, {"exit": (container, errors.STOPPED)}) == AGAIN
  assert action(tree, {"condition": "DisruptionTarget"}) == AGAIN
  assert action(tree, {"exit": (container, 2)}) == "FailJobSet"
  for code in (1, 137):  # no rule: it restarts, and is counted
    assert action(tree, {"exit": (container, code)}) == "RestartJobSet"
  assert job["backoffLimit"] == 0 and pod["restartPolicy"] == "Never"
  assert pod["terminationGracePeriodSeconds"] == 99


def test_compiled_programs_are_kept_where_all_pods_see_them():
  (variable,) = pod_of(manifest("--gpus=1"))["containers"][0]["env"]
  assert variable == {"name": "S02_CACHE", "value": "/data/runs/.cache/xla"}


@pytest.mark.parametrize(
  "own, complaint",
  [
    (("--volume=claim",), "--volume claim: give CLAIM:/PATH"),
    (("--name=Speech",), "--name Speech: use at most 40 small letters"),
    (("--label=queue",), "--label queue: give NAME=VALUE"),
    (("--node-selector=spot",), "--node-selector spot: give NAME=VALUE"),
  ],
)
def test_impossible_manifests_are_one_sentence(own, complaint):
  with pytest.raises(UserError, match=complaint):
    manifest("--gpus=1", *own)


def test_a_workdir_that_would_be_lost_is_refused():
  with pytest.raises(UserError, match="--workdir /tmp/toy lies in no --volume"):
    manifest("--gpus=1", training=[*TOY, "--workdir=/tmp/toy"])


# Keeps a JobSet's manifest in `jobset`, and how it ended in `ended`.
KUBECTL = """#!/bin/sh
cd HERE
echo "$@" >> asked
[ -e refused ] && exit 3
case "$1 $2" in
"get jobset") [ ! -e jobset ] || echo "$3 $(cat ended)";;
"delete jobset") rm jobset;;
"create -f") [ ! -e jobset ] && cat > jobset;;
esac
"""


@pytest.fixture
def kubectl(tmp_path, monkeypatch) -> pathlib.Path:
  """A folder in which a stand-in keeps a JobSet."""
  here = shlex.quote(str(tmp_path))
  executable(tmp_path / "bin" / "kubectl", KUBECTL.replace("HERE", here))
  monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
  return tmp_path


def create(*own: str) -> int:
  return jobset.main([*OWN[jobset], *own, "--", *TRAINING])


@pytest.mark.parametrize("ended", ["Failed", "Completed"])
def test_the_same_command_goes_on_where_a_jobset_has_ended(kubectl, ended):
  assert create("--gpus=4") == 0
  (kubectl / "ended").write_text(ended)
  assert create("--gpus=8", "--namespace=speech") == 0
  tree = yaml.safe_load((kubectl / "jobset").read_text())
  (container,) = pod_of(tree)["containers"]
  assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}
  *_, get, delete, _ = (kubectl / "asked").read_text().splitlines()
  for command in (get, delete):  # in the namespace of the manifest
    assert {"--namespace=speech", common.name_of("/data/runs/toy")} <= {
      *command.split()
    }
  # The names of its pods are free when it is gone.
  assert "--cascade=foreground" in delete


def test_a_jobset_that_has_not_ended_is_left_alone(kubectl, capsys):
  assert create() == 0
  (kubectl / "ended").write_text("")
  before = (kubectl / "jobset").read_text()
  assert create("--restarts=7") == 1
  assert (kubectl / "jobset").read_text() == before
  assert "delete" not in (kubectl / "asked").read_text()
  name = common.name_of("/data/runs/toy")
  (line,) = capsys.readouterr().err.splitlines()
  assert f"the JobSet {name} has not ended" in line
  assert f"kubectl delete jobset {name} " in line


def test_nothing_is_created_where_kubectl_cannot_ask(kubectl):
  (kubectl / "refused").touch()
  assert create() == 3
  assert len((kubectl / "asked").read_text().splitlines()) == 1


def test_a_dry_run_prints_the_commands_that_run(kubectl, capsys):
  assert create("--dry-run") == 0
  printed = capsys.readouterr().out
  assert create() == 0
  (kubectl / "ended").write_text("Failed")
  assert create() == 0
  for words in (kubectl / "asked").read_text().splitlines():
    assert f"kubectl {words}" in printed.replace("'", "")
  created = yaml.safe_load((kubectl / "jobset").read_text())
  assert yaml.safe_load(printed) == created


def test_an_ended_jobset_goes_by_itself_but_not_its_logs_at_once():
  assert manifest("--gpus=1")["spec"]["ttlSecondsAfterFinished"] > 24 * 3600


# ---------------------------------------------------------------------- local


def python(*lines: str) -> list[str]:
  return [sys.executable, "-c", "\n".join(lines)]


SLEEP = python("import time; time.sleep(1000)")
STUBBORN = python(
  "import signal, time",
  "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
  "time.sleep(1000)",
)


def test_lines_carry_the_number_of_their_process(capfd):
  assert local.run_all([python("print('one')"), python("print('two')")]) == 0
  assert sorted(capfd.readouterr().out.splitlines()) == ["[0] one", "[1] two"]


@pytest.mark.parametrize("code", [2, 7])
def test_the_first_failure_ends_all_and_is_returned(code, monkeypatch):
  monkeypatch.setattr(local, "PATIENCE", 0.2)
  failing = python(f"raise SystemExit({code})")
  assert local.run_all([SLEEP, failing, STUBBORN]) == code


def test_a_killed_process_is_a_failure():
  killed = python("import os; os.kill(os.getpid(), 9)")
  assert local.run_all([SLEEP, killed]) == 128 + 9


def test_a_stop_that_one_process_began_is_no_failure():
  stopped = python("raise SystemExit(143)")
  late = python("import time; time.sleep(0.5); raise SystemExit(143)")
  assert local.run_all([stopped, late]) == errors.STOPPED


def lines(workdir: pathlib.Path) -> int:
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


@pytest.fixture
def start():
  """Starts commands; nothing of them outlives the test."""
  started = []

  def popen(*command: str, **env: str) -> subprocess.Popen:
    process = subprocess.Popen(
      command,
      env=os.environ | env,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      start_new_session=True,
    )
    started.append(process)
    return process

  yield popen
  for process in started:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.processes
def test_two_processes_stop_together_and_go_on(start, tmp_path):
  """Processes save at a SIGTERM to the launcher, and its command goes on."""

  def launch(steps: int) -> subprocess.Popen:
    return start(
      *(sys.executable, "-m", "launch.local", "--processes", "2", "--"),
      *(*TOY, "--workdir", str(tmp_path), f"--config.steps={steps}"),
    )

  process = launch(100_000)
  output = stop_while_training(process, tmp_path)
  assert process.returncode == errors.STOPPED, output
  assert re.search(r"^\[0\] .*stopped by SIGTERM", output, re.MULTILINE)
  assert re.search(r"^\[1\] .*stopped by SIGTERM", output, re.MULTILINE)
  step = saved(tmp_path)
  process = launch(step + 1)
  output, _ = process.communicate(timeout=900)
  assert process.returncode == 0, output
  assert f"restored step {step}" in output
  assert saved(tmp_path) == step + 1


# ---------------------------------------------------------------------- SLURM

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


def executable(path: pathlib.Path, text: str) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  path.chmod(0o755)


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


# --------------------------------------------------------------------- TPU VM


ENDPOINTS = "unknown:unknown:10.0.0.3,unknown:unknown:10.0.0.4"


@pytest.fixture
def tpu(tmp_path, monkeypatch) -> pathlib.Path:
  """Folder of stand-ins: gcloud runs --command, systemd-run the service."""
  folder, clone = tmp_path / "bin", tmp_path / "the clone"
  here = shlex.quote(str(tmp_path))
  gcloud = """for word; do case "$word" in
--command=*) exec bash -c "${word#--command=}";; esac; done"""
  executable(folder / "gcloud", f"#!/bin/bash\n{gcloud}\n")
  executable(folder / "sudo", '#!/bin/sh\nexec "$@"\n')
  systemd = f"""printf '%s\\0' "$@" > {here}/unit
while [ "${{1#--}}" != "$1" ]; do shift; done
exec "$@" """
  executable(folder / "systemd-run", f"#!/bin/bash\n{systemd}\n")
  executable(
    folder / "curl", f'#!/bin/sh\ncat {here}/"$(basename "$4")" 2>/dev/null\n'
  )
  (tmp_path / "worker-network-endpoints").write_text(ENDPOINTS)
  (tmp_path / "tpu-env").write_text("ZONE: 'z'\nWORKER_ID: '1'\n")
  record = f"""printf '%s\\0' "$@" > {here}/argv\nexit 3"""
  executable(clone / ".venv" / "bin" / "python", f"#!/bin/bash\n{record}\n")
  monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
  return tmp_path


def words(path: pathlib.Path) -> list[str]:
  return path.read_text().split("\0")[:-1]


def test_training_on_a_tpu_vm_gets_the_very_words(tpu):
  training = [*TOY, "--workdir=/data/it's a $HOME", "--config.corpus=a b*"]
  own = [*OWN[tpu_vm], f"--directory={tpu / 'the clone'}", "--grace=77"]
  assert tpu_vm.main([*own, "--", *training]) == 3
  assert words(tpu / "argv") == ["-m", "s02jax", "train", *training]
  unit = words(tpu / "unit")
  assert {"--wait", "--unit=s02-train"} <= {*unit}
  assert {"--property=TimeoutStopSec=77"} <= {*unit}
  assert f"--working-directory={tpu / 'the clone'}" in unit
  assert f"--uid={os.getuid()}" in unit
  assert "--setenv=S02_CACHE=/data/.cache/xla" in unit


@pytest.mark.parametrize(
  "file, text, coordinator",
  [
    ("worker-network-endpoints", ENDPOINTS, "10.0.0.3:8476"),
    ("worker-network-endpoints", "host-0,host-1", "host-0:8476"),
    (
      "tpu-env",
      "A: 'b'\nMEGASCALE_COORDINATOR_ADDRESS: '10.0.0.9:8081'\nC: 'd'\n",
      "10.0.0.9:8476",
    ),
  ],
)
def test_hosts_of_a_tpu_are_told_the_first(tpu, file, text, coordinator):
  """Every host gets the address of the first, or it would train alone."""
  (tpu / file).write_text(text)
  own = [*OWN[tpu_vm], f"--directory={tpu / 'the clone'}"]
  assert tpu_vm.main([*own, "--", *TRAINING]) == 3
  assert f"--setenv=JAX_COORDINATOR_ADDRESS={coordinator}" in words(
    tpu / "unit"
  )


def printed(capsys, *own: str) -> list[str]:
  training = [] if {"--create", "--stop"} & {*own} else ["--", *TRAINING]
  argv = [*OWN[tpu_vm], "--dry-run", *own, *training]
  assert tpu_vm.main(argv) == 0
  return shlex.split(capsys.readouterr().out)


def test_every_host_of_every_slice_is_asked(capsys):
  one, two = printed(capsys), printed(capsys, "--slices=2")
  assert one[:6] == ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "name"]
  assert two[:6] == [
    "gcloud",
    "compute",
    "tpus",
    "queued-resources",
    "ssh",
    "name",
  ]
  assert "--worker=all" in one and "--node=all" not in one
  assert {"--worker=all", "--node=all"} <= {*two}
  assert printed(capsys, "--stop")[-1].endswith("systemctl stop s02-train")


def test_a_tpu_is_asked_for(capsys):
  what = ("--accelerator-type=v5p-128", "--runtime-version=v2-alpha-tpuv5")
  one = printed(capsys, "--create", "--spot", *what)
  assert one[3:6] == ["queued-resources", "create", "name"]
  assert {"--node-id=name", "--spot", *what} <= {*one}
  two = printed(capsys, "--create", "--slices=2", *what)
  assert {"--node-count=2", "--node-prefix=name"} <= {*two}
  with pytest.raises(UserError, match="needs --accelerator-type and --runtime"):
    printed(capsys, "--create")
