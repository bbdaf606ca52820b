"""Training state: parameters, optimizer, average, and their update by a step.

norm  = ‖g‖₂ over all gradients; where it is not finite, the two counters
        change and nothing else                                        (1)
ema   = d·ema + (1−d)·params,  d = min(decay, (1+s)/(10+s))            (2)
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from s02jax.core.errors import UserError

PyTree = Any


class TrainState(flax.struct.PyTreeNode):
  """Training state of one model after some steps."""

  # Steps taken, int32 scalar.
  step: jax.Array
  # Parameters, float32.
  params: PyTree
  opt_state: optax.OptState
  # Averaged parameters, shaped like `params`; never the same buffers.
  ema: PyTree
  # Steps that were not finite and changed nothing, int32 scalar.
  skipped: jax.Array

  @classmethod
  def create(
    cls, params: PyTree, optimizer: optax.GradientTransformation
  ) -> "TrainState":
    """State before the first step; the average is a copy of `params`."""
    return cls(
      step=jnp.zeros((), jnp.int32),
      params=params,
      opt_state=optimizer.init(params),
      ema=jax.tree.map(jnp.copy, params),
      skipped=jnp.zeros((), jnp.int32),
    )


def skipped_steps(state: PyTree) -> jax.Array:
  """Sum of the skipped updates of all TrainStates in a state, int32 scalar."""
  leaves = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, TrainState))
  counts = [x.skipped for x in leaves if isinstance(x, TrainState)]
  return jnp.sum(jnp.stack(counts))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
  """Config of AdamW with clipped gradients, linear warm-up and cosine decay."""

  # Peak learning rate.
  learning_rate: float = 1e-3
  # Steps of linear warm-up from zero.
  warmup: int = 100
  # Decay of the averages of gradients and of their squares.
  b1: float = 0.9
  b2: float = 0.99
  # Weight decay of kernels; embeddings, norms and biases are not decayed.
  weight_decay: float = 0.01
  # Largest global gradient norm.
  clip: float = 1.0
  # Decay of the averaged parameters, reached by the warm-up of (2).
  ema: float = 0.999
  # Learning rate at the last step, as a share of the peak.
  final_ratio: float = 0.1


def schedule(cfg: OptimizerConfig, steps: int) -> optax.Schedule:
  """Learning rate as a function of the step."""
  warmup = min(cfg.warmup, max(steps - 1, 0))
  return optax.warmup_cosine_decay_schedule(
    init_value=0.0 if warmup else cfg.learning_rate,
    peak_value=cfg.learning_rate,
    warmup_steps=warmup,
    decay_steps=max(steps, 1),
    end_value=cfg.learning_rate * cfg.final_ratio,
  )


def make_optimizer(
  cfg: OptimizerConfig, steps: int
) -> optax.GradientTransformation:
  """Optimizer of OptimizerConfig, whose schedule spans `steps`."""
  return optax.chain(
    optax.clip_by_global_norm(cfg.clip),
    optax.adamw(
      schedule(cfg, steps),
      b1=cfg.b1,
      b2=cfg.b2,
      weight_decay=cfg.weight_decay,
      mask=_decayed,
    ),
  )


def _decayed(params: PyTree) -> PyTree:
  """Mask of the parameters with weight decay: kernels alone."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: jax.tree_util.keystr(path, simple=True).endswith("kernel"),
    params,
  )


def update(
  state: TrainState,
  grads: PyTree,
  optimizer: optax.GradientTransformation,
  ema: float,
) -> tuple[TrainState, dict[str, jax.Array]]:
  """Applies `grads`, or skips them where their norm (1) is not finite.

  Args:
    state: state before the step.
    grads: gradients, shaped like `state.params`.
    optimizer: optimizer that `state` was created with.
    ema: decay of the averaged parameters (2).

  Returns:
    Next state and the metrics {"grad_norm", "skipped"}, f32 scalars.
  """
  norm = optax.tree.norm(grads).astype(jnp.float32)  # (1)
  good = jnp.isfinite(norm)
  updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  average = ema_update(state.ema, params, state.step, ema)

  def keep(new: PyTree, old: PyTree) -> PyTree:
    return jax.tree.map(lambda n, o: jnp.where(good, n, o), new, old)

  state = TrainState(
    step=state.step + 1,
    params=keep(params, state.params),
    opt_state=keep(opt_state, state.opt_state),
    ema=keep(average, state.ema),
    skipped=state.skipped + (~good).astype(jnp.int32),
  )
  return state, {"grad_norm": norm, "skipped": (~good).astype(jnp.float32)}


def ema_update(
  ema: PyTree, params: PyTree, step: jax.Array, decay: float
) -> PyTree:
  """Averaged parameters (2); `step` is the number of steps before this one."""
  s = step.astype(jnp.float32)
  d = jnp.minimum(decay, (1.0 + s) / (10.0 + s))
  return jax.tree.map(lambda e, p: d * e + (1.0 - d) * p, ema, params)


def step_key(seed: int, step: jax.Array) -> jax.Array:
  """Random key of one step: a pure function of the seed and the step.

  Args:
    seed: seed of the run.
    step: int32 scalar, steps taken before this one.
  """
  return jax.random.fold_in(jax.random.key(seed), step)


def accumulate(
  gradients: Callable[[PyTree], tuple],
  batch: PyTree,
  n: int,
  weight: Callable[[PyTree], jax.Array] | None = None,
) -> tuple:
  """Averages `gradients` over `n` microbatches, one after another.

  Args:
    gradients: function of a microbatch that returns a tuple. Its first two
      elements, say gradients and metrics in either order, are averaged. An
      optional third holds arrays with one entry a row, which are gathered.
      Noise that should differ between microbatches must come from `batch`.
    batch: arrays of equal leading size, a multiple of `n`; a scalar goes to
      every microbatch.
    n: number of microbatches; 1 calls `gradients` directly.
    weight: function from a microbatch to its weight in the average, for losses
      that are themselves weighted means; equal weights where absent.

  Returns:
    Result of `gradients` on the whole batch, up to rounding.
  """
  if n == 1:
    return gradients(batch)
  micro = jax.tree.map(lambda x: _split(x, n), batch)

  def body(carry: tuple, part: PyTree) -> tuple[tuple, tuple]:
    total, weights = carry
    w = jnp.float32(1.0) if weight is None else weight(part)
    averaged, rows = _halves(gradients(part))
    total = jax.tree.map(lambda t, v: t + w * v, total, averaged)
    return (total, weights + w), rows

  shapes, _ = _halves(
    jax.eval_shape(gradients, jax.tree.map(lambda x: x[0], micro))
  )
  zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
  (total, weights), rows = jax.lax.scan(body, (zeros, jnp.float32(0.0)), micro)
  averaged = jax.tree.map(lambda t: t / jnp.maximum(weights, 1e-6), total)
  return averaged + jax.tree.map(_join, rows)


def check_microbatches(n: int, rows: int) -> None:
  """Raises UserError unless `rows` split into `n` equal microbatches."""
  if n < 1 or rows % n:
    raise UserError(
      f"config.accumulate is {n}; it must divide the batch, which has {rows} "
      "rows."
    )


def _halves(result: tuple) -> tuple[tuple, tuple]:
  """Averaged and gathered elements of a result of `gradients`."""
  return result[:2], result[2:]


def _split(x: jax.Array, n: int) -> jax.Array:
  """Reshapes [b, …] to [n, b/n, …]; row i goes to microbatch i mod n.

  So each microbatch has rows of every device.
  """
  if x.ndim == 0:
    return jnp.broadcast_to(x, (n,))
  return jnp.moveaxis(x.reshape(x.shape[0] // n, n, *x.shape[1:]), 1, 0)


def _join(x: jax.Array) -> jax.Array:
  """Inverse of `_split`."""
  return jnp.moveaxis(x, 0, 1).reshape(-1, *x.shape[2:])
