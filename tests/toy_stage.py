"""A stage of one small network on made-up rows, to test the loop with."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from s02jax.core.config import build
from s02jax.sharding import shard
from s02jax.stages.train_state import (
  OptimizerConfig,
  TrainState,
  accumulate,
  make_optimizer,
  step_key,
  update,
)


class ToyRows:
  """x ~ N(0, 1), y = sum of x; two shapes, by the number of the batch.

  All rows of batch `poison` are NaN, reading row `hang` does not end, and row
  `unreadable` cannot be read by process `unreadable_on` (-1: by any).
  """

  def __init__(
    self,
    batch_size: int,
    seed: int,
    poison: int,
    hang: int = -1,
    unreadable: int = -1,
    unreadable_on: int = -1,
  ):
    here = unreadable_on in (-1, jax.process_index())
    self.unreadable = unreadable if here else -1
    self.batch_size = batch_size
    self.seed = seed
    self.poison = poison
    self.hang = hang
    self.excluded = {}

  def records(self, index: int) -> list[int]:
    return [index % 5]

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    step = index // self.batch_size
    while index == self.hang:
      time.sleep(1)
    if index == self.unreadable:
      raise RuntimeError("bytes are missing")
    width = 4 if step % 3 else 6
    rng = np.random.default_rng((self.seed, index))
    x = rng.standard_normal((width, 8)).astype(np.float32)
    if step == self.poison:
      x[:] = np.nan
    return {
      "x": x,
      "y": x.sum(1),
      "audio_seconds": np.float32(0.5),
      "padding": np.float32(0.25),
    }


class ToyStage:
  """Two dense layers, noise from the step's key."""

  name = "toy"
  starts = ()

  def __init__(self, config):
    self.config = config
    self.hidden = config.model.hidden
    self.optimizer_config = build(
      OptimizerConfig, config.optimizer, "optimizer"
    )
    self.optimizer = make_optimizer(self.optimizer_config, config.steps)

  def rows(self, corpus, split, batch_size, seed):
    data = self.config.data
    faults = data.to_dict() if split == "train" else {"poison": -1}
    return ToyRows(batch_size, seed + len(split), **faults)

  def init_state(self, key):
    keys = jax.random.split(key, 2)
    init = jax.nn.initializers.lecun_normal()
    params = {
      "up": {
        "kernel": init(keys[0], (8, self.hidden)),
        "bias": jnp.zeros(self.hidden),
      },
      "down": {"kernel": init(keys[1], (self.hidden, 1))},
    }
    return TrainState.create(params, self.optimizer)

  def loss(self, params, batch):
    x = shard(batch["x"], "batch", "time", "embed")
    h = jnp.tanh(x @ params["up"]["kernel"] + params["up"]["bias"][None, None])
    h = shard(h, "batch", "time", "mlp")
    error = (h @ params["down"]["kernel"])[..., 0] - batch["y"]
    loss = jnp.mean(error**2)
    return loss, {"loss": loss}

  def train_step(self, state, batch):
    key = step_key(self.config.seed, state.step)
    noise = 0.01 * jax.random.normal(key, batch["y"].shape)
    batch = batch | {"y": batch["y"] + noise}

    def gradients(micro):
      return jax.grad(self.loss, has_aux=True)(state.params, micro)

    grads, metrics = accumulate(gradients, batch, self.config.accumulate)
    state, more = update(
      state, grads, self.optimizer, self.optimizer_config.ema
    )
    return state, metrics | more

  def eval_step(self, state, batch):
    return self.loss(state.ema, batch)[1]

  def flops(self, batch, step=None):
    del step
    b, t, d = batch["x"].shape
    return 6.0 * b * t * d * self.hidden

  def inference_params(self, state):
    return {"params": state.ema}
