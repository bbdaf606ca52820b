"""Launches one training run as several processes of this machine.

  python -m launch.local --processes 2 -- --config configs/ar.py:test \\
    --config.corpus DIR --workdir DIR

Process i trains on GPU i; on a CPU the processes share the cores. (One process
drives all the chips of a TPU host, and may drive all GPUs: --processes 1.)
SIGTERM is passed on to every process, so that all save and stop. When one
fails, the others are ended. The exit code is that of the first to fail, 143
after a stop, else 0.
"""

import argparse
import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from typing import IO

from launch import common
from s02jax.core.errors import STOPPED, run

DETACHED = False
# Seconds for the neighbours of a failed process to end by themselves: they
# wait for it in a collective, and have nothing to save.
PATIENCE = 5.0


def parser() -> argparse.ArgumentParser:
  """Argument parser of this launcher."""
  out = common.parser(__doc__)
  out.add_argument(
    "--processes", type=common.positive, default=1, help="how many (1)"
  )
  return out


def launch(options: argparse.Namespace, training: Sequence[str]) -> int:
  """Trains in processes of this machine; returns the exit code."""
  common.check(training)
  lines = commands(options.processes, training)
  if options.dry_run:
    for line in lines:
      common.show(line)
    return 0
  return run_all(lines)


def commands(processes: int, training: Sequence[str]) -> list[list[str]]:
  """Command line of each process of a job.

  Args:
    processes: how many; several are told of each other, and of one device each.
    training: arguments of `s02 train`.
  """
  command = common.train_command(sys.executable, training)
  if processes == 1:
    return [command]
  shared = [f"--coordinator=127.0.0.1:{_free_port()}"]
  shared += [f"--num_processes={processes}"]
  return [
    ["env", f"JAX_LOCAL_DEVICE_IDS={i}", *command, *shared, f"--process_id={i}"]
    for i in range(processes)
  ]


def _free_port() -> int:
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    return probe.getsockname()[1]


def run_all(lines: list[list[str]]) -> int:
  """Runs the commands at the same time; leaves no process behind."""
  alone = len(lines) == 1  # then it may draw on the terminal by itself
  processes: list[subprocess.Popen] = []
  relays: list[threading.Thread] = []
  with _stop_signal() as stop:
    try:
      for i, line in enumerate(lines):
        process = subprocess.Popen(
          line,
          stdout=None if alone else subprocess.PIPE,
          stderr=None if alone else subprocess.STDOUT,
          text=True,
          errors="replace",
        )
        processes.append(process)
        if process.stdout is not None:
          relays.append(
            threading.Thread(target=_relay, args=(i, process.stdout))
          )
          relays[-1].start()
      return _wait(processes, stop)
    finally:
      _end(processes)
      for relay in relays:
        relay.join()


@contextlib.contextmanager
def _stop_signal() -> Generator[threading.Event]:
  """Event that a SIGTERM sets, instead of ending this process."""
  stop = threading.Event()
  before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
  try:
    yield stop
  finally:
    signal.signal(signal.SIGTERM, before)


def _relay(number: int, stream: IO[str]) -> None:
  with stream:
    for line in stream:
      sys.stdout.write(f"[{number}] {line}")
      sys.stdout.flush()


def _wait(processes: list[subprocess.Popen], stop: threading.Event) -> int:
  """Waits for all processes or the first that fails; passes a stop on."""
  passed_on = False
  while True:
    if stop.is_set() and not passed_on:
      passed_on = True
      for process in processes:
        process.terminate()
    codes = [process.poll() for process in processes]
    for code in codes:
      if code not in (None, 0, STOPPED):
        return 128 - code if code < 0 else code
    if None not in codes:
      return STOPPED if any(codes) else 0
    time.sleep(0.1)


def _end(processes: list[subprocess.Popen]) -> None:
  for process in processes:
    process.terminate()
  last = time.monotonic() + PATIENCE
  for process in processes:
    try:
      process.wait(max(0.0, last - time.monotonic()))
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()


def main(argv: list[str]) -> int:
  """Launches by the command line; returns the exit code."""
  return common.main(argv, parser(), launch)


if __name__ == "__main__":
  sys.exit(run(main))
