"""Launcher of JobSets: manifests that Kubernetes takes, commands of kubectl.

A script stands in for kubectl.
"""

import copy
import os
import pathlib
import re
import shlex

import jsonschema
import pytest
import yaml

from launch import common, jobset
from s02jax.core import errors
from s02jax.core.errors import UserError
from s02jax.training.arguments import Arguments, parse
from tests import jobset_schema
from tests.launch.launched import OWN, TOY, TRAINING, executable


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
  variables = pod_of(manifest("--gpus=1"))["containers"][0]["env"]
  cache = {"name": "S02_CACHE", "value": "/data/runs/.cache/xla"}
  assert variables.count(cache) == 1
  assert [x["name"] for x in variables].count("S02_CACHE") == 1


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
