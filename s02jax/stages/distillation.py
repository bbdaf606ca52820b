"""Stage: flow matching in few steps, taught by a bundle's flow matching.

The teacher is frozen and guided; the student needs no guidance, begins with the
teacher's parameters and is synthesised by the same solver. Kinds, by
`config.model.velocity`, for a teacher's guided velocity v:

  line  Reflow (Liu et al. 2022): rows whose noise x₀ the teacher has solved to
        x₁ beforehand (`s02 distill`); on x_t = (1 − t) x₀ + t x₁ the student
        learns x₁ − x₀
  mean  mean velocity u(x_t, t, r) from t until any r ≥ t (MeanFlow, Geng et al.
        2025), by its integral over a first step of the teacher, from t to s:
          (r − t) u(x_t, t, r) = (s − t) v(x_t, t) + (r − s) u(x_s, s, r)   (1)
          x_s = x_t + (s − t) v(x_t, t)

s is where the teacher's own step from t would end, or r if that is earlier:
what (1) holds for everywhere takes the teacher's steps at once. MeanFlow is (1)
for s → t, with a derivative along the path. That has to be computed forwards,
which attention's kernels do not know, and it amplifies the features of time,
which turn up to 1,000 radians between noise and latents.

Shape letters: as in `models/flow_matching.py`.
"""

import copy
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from s02jax import stages
from s02jax.bundle import Bundle
from s02jax.core.config import build, plain
from s02jax.core.errors import UserError
from s02jax.data.digest import corpus_digest
from s02jax.data.features import Features
from s02jax.data.rows.solved_utterances import SolvedUtterances
from s02jax.models import solver
from s02jax.models.flow_matching import FlowMatching
from s02jax.stages import flow_matching, on_base
from s02jax.stages.flow_matching import FlowMatchingStage, masked_mean
from s02jax.stages.train_state import (
  OptimizerConfig,
  TrainState,
  accumulate,
  make_optimizer,
  step_key,
  update,
)

FEW = (1, 2, 4)  # numbers of steps that an evaluation takes


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillationConfig:
  """Solver of the teacher, and rows that the student learns from."""

  steps: int = 16  # of the teacher's solver
  guidance: float = 1.5  # of the teacher
  # Batches that the teacher solves, for "line"; then they repeat.
  batches: int = 150
  # Share of rows whose velocity is that of a time, for "mean".
  instant: float = 0.25
  teacher: str = ""  # fingerprint of the bundle

  def __post_init__(self):
    if min(self.steps, self.batches) < 1 or not 0 <= self.instant <= 1:
      raise ValueError(
        f"steps is {self.steps}, batches {self.batches} and instant"
        f" {self.instant}; at least 1 of both, and a share"
      )


class DistillationStage:
  """Stage that trains a flow-matching model of few steps."""

  name = "distillation"
  starts = ()

  def __init__(self, config):
    self.config = config
    self.distillation = build(
      DistillationConfig, config.distillation, "config.distillation"
    )
    self.optimizer_config = build(
      OptimizerConfig, config.optimizer, "optimizer"
    )
    self.optimizer = make_optimizer(self.optimizer_config, config.steps)
    self.inner = FlowMatchingStage(
      on_base.inner_config(config, "flow_matching")
    )
    self.teacher = FlowMatching(
      dataclasses.replace(self.inner.model_config, velocity="flow")
    )
    self._frozen: Any = None
    if self.kind == "flow":
      raise UserError(
        "config.model.velocity is 'flow', the teacher's; a student's is line or"
        " mean."
      )

  @property
  def kind(self) -> str:
    """Kind of the student's velocity."""
    return self.inner.model_config.velocity

  # ------------------------------------------------------------------- data

  def rows(self, corpus: str, split: str, batch_size: int, seed: int):
    """Rows of flow matching; to train `line` on, the rows that were solved."""
    rows = self.inner.rows(corpus, split, batch_size, seed)
    if self.kind == "mean" or split != "train":
      return rows
    return SolvedUtterances(rows, corpus, self.facts())

  def facts(self) -> dict[str, Any]:
    """All that solved rows depend on, as JSON values."""
    config = plain(self.config)
    rows = ("batch_size", "seed", "data", "loss", "corpus_digest")
    by = ("steps", "guidance", "batches", "teacher")
    return {name: config[name] for name in rows} | {
      f"distillation.{name}": getattr(self.distillation, name) for name in by
    }

  def batch_specs(self, batch_size: int) -> list[stages.Spec]:
    """Shapes of the batches of flow matching, and of what is solved."""
    specs = self.inner.batch_specs(batch_size)
    if self.kind == "mean":
      return specs
    number = stages.batch_spec(batch_size, draw=(jnp.uint32,))
    return [x | number | {"solved": x["latents"]} for x in specs]

  # ----------------------------------------------------------------- frozen

  def frozen(self):
    """The teacher's parameters."""
    bundle = Bundle.load(self.config.bundle, ("flow_matching",))
    return {"params": bundle.params["flow_matching"]["params"]}

  def frozen_shapes(self):
    """Shapes of the teacher's parameters, by its config alone."""
    teacher = copy.copy(self.inner)
    teacher.model = self.teacher
    state = jax.eval_shape(teacher.init_state, jax.random.key(0))
    return {"params": state.params}

  def bind(self, frozen) -> "DistillationStage":
    """The stage with its teacher's parameters."""
    out = copy.copy(self)
    out._frozen = frozen
    return out

  def init_state(self, key) -> TrainState:
    """State whose parameters are the teacher's, where it has them."""
    params = self.inner.init_state(key).params
    if self._frozen is not None:
      params = params | jax.tree.map(jnp.copy, self._frozen["params"])
    return TrainState.create(params, self.optimizer)

  # ------------------------------------------------------------------ draws

  def drawn_by_row(self, batch) -> dict[str, jax.Array]:
    """Windows, prompts and noise of rows that are solved, by their numbers."""
    frames, channels = batch["latents"].shape[1:]

    def row(number, tokens):
      key = jax.random.fold_in(jax.random.key(self.config.seed), number)
      windows, noise = jax.random.split(key)
      segment, prompt_mask = self.inner.windows(windows, tokens[None], frames)
      noise = jax.random.normal(noise, (frames, channels))
      return segment[0], prompt_mask[0], noise

    segment, prompt_mask, noise = jax.vmap(row)(batch["draw"], batch["length"])
    return {"segment": segment, "prompt_mask": prompt_mask, "noise": noise}

  def prepared(self, batch, key=None) -> dict:
    """Batch with its draw; without a key the draw of evaluation.

    Every row has its conditions; "end" is r of equation 1.
    """
    key = jax.random.key(0) if key is None else key
    batch = dict(batch)
    draw = self.inner.draw(key, batch)
    draw["keep"] = jnp.ones_like(draw["keep"])
    spans = jax.random.split(jax.random.fold_in(key, 1))
    share = jax.random.uniform(spans[0], draw["t"].shape)
    share *= ~jax.random.bernoulli(
      spans[1], self.distillation.instant, share.shape
    )
    draw["end"] = draw["t"] + (1 - draw["t"]) * share
    if "draw" in batch:
      draw |= self.drawn_by_row(batch)
    return batch | {"draw": draw}

  # ------------------------------------------------------------------- loss

  def conditions(self, model, params, batch) -> dict[str, jax.Array]:
    """Conditions of a model's `velocity`, by name, for a prepared batch."""
    draw = batch["draw"]
    mask = draw["segment"] > 0
    variables = {"params": params}
    speaker = self.inner.speakers(params, batch)
    condition = model.apply(
      variables,
      batch["tokens"],
      mask[:, :: self.inner.model_config.latents_per_token],
      speaker,
      method="condition",
    )
    return {
      "condition": condition,
      "speaker": speaker,
      "prompt": batch["latents"],
      "prompt_mask": draw["prompt_mask"] & mask,
      "mask": mask,
      "segment": draw["segment"],
    }

  def path(self, model, params, batch, guidance) -> solver.Velocity:
    """Velocity of a model on a prepared batch, for the solver."""

    def velocity(x, t, end, keep, **conditions):
      return model.apply(
        {"params": params},
        x,
        t,
        end=end,
        keep=keep,
        **conditions,
        method="velocity",
      )

    conditions = self.conditions(model, params, batch)
    return solver.path(velocity, conditions, batch["draw"]["noise"], guidance)

  def taught(self, batch) -> solver.Velocity:
    """Guided velocity of the teacher on a prepared batch."""
    return self.path(
      self.teacher, self._frozen["params"], batch, self.distillation.guidance
    )

  def solve(self, batch):
    """Latents f32[b, l, c] that the teacher makes of a prepared batch.

    Those of prompts are as they are given, and padding is zero.
    """
    draw = batch["draw"]
    made = solver.euler(
      self.taught(batch), draw["noise"], self.distillation.steps
    )
    made = jnp.where(draw["prompt_mask"][..., None], batch["latents"], made)
    return jnp.where((draw["segment"] > 0)[..., None], made, 0.0)

  def objective(self, params, batch):
    """Loss and metrics of a prepared batch."""
    if self.kind == "line":
      draw = batch["draw"]
      given = draw["prompt_mask"][..., None]
      latents = jnp.where(given, batch["latents"], batch["solved"])
      return self.inner.objective(params, batch | {"latents": latents})
    target = jax.lax.stop_gradient(self.target(params, batch))
    return self.inner.objective(params, batch, target=target)

  def target(self, params, batch):
    """Mean velocity f32[b, l, c] until draw["end"], by equation 1."""
    draw = batch["draw"]
    t, end = draw["t"], draw["end"]
    mask = (draw["segment"] > 0)[..., None]
    x1 = jnp.where(mask, batch["latents"], 0.0)
    place = t[:, None, None]
    x_t = (1 - place) * draw["noise"] + place * x1
    first = self.taught(batch)(x_t, t, t)
    then = jnp.minimum(solver.next_time(t, self.distillation.steps), end)
    x_s = x_t + (then - t)[:, None, None] * first
    rest = self.path(self.inner.model, params, batch, None)(x_s, then, end)
    span = end - t
    share = jnp.where(then < end, (then - t) / jnp.maximum(span, 1e-6), 1.0)
    share = share[:, None, None]
    return share * first + (1 - share) * rest

  # ------------------------------------------------------------------- step

  def train_step(self, state: TrainState, batch) -> tuple[TrainState, dict]:
    """One pure training step on a batch of rows."""
    batch = self.prepared(batch, step_key(self.config.seed, state.step))

    def gradients(micro):
      return jax.grad(self.objective, has_aux=True)(state.params, micro)

    grads, metrics = accumulate(
      gradients, batch, self.config.accumulate, weight=self.inner.weight
    )
    state, step_metrics = update(
      state, grads, self.optimizer, self.optimizer_config.ema
    )
    return state, metrics | step_metrics

  def eval_step(self, state: TrainState, batch) -> dict:
    """Losses, and mean squares by which few steps miss the teacher's latents.

    "apart_N" is that of the student's N steps, "teacher_N" of the teacher's.
    """
    batch = self.prepared(batch)
    draw = batch["draw"]
    made = self.solve(batch)
    _, metrics = self.objective(state.ema, batch | {"solved": made})
    counted = (draw["segment"] > 0) & ~draw["prompt_mask"]
    student = self.path(self.inner.model, state.ema, batch, None)
    for name, path in (("apart", student), ("teacher", self.taught(batch))):

      def missed(steps, path=path):
        other = solver.euler(path, draw["noise"], steps)
        return masked_mean((other - made) ** 2, counted)

      squares = jax.lax.map(missed, jnp.asarray(FEW))
      metrics |= {f"{name}_{n}": squares[i] for i, n in enumerate(FEW)}
    return metrics

  def inference_params(self, state: TrainState) -> dict:
    """Variables of `FlowMatching.apply`, averaged."""
    return {"params": state.ema}

  def flops(self, batch, step=None) -> float:
    """FLOPs of a step; `mean` takes three more forward passes."""
    passes = 2.0 if self.kind == "mean" else 1.0
    return passes * self.inner.flops(batch, step)


# -------------------------------------------------------------------- configs


def assume(config):
  """Fills the usual sizes of flow matching, without a bundle."""
  return flow_matching.assume(config)


def resolve(config):
  """Fills model, mel, data and latents from the bundle."""
  # The bundle's, whose teacher knows no other rows; how they mix is the run's.
  config.data = ConfigDict({"alpha": config.data.alpha})
  velocity = config.model.velocity
  bundle = on_base.fill(config, "flow_matching")
  base = bundle.configs["flow_matching"]
  card = Features.open(config.corpus, "train").card
  found = stages.feature_sources(card, "audio_tokenizer", "flow_vae")
  known = dict(base.get("features", found))
  latents = {name: list(base["latents"][name]) for name in ("mean", "std")}
  if known != found or any(card[k] != latents[k] for k in latents):
    raise UserError(
      f"the features of {config.corpus} are not those that {config.bundle}"
      f" knows: run `s02 extract --corpus {config.corpus} --bundle"
      f" {config.bundle}`."
    )
  config.model.velocity = velocity
  config.distillation.teacher = bundle.fingerprint
  config.features, config.latents = known, latents
  config.corpus_digest = corpus_digest(config.corpus, "records", "features")
  return config
