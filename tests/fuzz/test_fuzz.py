"""Inputs that are damaged at random, the same in every run.

None may end in a traceback or hold 2 GB. A recording that is read has all of
its sound, a text that is read all of its words, but for what a warning names.
"""

import concurrent.futures
import multiprocessing
import os

import pytest

from tests.fuzz import alone

# Inputs of a run of each kind; more by the environment.
INPUTS = int(os.environ.get("S02_FUZZ", "2000"))
PARTS = 4  # tests, which may run side by side


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("module", ["recordings", "texts"])
def test_damaged_inputs_are_read_whole_or_refused_in_a_sentence(module, part):
  pytest.importorskip("av")
  count = INPUTS // PARTS
  context = multiprocessing.get_context("spawn")
  with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
    report = pool.submit(alone.run, module, part * count, count).result()
  assert not report.faults, "\n".join(report.faults)
  assert report.read + report.refused == count
  assert report.read > 0.2 * count
  assert report.refused > 0.02 * count
  assert report.megabytes < 2000
