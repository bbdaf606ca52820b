"""Launches one training run on a Cloud TPU VM: all hosts, one or more slices.

  python -m launch.tpu_vm --tpu NAME --zone ZONE --create \\
    --accelerator-type v5p-128 --runtime-version v2-alpha-tpuv5 [--spot]
  python -m launch.tpu_vm --tpu NAME --zone ZONE -- \\
    --config configs/ar.py:base --config.corpus /mnt/data/corpus \\
    --workdir /mnt/data/runs/ar
  python -m launch.tpu_vm --tpu NAME --zone ZONE --stop

Asks for the TPU as a queued resource, trains on it, stops. `--dry-run` prints
the gcloud command. Every host needs a clone of s02jax in --directory with a
virtual environment .venv, and must see corpus and workdir at the same path.

Training is a systemd service of each host, s02-train: it outlives the ssh
connection, gets SIGTERM and --grace seconds when its machine is shut down or
by --stop, and starts again after a failure (at most --restarts times a day).
A second run on the same TPU is refused. `journalctl -fu s02-train` on a host
shows its log. A spot TPU that was taken away must be created anew; the same
command then goes on.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence

from launch import common
from s02jax.core.errors import UserError, run

DETACHED = False

_UNIT = "s02-train"
# Where a TPU host learns of the others. JAX would ask there too, once it knows
# that there are several: the coordinator's address tells it.
_METADATA = "metadata.google.internal/computeMetadata/v1/instance/attributes"
_FIND_COORDINATOR = rf"""
about() {{ curl -sf -H Metadata-Flavor:Google http://{_METADATA}/$1; }}
name=MEGASCALE_COORDINATOR_ADDRESS
host=$(about tpu-env | sed -n "s/^$name: *'*\([^:']*\).*/\1/p")
[ "$host" ] || host=$(about worker-network-endpoints | sed 's/,.*//; s/.*://')
"""


def parser() -> argparse.ArgumentParser:
  """Argument parser of this launcher."""
  out = common.parser(__doc__)
  common.add_remote(out)
  out.add_argument("--tpu", required=True, help="name of the TPU VM")
  out.add_argument("--zone", required=True)
  out.add_argument("--project", help="gcloud's own where absent")
  out.add_argument(
    "--slices", type=common.positive, default=1, help="(%(default)s)"
  )
  out.add_argument(
    "--directory", default="s02jax", help="clone on each host (~/%(default)s)"
  )
  out.add_argument(
    "--restarts", type=int, default=10, help="after failures (%(default)s)"
  )
  action = out.add_mutually_exclusive_group()
  action.add_argument("--create", action="store_true", help="ask for the TPU")
  action.add_argument("--stop", action="store_true", help="save and stop")
  out.add_argument("--accelerator-type", help="to create, as v5p-128")
  out.add_argument("--runtime-version", help="to create, as v2-alpha-tpuv5")
  out.add_argument("--spot", action="store_true", help="to create")
  return out


def launch(options: argparse.Namespace, training: Sequence[str]) -> int:
  """Trains and waits for the end, or creates the TPU, or stops training."""
  if options.create:
    command = create(options)
  elif options.stop:
    command = ssh(options, f"sudo systemctl stop {_UNIT}")
  else:
    workdir = common.check(training).workdir
    command = ssh(options, service(options, training, workdir))
  if options.dry_run:
    common.show(command)
    return 0
  return common.run(command)


def create(options: argparse.Namespace) -> list[str]:
  """Command that asks Google Cloud for the TPU.

  Raises:
    UserError: no --accelerator-type or no --runtime-version.
  """
  if not (options.accelerator_type and options.runtime_version):
    raise UserError("--create needs --accelerator-type and --runtime-version.")
  nodes = [f"--node-id={options.tpu}"]
  if options.slices > 1:
    nodes = [f"--node-count={options.slices}", f"--node-prefix={options.tpu}"]
  return [
    *("gcloud", "compute", "tpus", "queued-resources", "create", options.tpu),
    *_place(options),
    f"--accelerator-type={options.accelerator_type}",
    f"--runtime-version={options.runtime_version}",
    *nodes,
    *(["--spot"] if options.spot else []),
  ]


def ssh(options: argparse.Namespace, command: str) -> list[str]:
  """Command that runs a shell command on every host at once."""
  kind, nodes = ["tpu-vm"], []
  if options.slices > 1:
    kind, nodes = ["queued-resources"], ["--node=all"]
  return [
    *("gcloud", "compute", "tpus", *kind, "ssh", options.tpu),
    *_place(options),
    *nodes,
    "--worker=all",
    f"--command={command}",
  ]


def _place(options: argparse.Namespace) -> list[str]:
  project = [f"--project={options.project}"] if options.project else []
  return [f"--zone={options.zone}", *project]


def service(
  options: argparse.Namespace, training: Sequence[str], workdir: str
) -> str:
  """Shell command that trains on one host and waits for the end."""
  properties = {
    "KillMode": "mixed",  # SIGTERM to training, not to its helpers
    "TimeoutStopSec": options.grace,
    "Restart": "on-failure",
    "RestartSec": 10,
    "RestartPreventExitStatus": common.WRONG_INPUT,
    "StartLimitIntervalSec": 86_400,
    "StartLimitBurst": options.restarts + 1,
  }
  cache = common.cache(options, workdir)
  unit = [f"--unit={_UNIT}", "--collect", "--wait"]
  unit += [f"--property={name}={value}" for name, value in properties.items()]
  variables = {"S02_CACHE": cache} | common.environment(options, "tpu")
  unit += [f"--setenv={name}={value}" for name, value in variables.items()]
  here = ['--uid="$(id -u)"', '--working-directory="$PWD"']
  here += [f'--setenv=JAX_COORDINATOR_ADDRESS="$host:{common.PORT}"']
  words = [
    *("sudo", "systemd-run", shlex.join(unit), *here),
    '"$PWD/.venv/bin/python"',
    shlex.join(common.train_command("python", training)[1:]),
  ]
  start = f"cd {shlex.quote(options.directory)} && {' '.join(words)}"
  return _FIND_COORDINATOR.lstrip() + start


def main(argv: list[str]) -> int:
  """Launches by the command line; returns the exit code."""
  return common.main(argv, parser(), launch)


if __name__ == "__main__":
  sys.exit(run(main))
