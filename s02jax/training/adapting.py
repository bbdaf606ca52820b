"""Adapters of a bundle: what is trained, what it will need, and its result.

jobs = plan(Adaptation(...))      # one run of `train` a model
for job in jobs: run(job)
finish(adaptation)                # adapters or a voice in the bundle
"""

import dataclasses
import importlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from s02jax import hardware, stages
from s02jax.bundle import Bundle
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.core.trees import count_parameters
from s02jax.data.records import Corpus
from s02jax.stages.ar import text_rates
from s02jax.synthesis.store import adapter_store, voice_store
from s02jax.synthesis.store.adapter_store import Adapter
from s02jax.synthesis.voice import Voice
from s02jax.training.loop import train
from s02jax.training.trained import Trained

# What is adapted -> the kind of its stage.
KINDS = {
  "emotion": "lora",
  "speaker": "speaker",
  "voice": "full",
  "language": "full",
}
# Share of the machine's products that a step of a small batch reaches.
_UTILISATION = 0.3
_STATE_COPIES = 5  # of what trains: itself, average, two moments, gradients


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adaptation:
  """Everything that decides what an adaptation makes of a bundle."""

  kind: str  # one of KINDS
  name: str  # of the adapter or voice; of emotions a prefix, or ""
  bundle: pathlib.Path  # that gets the result
  base: pathlib.Path  # that is trained on; `bundle`, or one that knows more
  corpus: pathlib.Path  # made ready by `data_pipelines.adapters.prepare`
  work: pathlib.Path  # folder of the runs
  models: Sequence[str] = ("ar", "flow_matching")
  emotions: Sequence[str] = ()  # of the kind "emotion"
  reference: str = "neutral"  # of the kind "emotion"
  rehearsal: pathlib.Path | None = None  # of the kinds "voice" and "language"
  steps: int | None = None  # of each model; None: those of the config
  fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  licence: str = ""  # of the recordings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
  """Training run of one model, and what it is expected to need."""

  model: str
  config: ConfigDict  # unresolved
  workdir: pathlib.Path
  trained: int  # parameters that train
  frozen: int  # parameters that stay
  gigabytes: float  # of memory, at least
  seconds: float | None  # of training; None where the machine is not known


def plan(adaptation: Adaptation) -> list[Job]:
  """Runs of an adaptation, checked, with what they are expected to need.

  Raises:
    UserError: fields or data that make no run.
  """
  peak = hardware.peak_flops()
  return [_job(adaptation, model, peak) for model in adaptation.models]


def _job(adaptation: Adaptation, model: str, peak: float | None) -> Job:
  """Run of one model."""
  config = config_of(adaptation, model)
  resolved = stages.resolve(config)
  stage: Any = stages.make(resolved)
  frozen = stages.frozen_of(stage)
  stage = stages.bound(stage, frozen)
  state = jax.eval_shape(stage.init_state, jax.random.key(0))
  trained, kept = map(count_parameters, (state.params, frozen))
  spec = stage.batch_specs(config.batch_size)[-1]
  flops = stage.flops(spec) * config.steps
  return Job(
    model=model,
    config=config,
    workdir=adaptation.work / model,
    trained=trained,
    frozen=kept,
    gigabytes=4 * (kept + _STATE_COPIES * trained + _largest(spec)) / 1e9,
    seconds=None if peak is None else flops / peak / _UTILISATION,
  )


def _largest(spec: Mapping[str, Any]) -> int:
  """Values of a batch, by its specs."""
  return sum(int(np.prod(x.shape)) for x in spec.values())


def config_of(adaptation: Adaptation, model: str) -> ConfigDict:
  """Unresolved config of the run of one model."""
  kind = KINDS[adaptation.kind]
  module = importlib.import_module(f"configs.adapters.{kind}")
  config = module.get_config(model)
  config.bundle, config.corpus = str(adaptation.base), str(adaptation.corpus)
  if adaptation.steps is not None:
    config.steps = adaptation.steps
  if adaptation.emotions:
    config.adapter.names = tuple(adaptation.emotions)
    config.adapter.reference = adaptation.reference
    count = len(adaptation.emotions)
    config.batch_size = max(config.batch_size // count, 1) * count
  if adaptation.rehearsal is not None:
    config.adapter.rehearsal = str(adaptation.rehearsal)
  for name, value in adaptation.fields.items():
    config.update_from_flattened_dict({name: value})
  # What is small trains on one device, and its last step is its result.
  config.mesh.data = 1
  config.keep = 1
  return config


def run(job: Job) -> int:
  """Trains one model, or goes on where a stopped run was; the exit code."""
  return train(job.config, job.workdir, jax.devices()[:1])


def progress(workdir: pathlib.Path) -> tuple[int, float | None]:
  """Steps that a run has taken, and its last loss; (0, None) before any."""
  step, loss = 0, None
  path = workdir / "metrics.jsonl"
  if path.is_file():
    for line in path.read_text().splitlines():
      try:
        values = json.loads(line)
      except ValueError:
        continue  # a line that is being written
      if "loss" in values:
        step, loss = int(values["step"]), float(values["loss"])
  return step, loss


# -------------------------------------------------------------------- results


def finish(adaptation: Adaptation, replace: bool = False) -> list[str]:
  """Adds what was trained to the bundle; returns the names that it got.

  Raises:
    UserError: a run that is not there, or a name that is taken.
  """
  runs = {
    model: Trained.load(adaptation.work / model, "adapter")
    for model in adaptation.models
  }
  fingerprint = Bundle.load(adaptation.bundle).fingerprint
  if adaptation.kind == "speaker":
    return [_add_voice(adaptation, runs, fingerprint, replace)]
  notes = _notes(adaptation, runs)
  made = []
  for adapter in _adapters(adaptation, runs, fingerprint, notes):
    adapter_store.add(adaptation.bundle, adapter, replace)
    made.append(adapter.name)
  return made


def names(adaptation: Adaptation) -> list[str]:
  """Names that the result will have in the bundle."""
  if not adaptation.emotions:
    return [adaptation.name]
  prefix = f"{adaptation.name}-" if adaptation.name else ""
  return [f"{prefix}{emotion}" for emotion in adaptation.emotions]


def check_free(adaptation: Adaptation, replace: bool) -> None:
  """Raises UserError where a name is none, or is taken."""
  for name in names(adaptation):
    if adaptation.kind == "speaker":
      voice_store.check_free(adaptation.bundle, name, replace)
    else:
      adapter_store.check_free(adaptation.bundle, name, replace)


def _adapters(adaptation, runs, fingerprint: str, notes) -> list[Adapter]:
  """Adapters of the runs: one an emotion, or one of all parameters."""
  fields: dict[str, Any] = {"base": fingerprint, "notes": notes}
  if adaptation.kind != "emotion":
    text = (adaptation.base / "text.model").read_bytes()
    own = text != (adaptation.bundle / "text.model").read_bytes()
    weights = {model: run.params["params"] for model, run in runs.items()}
    return [
      Adapter(
        name=adaptation.name,
        kind="full",
        weights=weights,
        text_model=text if own else None,
        **fields,
      )
    ]
  return lora_adapters(names(adaptation), runs, fingerprint, notes)


def lora_adapters(
  names: Sequence[str],
  runs: Mapping[str, Trained],
  fingerprint: str,
  notes: Mapping[str, Any],
) -> list[Adapter]:
  """Adapters of emotions that were trained side by side.

  Args:
    names: of the adapters, in the order of the runs' emotions.
    runs: model -> its run.
    fingerprint: of the base.
    notes: for the cards.
  """
  (scale,) = {
    run.config["adapter"]["alpha"] / run.config["adapter"]["rank"]
    for run in runs.values()
  }
  return [
    Adapter(
      name=name,
      kind="lora",
      base=fingerprint,
      scale=scale,
      weights={
        model: {
          path: {part: array[i] for part, array in pair.items()}
          for path, pair in run.params["params"].items()
        }
        for model, run in runs.items()
      },
      notes=notes,
    )
    for i, name in enumerate(names)
  ]


def _add_voice(adaptation, runs, fingerprint: str, replace: bool) -> str:
  """Keeps the fitted vectors as a voice of the bundle; returns its name."""
  if sorted(runs) != ["ar", "flow_matching"]:
    raise UserError("a voice has a vector for both models; train both.")
  voice = Voice(
    ar_vector=np.asarray(runs["ar"].params["params"]["vector"]),
    flow_vector=np.asarray(runs["flow_matching"].params["params"]["vector"]),
    prompt=None,
    fingerprint=fingerprint,
  )
  seconds = _seconds(Corpus.open(adaptation.corpus, "train"))
  voice_store.add(adaptation.bundle, adaptation.name, voice, seconds, replace)
  return adaptation.name


def _seconds(corpus: Corpus) -> float:
  """Seconds of speech of a split."""
  return float(corpus.num_samples.sum(dtype=np.int64)) / corpus.rate


def _notes(adaptation: Adaptation, runs: Mapping[str, Trained]):
  """Entries of a card: data, steps, licence, last figures."""
  corpus = Corpus.open(adaptation.corpus, "train")
  hop = corpus.rate // TOKENS_PER_SECOND
  return {
    "data": {
      "clips": len(corpus),
      "seconds": round(_seconds(corpus), 1),
      "tokens": int((corpus.num_samples // hop).sum()),
      "speakers": len(np.unique(corpus.speaker)),
    },
    "languages": list(corpus.languages),
    "added_languages": languages.rows(corpus.languages),
    "text_rates": text_rates(corpus)[1]
    if adaptation.kind == "language"
    else [],
    "licence": adaptation.licence or "not said",
    "adapts": adaptation.kind,
    "steps": {model: run.step for model, run in runs.items()},
    "metrics": {model: dict(run.metrics) for model, run in runs.items()},
    "config": {model: run.config["adapter"] for model, run in runs.items()},
  }
