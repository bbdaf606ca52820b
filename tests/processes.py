"""Real processes of `s02 train`, for the tests that kill them."""

import pathlib
import subprocess
import time
from collections.abc import Sequence

from launch import local

ROOT = pathlib.Path(__file__).parents[1]
TOY = "tests/toy_config.py"


def spawn(config: str, workdir, *flags: str) -> subprocess.Popen:
  """Starts a training of one process, whose log is its stderr."""
  (process,) = job(config, workdir, [flags])
  return process


def job(
  config: str, workdir, flags: Sequence[Sequence[str]]
) -> list[subprocess.Popen]:
  """Starts a job of as many processes as there are lists of flags."""
  training = [f"--config={config}", f"--workdir={workdir}"]
  lines = local.commands(len(flags), training)
  return [
    subprocess.Popen(
      [*line, *more],
      cwd=ROOT,
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
    )
    for line, more in zip(lines, flags, strict=True)
  ]


def wait_for_lines(
  process: subprocess.Popen, workdir: pathlib.Path, least: int
) -> None:
  """Waits for lines of metrics.jsonl; fails where the process ends."""
  log = workdir / "metrics.jsonl"
  while not log.exists() or log.read_text().count("\n") < least:
    assert process.poll() is None, process.communicate()
    time.sleep(0.01)
