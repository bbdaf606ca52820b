"""`s02 compile-check` on the TPU compiler, with the smallest config."""

import dataclasses
import json

import numpy as np
import pytest

from configs import ar
from s02jax import compile_check, roofline
from s02jax.errors import UserError
from s02jax.stages.flops import Product


@pytest.fixture(scope="module")
def report():
  config = ar.get_config("test")
  config.mesh.update(dict(data=2, fsdp=2))
  return compile_check.check(config, "ar:test", "v5e:2x2", rows_per_device=2)


def test_a_small_step_compiles_fits_and_is_described(report):
  assert report.fits and report.devices == 4 and not report.problem
  assert report.mesh == dict(data=2, fsdp=2, sequence=1, tensor=1)
  assert report.batch["ids"] == [8, 256]
  assert 0 < report.held < report.hbm == 16 * 2**30
  assert report.executed_flops >= 0.9 * report.model_flops > 0
  assert report.roofline is not None and 0 < report.roofline.bound < 1
  axes = {t.axes for t in report.traffic}
  assert any("fsdp" in a for a in axes) and any("data" in a for a in axes)
  text = compile_check.describe(report)
  assert "fits" in text and "utilisation" in text
  json.dumps(dataclasses.asdict(report))


def test_what_does_not_fit_is_said(monkeypatch, report):
  small = dataclasses.replace(roofline.CHIPS["v5e"], hbm=1e-4)
  monkeypatch.setitem(roofline.CHIPS, "v5e", small)
  monkeypatch.setattr(compile_check, "check", lambda *_: changed)
  changed = dataclasses.replace(report, fits=False)
  arguments = ["--config=configs/ar.py:test", "--topology=v5e:2x2"]
  assert compile_check.main(arguments) == 1


@pytest.mark.parametrize(
  ("topology", "message"),
  [
    ("v9:2x2", "is not KIND"),
    ("v5e:2", "is not KIND"),
    ("v5e:3x5", "has no topology"),
  ],
)
def test_wrong_topologies_are_one_sentence(topology, message):
  with pytest.raises(UserError, match=message):
    compile_check.check(ar.get_config("test"), "ar:test", topology)


def test_idle_matrix_units_are_named():
  wide = Product(m=1024, k=256, n=256, times=1)
  thin = Product(m=1024, k=256, n=100, times=1)
  assert compile_check._unfilled([wide], 256) == []
  (warning,) = compile_check._unfilled([wide, thin], 128)
  assert "[256, 100]" in warning and np.isclose(thin.filled(128), 100 / 128)


def test_compiler_says_how_much_it_would_need():
  problem = "RESOURCE_EXHAUSTED: Ran out of memory. Used 20.50G of 15.75G hbm."
  assert compile_check._wanted(problem) == 20.5 * 2**30
