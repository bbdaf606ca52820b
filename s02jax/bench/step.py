"""Speed of a train step, and how near it comes to the hardware.

The step is the one `s02 train` runs once all its losses have started, on rows
without padding made of noise, so that nothing is waited for.
"""

import dataclasses
import time
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from s02jax import hardware, sharding, stages
from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.stages.ar import ARStage
from s02jax.training import programs


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepTimes:
  """Time and work of a train step; times are medians over the steps."""

  config: str  # name of the config
  device: str  # kind of device
  devices: int  # number of devices
  rows: int  # rows of a batch
  audio_seconds: float  # seconds of speech in a batch
  seconds: float  # seconds of a step
  flops: float  # model FLOPs of a step
  product_peak: float  # FLOP/s of a matrix product on all devices
  datasheet_peak: float | None  # the maker's FLOP/s of all devices
  torch_seconds: float | None = None  # seconds of the same step in PyTorch

  @property
  def utilisation(self) -> float:
    """Model FLOP/s as a share of the measured matrix product's."""
    return self.flops / self.seconds / self.product_peak


def measure(
  config: ConfigDict, name: str, rows: int, steps: int, torch: bool = False
) -> StepTimes:
  """Times `steps` steps after two that warm up.

  Args:
    config: as `configs/<stage>.py` gives it.
    name: name of the config, for the result.
    rows: rows of a batch.
    steps: steps to time.
    torch: also time the AR model's step in PyTorch, afterwards.

  Raises:
    UserError: the rows do not split over the devices, there is no PyTorch, or
      no comparison with it.
  """
  config = begun(stages.assume(config))
  mesh = sharding.make_mesh(config.mesh)
  stage = stages.make(config)
  sharding.local_rows(mesh, rows)  # complains where they do not split
  spec = stage.batch_specs(rows)[-1]
  rng = np.random.default_rng(0)
  batch = {key: fill(key, x, config, rng) for key, x in spec.items()}
  placed = sharding.batch_sharding(mesh)
  abstract = programs.abstract_state(stage, mesh)
  times: list[float] = []
  values: dict[str, jax.Array] = {}
  with jax.set_mesh(mesh):
    batch = jax.device_put(batch, placed)
    state = programs.init_program(stage, abstract)(jax.random.key(0))
    twin = torch_twin(stage, state, batch) if torch else None
    step = programs.train_program(stage, mesh, abstract)
    for _ in range(2 + steps):
      began = time.perf_counter()
      state, values = step(state, batch)
      jax.block_until_ready((state, values))
      times.append(time.perf_counter() - began)
  if not np.isfinite(float(values["loss"])):
    raise ValueError(f"{name}: the loss of the benchmark's batch is not finite")
  on_cpu = jax.default_backend() == "cpu"
  return StepTimes(
    config=name,
    device=jax.devices()[0].device_kind,
    devices=jax.device_count(),
    rows=rows,
    audio_seconds=audio_seconds(config, spec),
    seconds=float(np.median(times[2:])),
    flops=float(stage.flops(spec)),
    product_peak=hardware.measured_flops(),
    datasheet_peak=None if on_cpu else hardware.peak_flops(),
    torch_seconds=twin and twin.seconds(jax.device_get(batch), steps),
  )


def begun(config: ConfigDict) -> ConfigDict:
  """Config whose adversarial losses, if any, start at the first step.

  Most steps of a run have them.
  """
  start = config.loss.get("adversarial_start")
  if start is not None and start < config.steps:
    config.loss.adversarial_start = 0
  return config


def torch_twin(stage: stages.Stage, state: Any, batch: Any) -> Any:
  """AR model in PyTorch with the parameters of `state`.

  Raises:
    UserError: another stage, or no PyTorch.
    ValueError: its loss of `batch` is not that of the stage.
  """
  if not isinstance(stage, ARStage):
    raise UserError("--torch: only the AR model is there in PyTorch.")
  try:
    from s02jax.bench.torch_twin import Twin
  except ModuleNotFoundError as error:
    raise UserError(
      f"--torch needs {error.name}: pip install 's02jax[bench]'."
    ) from error
  twin = Twin(stage, state.params)
  nats, _ = jax.jit(stage.nats)(state.params, batch)
  other = twin.first_loss(jax.device_get(batch))
  if not np.isclose(float(nats), other, rtol=1e-4):
    raise ValueError(f"the loss is {nats}, in PyTorch {other}")
  return twin


def audio_seconds(config: ConfigDict, spec: stages.Spec) -> float:
  """Seconds of speech in a batch of full rows."""
  if "wave" in spec:
    b, n = spec["wave"].shape
    return b * n / (config.get("rate") or config.mel.rate)
  if "tokens" in spec:
    b, n = spec["tokens"].shape
    return b * n / TOKENS_PER_SECOND
  b, n = spec["ids"].shape  # text takes its share of a row
  return b * n / TOKENS_PER_SECOND / (1 + config.model.text_rate)


def fill(
  key: str, spec: Any, config: ConfigDict, rng: np.random.Generator
) -> np.ndarray:
  """Entry of a batch without padding: noise, or what its name asks for."""
  shape = spec.shape
  model = config.model
  if key in ("position", "cursor"):
    values = np.broadcast_to(np.arange(shape[1]), shape)
  elif key in ("segment", "weight"):
    values = np.ones(shape)
  elif key == "ids":
    codes = rng.integers(model.num_codes, size=shape) + model.text_size
    start = int(shape[1] * model.text_rate / (1 + model.text_rate))
    codes[:, :start] = rng.integers(2, model.text_size, size=(shape[0], start))
    codes[:, 0] = model.speaker_id
    values = codes
  elif key in ("target", "tokens"):
    values = rng.integers(model.num_codes, size=shape)
  elif key == "text":
    values = rng.integers(2, model.vocab_size, size=shape)
  elif key == "text_length":
    values = np.full(shape, 12)
  elif key in ("samples", "reference_samples", "length"):
    values = np.full(shape, 10**9)  # whole rows: lengths are clipped to them
  else:
    values = 0.1 * rng.standard_normal(shape)
  return np.asarray(values, spec.dtype)


def describe(r: StepTimes) -> str:
  """A measurement in one line."""
  sheet = ""
  if r.datasheet_peak:
    sheet = f", {r.flops / r.seconds / r.datasheet_peak:.0%} of the datasheet"
  other = ""
  if r.torch_seconds:
    other = (
      f"; in PyTorch {r.torch_seconds * 1e3:.0f} ms, "
      f"{r.torch_seconds / r.seconds:.2f} times as long"
    )
  return (
    f"{r.config} on {r.devices} × {r.device}, {r.rows} rows: "
    f"{r.seconds * 1e3:.0f} ms a step, {r.rows / r.seconds:.2f} rows/s, "
    f"{r.audio_seconds / r.seconds:.1f} s of speech a second, "
    f"{r.flops / r.seconds / 1e9:.0f} GFLOP/s, {r.utilisation:.0%} of a matrix "
    f"product ({r.product_peak / 1e9:.0f} GFLOP/s){sheet}{other}"
  )
