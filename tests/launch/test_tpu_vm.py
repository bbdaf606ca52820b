"""Launcher of TPU VMs: the commands that every host runs.

Scripts stand in for gcloud and systemd-run.
"""

import os
import pathlib
import shlex

import pytest

from launch import tpu_vm
from s02jax.core.errors import UserError
from tests.launch.launched import OWN, TOY, TRAINING, executable

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
