"""`s02 compile-check` on the TPU compiler, with the smallest config."""

import json
import os
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from configs import ar
from s02jax import cli, sharding
from s02jax.cli import compile_check
from s02jax.compiler import check, messages, tpu
from s02jax.core.errors import UserError
from s02jax.flops import Product
from tests.compiler.marks import COMPILERS

ROOT = pathlib.Path(__file__).parents[2]

pytestmark = COMPILERS


@pytest.fixture(scope="module")
def report(nothing_is_kept):
  config = ar.get_config("test")
  config.mesh.update(dict(data=2, fsdp=2))
  return check.check(config, "ar:test", "v5e:2x2", rows=2)


def test_a_small_step_compiles_fits_and_is_described(report):
  step, memory, cost = report.step, report.memory, report.cost
  assert memory.fits and step.devices == 4 and not memory.problem
  assert step.mesh == dict(data=2, fsdp=2, sequence=1, tensor=1)
  assert step.batch["ids"] == [8, 256]
  assert 0 < memory.held < memory.hbm == 16 * 2**30
  assert cost.executed_flops >= 0.9 * cost.model_flops > 0
  assert cost.roofline is not None and 0 < cost.roofline.bound < 1
  axes = {t.axes for t in cost.traffic}
  assert any("fsdp" in a for a in axes) and any("data" in a for a in axes)
  text = check.describe(report)
  assert "fits" in text and "utilisation" in text
  record = json.loads(json.dumps(report.to_json()))
  scale = (ROOT / "docs" / "scale.jsonl").read_text().splitlines()
  added = {"bound", "date", "machine", "jax"}  # by the table
  assert record.keys() == json.loads(scale[0]).keys() - added


def test_a_fast_compilation_sees_the_same_step(report):
  """Counts of the traced step and the axes of its collectives are the same."""
  config = ar.get_config("test")
  config.mesh.update(dict(data=2, fsdp=2))
  quick = check.check(config, "ar:test", "v5e:2x2", rows=2, fast=True)
  assert quick.fast and not report.fast
  assert "--fast" in check.describe(quick)
  assert "--fast" not in check.describe(report)
  assert quick.memory.fits
  assert quick.step.parameters == report.step.parameters
  assert quick.cost.executed_flops == report.cost.executed_flops
  assert {(t.kind, t.axes) for t in quick.cost.traffic} == {
    (t.kind, t.axes) for t in report.cost.traffic
  }


def test_a_fast_compilation_leaves_sums_off_the_sparse_cores():
  """Sums on the sparse cores make libtpu 0.0.42 abort on AR `small`."""
  devices = tpu.devices("tpu7x:2x2x1", 1)
  mesh = jax.sharding.Mesh(np.array(devices), ("data",))
  rows = jax.ShapeDtypeStruct(
    (len(devices), 64, 1024), "float32", sharding=NamedSharding(mesh, P("data"))
  )
  total = jax.jit(lambda x: x.sum(0), out_shardings=NamedSharding(mesh, P()))
  with jax.set_mesh(mesh):
    lowered = total.lower(rows)
  for fast, offloaded in ((False, True), (True, False)):
    compiled, problem = tpu.compile_step(lowered, fast)
    assert not problem and "all-reduce" in compiled.as_text()
    assert ("sparsecore" in compiled.as_text()) == offloaded


def test_what_does_not_fit_is_said(capsys):
  argv = ["--config", "configs/ar.py:test", "--topology", "v5e:2x2"]
  assert compile_check.main([*argv, "--rows_per_device=20000"]) == 1
  out = capsys.readouterr().out
  assert out.startswith("configs/ar.py:test on v5e:2x2")
  assert "DOES NOT FIT" in out and "exceeds available HBM" in out
  needed, limit = re.search(r"([\d.]+) of ([\d.]+) GiB", out).groups()
  assert float(needed) > float(limit) == 16


def test_what_the_partitioner_says_is_heard():
  """The partitioner warns of an array that moves to axes on two dimensions."""
  mesh = jax.make_mesh(
    (2, 2, 2),
    ("data", "fsdp", "tensor"),
    devices=tpu.devices("v5e:2x4", slices=1),
    axis_types=(jax.sharding.AxisType.Auto,) * 3,
  )

  def of(*spec):
    return NamedSharding(mesh, P(*spec))

  x = jax.ShapeDtypeStruct(
    (64, 64, 64), np.float32, sharding=of(("data", "fsdp"))
  )
  moved = jax.jit(
    lambda x: jnp.sin(
      jax.lax.with_sharding_constraint(jnp.sin(x), of(None, "fsdp", "tensor"))
    )
  )
  with messages.captured_stderr() as said:
    moved.lower(x).compile()
  assert check.involuntary(said) != []


def test_a_failing_compiler_does_not_look_like_what_does_not_fit(
  monkeypatch, capfd
):
  def fail(*_):
    os.write(2, b"what libtpu says\n")
    raise jax.errors.JaxRuntimeError("INTERNAL: Mosaic failed.\nmuch more")

  monkeypatch.setattr(tpu, "compile_step", fail)
  argv = ["--config", "configs/ar.py:test", "--topology", "v5e:2x2"]
  code = cli.run(compile_check.main, [*argv, "--rows_per_device=2"])
  assert code == 3
  out = capfd.readouterr()
  assert "what libtpu says\n" in out.err and "Traceback" not in out.err
  assert out.err.splitlines()[-1] == (
    "s02: the TPU compiler failed on configs/ar.py:test for v5e:2x2: INTERNAL: "
    "Mosaic failed."
  )


def test_what_a_dying_compiler_said_is_kept():
  """The lines of a compiler that aborts its process reach stderr."""
  dies = """\
import os
from s02jax.compiler import messages
with messages.captured_stderr():
  os.write(2, b"what libtpu says\\n")
  os._exit(134)
"""
  done = subprocess.run(
    [sys.executable, "-c", dies], capture_output=True, text=True
  )
  assert done.returncode == 134
  assert done.stderr.endswith("what libtpu says\n")


def test_what_is_said_on_the_way_is_heard_but_not_repeated(capfd):
  with messages.captured_stderr() as said:
    os.write(2, b"one\ntwo\n")
  os.write(2, b"three\n")
  assert said == ["one", "two"] and capfd.readouterr().err == "three\n"


TINY = ["--config=configs/ar.py:test", "--topology=v5e:2x2"]


@pytest.mark.parametrize(
  ("argv", "message"),
  [
    (TINY, "config.batch_size is 2; it must be a multiple of 4, the devices"),
    ([*TINY, "--config.batch_size=6"], "config.batch_size is 6; it must be a"),
    ([*TINY, "--rows_per_device=0"], "--rows_per_device is 0; it must be at"),
    ([*TINY, "--rows_per_device=-1"], "--rows_per_device is -1; it must be at"),
    ([*TINY, "--slices=0"], "--slices is 0; it must be at least 1."),
    (
      [*TINY, "--rows_per_device=2", "--config.accumulate=3"],
      "config.accumulate is 3; it must divide the batch, which has 8 rows.",
    ),
    (
      [*TINY, "--rows_per_device=2", "--config.accumulate=0"],
      "config.accumulate is 0; it must divide",
    ),
    (TINY[1:], "`s02 compile-check` needs --config"),
    (
      [*TINY, "--bogus=1"],
      "--bogus is not a flag of `s02 compile-check`.",
    ),
    (TINY[:1], "compile-check needs --topology"),
    (
      ["--table=x.md", "--slices=1", "--config=configs/ar.py:test"],
      "--table takes no other argument; leave out --slices=1 --config=configs",
    ),
    (["--table=x.md", "stray"], "leave out stray."),
  ],
)
def test_wrong_arguments_are_one_sentence(argv, message, monkeypatch, capsys):
  monkeypatch.setattr(tpu, "compile_step", lambda *_: pytest.fail("on"))
  assert cli.run(compile_check.main, argv) == 2
  out = capsys.readouterr()
  assert out.err.startswith("s02: ") and message in out.err
  assert out.err.count("\n") == 1 and not out.out


def test_without_the_flag_the_rows_are_those_of_training():
  config = ar.get_config("test")
  config.batch_size = 24
  mesh = sharding.make_mesh(config.mesh, tpu.devices("v5e:2x2", 1))
  assert check.rows_per_device(config, mesh, None) == 24 / 4
  assert check.rows_per_device(config, mesh, 5) == 5


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
    check.check(ar.get_config("test"), "ar:test", topology)


def test_a_compiler_named_by_the_user_is_enough(tmp_path, monkeypatch):
  """A compiler that $TPU_LIBRARY_PATH names is taken, and none is sought."""
  found = pathlib.Path(sys.prefix) / "tpu" / "libtpu" / "libtpu.so"
  monkeypatch.setattr(sys, "prefix", str(tmp_path))
  monkeypatch.setattr(sys, "path", [])
  monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
  config = ar.get_config("test")
  with pytest.raises(UserError, match="compiler: `make -C .* tpu` fetches it"):
    check.check(config, "ar:test", "v5e:3x5")
  monkeypatch.setenv("TPU_LIBRARY_PATH", str(found))
  with pytest.raises(UserError, match="has no topology"):
    check.check(config, "ar:test", "v5e:3x5")


def test_idle_matrix_units_are_named():
  wide = Product(m=1024, k=256, n=256, times=1)
  thin = Product(m=1024, k=256, n=100, times=1)
  assert check.unfilled([wide], 256) == []
  (warning,) = check.unfilled([wide, thin], 128)
  assert "[256, 100]" in warning and np.isclose(thin.filled(128), 100 / 128)
