"""Peak of the machine at hand: a matrix product, measured."""

import itertools
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
