"""Seam between benchmarks, report and judges: who may import whom."""

import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parents[2] / "s02jax"
HEAVY = ("jax", "torch", "onnxruntime", "pocketsphinx", "pesq", "pystoi")


@pytest.mark.parametrize(
  ("folder", "others"),
  [
    ("evaluation/benchmark", ["evaluation.report"]),
    ("evaluation/report", ["evaluation.benchmark"]),
    ("pretrained", ["evaluation", "synthesis", "training", "stages", "models"]),
  ],
)
def test_a_room_does_not_import_its_neighbour(folder, others):
  for path in (PACKAGE / folder).glob("*.py"):
    for line in path.read_text().splitlines():
      if line.strip().startswith(("import ", "from ")):
        assert not any(f"s02jax.{other}" in line for other in others), path


@pytest.mark.parametrize(
  "module", ["pretrained.registry", "evaluation.report.clip_judge"]
)
def test_judges_load_no_heavy_package_before_they_are_made(module):
  code = f"""
import sys
import s02jax.{module}
loaded = [name for name in {HEAVY} if name in sys.modules]
assert not loaded, loaded
"""
  subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
