"""Launcher of local processes: they end together, stop and go on."""

import re
import subprocess
import sys

import pytest

from launch import local
from s02jax.core import errors
from tests.launch.launched import TOY, saved, stop_while_training


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
