"""Peak of the machine at hand: a matrix product, measured."""

import itertools
import os
import subprocess
import sys
import types

import pytest

from s02jax import hardware


def test_time_that_other_programs_take_is_not_the_hardwares(monkeypatch):
  """On a busy machine the peak was 60 times too low, and utilisation over 1."""
  peaks = []
  for others in (0.0, 10.0):  # seconds of the wall between two looks
    work, wall = itertools.count(), itertools.count()
    clock = types.SimpleNamespace(
      process_time=lambda work=work: 0.01 * next(work),
      perf_counter=lambda wall=wall, o=others: (0.1 + o) * next(wall),
    )
    monkeypatch.setattr(hardware, "time", clock)
    peaks.append(hardware.measured_flops())
  cores = hardware.cores()
  assert peaks == pytest.approx([2 * 1040**3 * cores / 0.01] * 2)


def test_the_measured_peak_is_one_of_a_cpu(monkeypatch):
  assert 1e9 < hardware.measured_flops() < 1e14


def test_what_is_given_prevails_over_the_table():
  given = {
    "XLA_FLAGS": "--xla_gpu_enable_latency_hiding_scheduler=false",
    "NCCL_DEBUG": "INFO",
    "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.5",
    "HOME": "/root",
  }
  found = hardware.environment("gpu", given)
  assert found == {
    "XLA_FLAGS": "--xla_gpu_enable_latency_hiding_scheduler=true "
    "--xla_gpu_enable_latency_hiding_scheduler=false",
    "NCCL_DEBUG": "INFO",
    "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.5",
  }
  assert hardware.environment("tpu", {"LIBTPU_INIT_ARGS": "--a=b"}) == {
    "LIBTPU_INIT_ARGS": "--a=b"
  }


def test_xla_knows_the_flags_of_the_table():
  """XLA ends the process at a flag that it does not know."""
  look = "import jax; print(len(jax.devices()))"
  flags = hardware.environment("gpu", {})["XLA_FLAGS"]
  ended = []
  for more in ("", " --xla_gpu_no_such_flag=1"):
    env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags + more}
    done = subprocess.run(
      [sys.executable, "-c", look], env=env, capture_output=True
    )
    ended.append(done.returncode == 0)
  assert ended == [True, False]
