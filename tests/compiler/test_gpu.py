"""`s02 compile-check` on XLA's GPU compiler, with the smallest config."""

import sys
import types

import jax
import jax.numpy as jnp
import pytest

from configs import ar
from s02jax import flops
from s02jax.compiler import check, gpu, targets
from s02jax.core.errors import UserError
from s02jax.hardware import GPUS
from tests.compiler.marks import COMPILERS

pytestmark = COMPILERS


@pytest.fixture(scope="module")
def report(nothing_is_kept):
  """Compiled step of 16 GPUs: fsdp within each node of 8, data over both."""
  config = ar.get_config("test")
  config.mesh.update(dict(data=2, fsdp=8))
  return check.check(config, "ar:test", "h200:16", rows=1)


def test_a_step_compiles_and_is_held_against_three_quarters(report):
  assert report.memory.fits and report.step.devices == 16
  assert report.memory.hbm == pytest.approx(0.75 * 141 * 2**30)
  assert 0 < report.memory.held < 2**30
  assert report.cost.executed_flops >= 0.9 * report.cost.model_flops > 0
  assert "h200:16" in check.describe(report)


def test_gradients_cross_nodes_and_parameters_do_not(report):
  """FSDP's gathers take NVLink's time, sums over data the network's."""
  chip = GPUS["h200"]
  by = {(t.kind, t.axes): t for t in report.cost.traffic}
  gathers = by["all-gather", ("fsdp",)]
  assert gathers.seconds == pytest.approx(gathers.sent / chip.link)
  sums = by["all-reduce", ("data",)]
  assert sums.seconds == pytest.approx(sums.sent / chip.network)


def test_memory_that_a_card_has_not_is_said():
  """The compiler compiles anything: what is held decides."""
  step = jax.jit(lambda x: jnp.sin(x) @ jnp.cos(x.T))
  x = jax.ShapeDtypeStruct((200_000, 64), jnp.float32)
  target = targets.target("h100:1", slices=1, fast=False)
  one = jax.sharding.SingleDeviceSharding(target.devices[0])
  compiled, problem = target.compile_step(
    step.lower(jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one)), False
  )
  held = targets.held_bytes(compiled)
  assert not problem and held > 4 * 200_000**2 > target.chip.usable * 2**30
  assert not check.DeviceMemory(
    hbm=target.chip.usable * 2**30, held=held, problem=problem
  ).fits


@pytest.mark.parametrize("causal", [False, True])
def test_products_of_cudnn_are_counted(causal):
  b, s, h, f = 2, 256, 4, 64
  x = jax.ShapeDtypeStruct((b, s, h, f), jnp.bfloat16)

  def loss(x):
    out = jax.nn.dot_product_attention(
      x, x, x, is_causal=causal, implementation="cudnn"
    )
    return out.astype(jnp.float32).sum()

  one = 2 * b * h * s * s * f / (2 if causal else 1)
  with gpu.tracing():
    both = flops.traced_products(jax.make_jaxpr(jax.grad(loss))(x))
  assert sum(p.flops for p in both) == (2 + 5) * one


@pytest.mark.parametrize(
  ("topology", "options", "message"),
  [
    ("h200:12", {}, "12 GPUs are no whole number of nodes of 8"),
    ("h200:0", {}, "nor KIND:COUNT of GPUs"),
    ("h300:8", {}, "nor KIND:COUNT of GPUs"),
    ("h200:8", {"slices": 2}, "takes neither --slices nor --fast"),
    ("h200:8", {"fast": True}, "takes neither --slices nor --fast"),
  ],
)
def test_wrong_topologies_are_one_sentence(topology, options, message):
  with pytest.raises(UserError, match=message):
    targets.target(topology, **{"slices": 1, "fast": False} | options)


def test_without_the_plugin_the_command_that_fetches_it_is_said(
  monkeypatch, tmp_path
):
  monkeypatch.setattr(sys, "prefix", str(tmp_path))
  nothing = types.SimpleNamespace(_backend_factories={})
  monkeypatch.setattr(gpu, "xla_bridge", nothing)
  monkeypatch.setattr(gpu, "PLUGINS", ("no_such_plugin",))
  with pytest.raises(UserError, match="`make -C .* cuda` fetches it"):
    targets.target("h200:8", slices=1, fast=False)
