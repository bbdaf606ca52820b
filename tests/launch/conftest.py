"""Fixtures of the launchers: the root as working directory, processes."""

import contextlib
import os
import signal
import subprocess

import pytest

from tests.launch.launched import ROOT


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
  monkeypatch.chdir(ROOT)


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
