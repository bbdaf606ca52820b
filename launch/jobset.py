"""Launches one training run as a Kubernetes JobSet, on TPU slices or GPU nodes.

  python -m launch.jobset --image IMAGE --volume CLAIM:/data \\
    --tpu v5p:4x4x8 --slices 2 -- --config configs/ar.py:base \\
    --config.corpus /data/corpus --workdir /data/runs/ar

  python -m launch.jobset --image IMAGE --volume CLAIM:/data \\
    --gpus 8 --nodes 4 -- …

Hands a manifest to `kubectl create` (`--dry-run` prints it, below the commands
as comments). It needs a cluster with JobSet 0.10 or newer, an image in which
`python -m s02jax train` runs, and a claim that every pod may write to. One pod
per host, one process per pod, with all the accelerators of the host. TPU pods
learn of each other from GKE; GPU pods are told on the command line.

An eviction or preemption lets training save and exit with 143; the JobSet then
starts again and goes on from the checkpoint, as often as needed. Wrong input
ends it at once; any other failure restarts it at most --restarts times. The
same command goes on after that: a JobSet of the same name that has ended is
deleted first, one that has not is left alone.
"""

import argparse
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import yaml

from launch import common, tpu_slices
from s02jax.core import places
from s02jax.core.errors import STOPPED, UserError, run

DETACHED = True

_JOB = "workers"  # name of the JobSet's job, one replica per slice
_CONTAINER = "train"
# Slices lie in a node pool each.
_EXCLUSIVE = "alpha.jobset.sigs.k8s.io/exclusive-topology"
_POOL = "cloud.google.com/gke-nodepool"
# Pods are named after the JobSet, and a pod's name has 63 characters.
NAME = r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?"
# Seconds that an ended JobSet is kept for its logs, where nobody asks again.
_KEPT = 7 * 24 * 3600

Tree = dict[str, Any]
_LOCKS: Tree = {"securityContext": {"capabilities": {"add": ["IPC_LOCK"]}}}


def parser() -> argparse.ArgumentParser:
  """Argument parser of this launcher."""
  out = common.parser(__doc__)
  common.add_remote(out)
  number = dict(type=common.positive, default=1)
  out.add_argument("--image", required=True, help="with s02jax installed")
  hardware = out.add_mutually_exclusive_group(required=True)
  hardware.add_argument("--tpu", help="GENERATION:TOPOLOGY, as v5p:4x4x8")
  hardware.add_argument("--gpus", type=common.positive, help="per node")
  out.add_argument("--slices", help="of TPU (%(default)s)", **number)
  out.add_argument("--chips-per-host", type=int, help="8 for a 2x4 on one host")
  out.add_argument("--nodes", help="of GPUs (%(default)s)", **number)
  out.add_argument(
    "--rdma",
    action="append",
    default=[],
    metavar="RESOURCE=COUNT",
    help="network cards of a node for NCCL, as rdma/ib=8",
  )
  out.add_argument("--name", help="of the JobSet (from the workdir)")
  out.add_argument("--namespace", help="kubectl's own where absent")
  pair = dict(action="append", default=[])
  out.add_argument("--volume", metavar="CLAIM:/PATH", **pair)
  out.add_argument("--node-selector", metavar="LABEL=VALUE", **pair)
  out.add_argument("--label", metavar="NAME=VALUE", help="a queue's", **pair)
  out.add_argument(
    "--restarts", type=int, default=10, help="after failures (%(default)s)"
  )
  return out


def launch(options: argparse.Namespace, training: Sequence[str]) -> int:
  """Creates the JobSet, in the place of one of that name that has ended.

  Returns:
    kubectl's exit code, or 1 where the one that is there has not ended.
  """
  workdir = common.check(training).workdir
  if options.gpus:
    training = common.within_node(training, options.gpus)
  tree = manifest(options, training, workdir)
  text = yaml.safe_dump(tree, sort_keys=False, width=1000, explicit_start=True)
  ask, delete, create = _commands(**tree["metadata"])
  if options.dry_run:
    print(f"# {shlex.join(ask)}")
    print(f"# where that says Completed or Failed: {shlex.join(delete)}")
    print(f"# {shlex.join(create)}")
    print(text, end="")
    return 0
  return _make_room(ask, delete) or common.run(create, stdin=text)


def _commands(
  name: str, namespace: str = "", **_: Any
) -> tuple[list[str], list[str], list[str]]:
  """Commands of kubectl: ask how a JobSet ended, delete it, create one."""
  where = [name, "--ignore-not-found"]
  where += [f"--namespace={namespace}"] if namespace else []
  state = "--output=jsonpath={.metadata.name} {.status.terminalState}"
  return (
    ["kubectl", "get", "jobset", *where, state],
    # With its pods, before it: the new ones have the same names.
    ["kubectl", "delete", "jobset", *where, "--cascade=foreground"],
    ["kubectl", "create", "-f", "-"],
  )


def _make_room(ask: Sequence[str], delete: Sequence[str]) -> int:
  """Deletes the JobSet if it has ended; not 0 where the name stays taken."""
  code, said = _answer(ask)
  name, _, ended = said.partition(" ")
  if code or not name:
    return code
  if ended:
    return common.run(delete)
  # No UserError: the other runs of a sweep are to be launched nevertheless.
  print(
    f"s02: the JobSet {name} has not ended and is left alone; to start anew, "
    f"delete it first: {shlex.join(delete)}",
    file=sys.stderr,
  )
  return 1


def _answer(command: Sequence[str]) -> tuple[int, str]:
  """Exit code and output of a program."""
  try:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
  except FileNotFoundError:
    return common.run(command), ""  # says so
  return done.returncode, done.stdout.strip()


def manifest(
  options: argparse.Namespace, training: Sequence[str], workdir: str
) -> Tree:
  """Manifest of the JobSet.

  Raises:
    UserError: an impossible slice, name or pair, or a workdir in no volume.
  """
  name = options.name or common.name_of(workdir)
  if not re.fullmatch(NAME, name):
    raise UserError(
      f"--name {name}: use at most 40 small letters, digits and dashes, a "
      "letter first."
    )
  metadata: Tree = {"name": name}
  if options.namespace:
    metadata["namespace"] = options.namespace
  if options.label:
    metadata["labels"] = common.pairs("--label", options.label)
  if options.tpu:
    metadata["annotations"] = {_EXCLUSIVE: _POOL}
  return {
    "apiVersion": "jobset.x-k8s.io/v1alpha2",
    "kind": "JobSet",
    "metadata": metadata,
    "spec": {
      "ttlSecondsAfterFinished": _KEPT,
      "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
      "failurePolicy": {
        "maxRestarts": options.restarts,
        # Accelerators are free when the pods that held them are gone.
        "restartStrategy": "BlockingRecreate",
        "rules": [
          {
            "name": "wrong_input",
            "action": "FailJobSet",
            "onJobFailureReasons": ["PodFailurePolicy"],
            # A Job tells the rule that ended it in its message alone.
            "onJobFailureMessagePatterns": ["FailJob rule at index 0$"],
          },
          {
            "name": "stopped",
            "action": "RestartJobSetAndIgnoreMaxRestarts",
            "onJobFailureReasons": ["PodFailurePolicy"],
          },
        ],
      },
      "replicatedJobs": [
        {
          "name": _JOB,
          "replicas": options.slices if options.tpu else 1,
          "template": {"spec": _job(options, training, workdir, name)},
        }
      ],
    },
  }


def _job(
  options: argparse.Namespace, training: Sequence[str], workdir: str, name: str
) -> Tree:
  """Job of one slice, or of all GPU nodes: one pod for each host."""
  hosts = options.nodes
  if options.tpu:
    hosts = tpu_slices.parse(options.tpu, options.chips_per_host).hosts
  return {
    "parallelism": hosts,
    "completions": hosts,
    "completionMode": "Indexed",
    "backoffLimit": 0,
    "podFailurePolicy": {
      "rules": [
        _failed_with(common.WRONG_INPUT),  # the first: the JobSet counts on it
        _failed_with(STOPPED),
        {
          "action": "FailJob",
          "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        },
      ]
    },
    "template": {"spec": _pod(options, training, workdir, name)},
  }


def _failed_with(code: int) -> Tree:
  """Rule that ends a Job when a pod of it exits with a code."""
  return {
    "action": "FailJob",
    "onExitCodes": {
      "containerName": _CONTAINER,
      "operator": "In",
      "values": [code],
    },
  }


def _pod(
  options: argparse.Namespace, training: Sequence[str], workdir: str, name: str
) -> Tree:
  """Pod of one host."""
  claims = _claims(options.volume, workdir)
  volumes: list[Tree] = [
    {"name": f"volume-{i}", "persistentVolumeClaim": {"claimName": claim}}
    for i, (claim, _) in enumerate(claims)
  ]
  mounts = [
    {"name": f"volume-{i}", "mountPath": path}
    for i, (_, path) in enumerate(claims)
  ]
  selector = common.pairs("--node-selector", options.node_selector)
  pod: Tree = {
    "restartPolicy": "Never",
    "terminationGracePeriodSeconds": options.grace,
  }
  # Kubernetes reads $(…) as a variable, and $$ as a dollar.
  words = [word.replace("$(", "$$(") for word in training]
  command = common.train_command("python", words)
  if options.tpu:
    hardware = tpu_slices.parse(options.tpu, options.chips_per_host)
    limits = {"google.com/tpu": hardware.chips_per_host}
    selector |= {
      "cloud.google.com/gke-tpu-accelerator": hardware.accelerator,
      "cloud.google.com/gke-tpu-topology": hardware.topology,
    }
    if options.slices > 1:  # they talk over the hosts' own network
      pod |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
  else:
    limits = {"nvidia.com/gpu": options.gpus}
    limits |= {
      k: int(n) for k, n in common.pairs("--rdma", options.rdma).items()
    }
    command += _processes(name, options.nodes)
    # NCCL's; a container's own is 64 MiB.
    volumes.append({"name": "shared-memory", "emptyDir": {"medium": "Memory"}})
    mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})
  if selector:
    pod["nodeSelector"] = selector
  env = {"S02_CACHE": common.cache(options, workdir)}
  env |= common.environment(options, "tpu" if options.tpu else "gpu")
  pod["containers"] = [
    {
      "name": _CONTAINER,
      "image": options.image,
      "command": command,
      "env": [{"name": name, "value": value} for name, value in env.items()],
      "resources": {"limits": limits},
      "volumeMounts": mounts,
      # NCCL pins memory for the network's cards.
      **(_LOCKS if options.rdma else {}),
    }
  ]
  return pod | {"volumes": volumes}


def _processes(name: str, nodes: int) -> list[str]:
  """Flags that tell GPU pods of each other; Kubernetes fills in the number."""
  if nodes == 1:
    return []
  return [
    f"--coordinator={name}-{_JOB}-0-0.{name}:{common.PORT}",
    f"--num_processes={nodes}",
    "--process_id=$(JOB_COMPLETION_INDEX)",
  ]


def _claims(texts: Sequence[str], workdir: str) -> list[tuple[str, str]]:
  """Pairs (claim, mount path) of every --volume; one holds the workdir.

  None needs to where that is a URL.
  """
  claims = []
  for text in texts:
    claim, _, path = text.partition(":")
    if not claim or not path.startswith("/"):
      raise UserError(f"--volume {text}: give CLAIM:/PATH, as data:/data.")
    claims.append((claim, path))
  mounted = [pathlib.PurePosixPath(path) for _, path in claims]
  here = not places.scheme(workdir)
  if here and not any(
    pathlib.PurePosixPath(workdir).is_relative_to(p) for p in mounted
  ):
    raise UserError(
      f"--workdir {workdir} lies in no --volume, so it would be lost with its "
      "pod; mount a claim with --volume CLAIM:/PATH and put it there."
    )
  return claims


def main(argv: list[str]) -> int:
  """Launches by the command line; returns the exit code."""
  return common.main(argv, parser(), launch)


if __name__ == "__main__":
  sys.exit(run(main))
