"""Parameters, optimizer, average: what a step turns into the next.

norm  = ‖g‖₂ over all gradients; a non-finite one leaves everything as it
        was but for the two counters                                   (1)
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
  """All that one model's training is, at one step."""

  # int32 scalar, steps taken.
  step: jax.Array
  # float32.
  params: PyTree
  opt_state: optax.OptState
  # Averaged parameters, shaped like `params`; never the same buffers.
  ema: PyTree
  # int32 scalar, steps among them that were not finite.
  skipped: jax.Array

  @classmethod
  def create(
    cls, params: PyTree, optimizer: optax.GradientTransformation
  ) -> "TrainState":
    """The state before the first step; the average is a copy of `params`."""
    return cls(
      step=jnp.zeros((), jnp.int32),
      params=params,
      opt_state=optimizer.init(params),
      ema=jax.tree.map(jnp.copy, params),
      skipped=jnp.zeros((), jnp.int32),
    )


def skipped_steps(state: PyTree) -> jax.Array:
  """Updates skipped so far, int32, of all TrainStates that a state holds."""
  leaves = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, TrainState))
  counts = [x.skipped for x in leaves if isinstance(x, TrainState)]
  return jnp.sum(jnp.stack(counts))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
  """AdamW behind a clip, warm-up then cosine."""

  learning_rate: float = 1e-3
  # Steps of linear warm-up from zero.
  warmup: int = 100
  b1: float = 0.9
  b2: float = 0.99
  # Of matrices only; vectors are not decayed.
  weight_decay: float = 0.01
  # Largest global gradient norm.
  clip: float = 1.0
  # Decay of the averaged parameters, reached by the warm-up of (2).
  ema: float = 0.999
  # Learning rate at the last step, as a share of the peak.
  final_ratio: float = 0.1


def schedule(cfg: OptimizerConfig, steps: int) -> optax.Schedule:
  """Returns the learning rate as a function of the step."""
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
  """Clip, AdamW, warm-up and cosine over `steps`."""
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
  """True for the matrices: kernels and embeddings."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: jax.tree_util.keystr(path, simple=True).endswith(
      ("kernel", "embedding")
    ),
    params,
  )


def update(
  state: TrainState,
  grads: PyTree,
  optimizer: optax.GradientTransformation,
  ema: float,
) -> tuple[TrainState, dict[str, jax.Array]]:
  """Applies `grads`, or skips them when their norm is not finite.

  Returns:
    The next state and {"grad_norm", "skipped"}, f32 scalars.
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
  """Equation (2), `step` being the steps taken before this one."""
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
    gradients: a function of a microbatch that returns a tuple. Its first two
      elements, say gradients and metrics in either order, are averaged. An
      optional third holds arrays with one entry a row, which are gathered.
      Noise that should differ between microbatches must come from `batch`.
    batch: arrays of equal leading size, a multiple of `n`; a scalar is given
      to every microbatch.
    n: 1 calls `gradients` directly.
    weight: of a microbatch in the average, for losses that are themselves
      weighted means; equal where absent.

  Returns:
    What `gradients` returns on the whole batch, up to rounding.
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
  """Raises UserError where a batch has not `n` microbatches of equal size."""
  if n < 1 or rows % n:
    raise UserError(
      f"config.accumulate is {n}; it must divide the batch, which has {rows} "
      "rows."
    )


def _halves(result: tuple) -> tuple[tuple, tuple]:
  return result[:2], result[2:]


def _split(x: jax.Array, n: int) -> jax.Array:
  """[b, …] to [n, b/n, …]: row i to microbatch i mod n, so that each has
  rows of every device."""
  if x.ndim == 0:
    return jnp.broadcast_to(x, (n,))
  return jnp.moveaxis(x.reshape(x.shape[0] // n, n, *x.shape[1:]), 1, 0)


def _join(x: jax.Array) -> jax.Array:
  """The inverse of `_split`."""
  return jnp.moveaxis(x, 0, 1).reshape(-1, *x.shape[2:])
