"""Ablations of the report: trains the variants of one and measures them.

The variants are in configs/ablations/NAME.py: one config, one budget, and what
changes. OUT/runs has a workdir for each variant; OUT/table.md and
OUT/table.json hold our figures with the paper's beside them.
"""

import dataclasses
import logging
import pathlib
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import configs
from data_pipelines import extract
from launch import local
from s02jax import bundle
from s02jax.core.config import build
from s02jax.core.errors import UserError
from s02jax.data.records import SPLITS, Corpus
from s02jax.evaluation.figure import Figure
from s02jax.evaluation.report import judge as judge_lib
from s02jax.evaluation.report import measures, resynthesis, workers
from s02jax.evaluation.report import panel as selection
from s02jax.evaluation.report import recipes as rows
from s02jax.experiments import ablation_table, sweep
from s02jax.experiments.ablation_table import Ablation
from s02jax.synthesis.render.codecs import VaeCodec
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.training import bundling
from s02jax.training.trained import Trained

SPLIT = "unseen"  # speakers that no stage has heard
Figures = Mapping[str, Mapping[str, Figure]]  # row -> measure -> figure


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
  """An ablation and its folders."""

  ablation: Ablation
  corpus: pathlib.Path
  out: pathlib.Path
  fields: Sequence[str] = ()  # `--config.field=value`, for all variants
  base: pathlib.Path | None = None  # workdirs of the other stages
  vaes: pathlib.Path | None = None  # OUT of `resynthesis`

  def workdir(self, variant: str) -> pathlib.Path:
    """Of the training of a variant."""
    return self.out / "runs" / variant

  def finished(self, stage: str) -> str:
    """Workdir of a stage that is not varied.

    Raises:
      UserError: nobody said where.
    """
    if self.base is None:
      raise UserError(
        "this ablation needs --base: a folder with the workdirs of the other"
        " stages, as the demo leaves it."
      )
    return str(self.base / stage)

  @property
  def size(self) -> str:
    """Of the configs."""
    return self.ablation.config.partition(":")[2]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subjects:
  """What is to be judged."""

  fingerprints: Mapping[str, str]  # of each variant: the same, the same table
  steps: Mapping[str, int]  # that each variant was trained
  rate: int  # Hz
  judge: Callable[[selection.Panel, Any], Figures]  # with a pool


# --------------------------------------------------------------------- read


def load(name: str, size: str) -> Ablation:
  """The ablation of a name.

  Raises:
    UserError: no such ablation or size, or a file that describes none.
  """
  file = pathlib.Path(configs.__file__).parent / "ablations" / f"{name}.py"
  return build(Ablation, runpy.run_path(str(file))["get_ablation"](size), name)


def names() -> list[str]:
  """Of all ablations, as they are typed."""
  folder = pathlib.Path(configs.__file__).parent / "ablations"
  return sorted(f.stem.replace("_", "-") for f in folder.glob("[a-z]*.py"))


# -------------------------------------------------------------------- train


def plan(job: Job, corpora: Mapping[str, pathlib.Path]) -> list[sweep.Run]:
  """The runs of the variants, each checked as `s02 train` would.

  Args:
    job: whose variants.
    corpora: variant -> the corpus it is trained on.
  """
  budget = [f"--config.{k}={v}" for k, v in job.ablation.budget.items()]
  return [
    sweep.plan(
      job.ablation.config,
      overrides,
      job.workdir(variant),
      [*budget, f"--config.corpus={corpora[variant]}", *job.fields],
    )
    for variant, overrides in job.ablation.variants.items()
  ]


def train(job: Job, corpora: Mapping[str, pathlib.Path]) -> None:
  """Trains what is not finished, one variant after the other.

  Raises:
    SystemExit: with the code of the training that failed or was stopped.
  """
  options = local.parser().parse_args([])
  code = sweep.launch_all(plan(job, corpora), local, options)
  if code:
    sys.exit(code)


# ----------------------------------------------------------------- subjects


def _resynthesis(job: Job) -> Subjects:
  train(job, dict.fromkeys(job.ablation.variants, job.corpus))
  trained = {
    variant: Trained.load(job.workdir(variant), "flow_vae")
    for variant in job.ablation.variants
  }
  codecs = {name: VaeCodec(t.config, t.params) for name, t in trained.items()}
  (rate,) = {codec.rate for codec in codecs.values()}

  def judge(panel, pool) -> Figures:
    waves = [case.wave for case in panel.cases]
    copies = {name: codec.copy(waves) for name, codec in codecs.items()}
    figures = resynthesis.judge(panel, copies, rate=rate, pool=pool)
    nothing = Figure(value=None, n=0)
    return {
      name: found | {"kl": _kl(trained[name]) if name in trained else nothing}
      for name, found in figures.items()
    }

  return Subjects(
    fingerprints={name: t.fingerprint for name, t in trained.items()},
    steps={name: t.step for name, t in trained.items()},
    rate=rate,
    judge=judge,
  )


def _kl(run: Trained) -> Figure:
  """Nats a latent dimension, of the last evaluation on the judged split."""
  crops = run.config["eval_batches"] * run.config["batch_size"]
  return Figure(value=run.metrics.get(f"{SPLIT}/kl"), n=crops)


def _latents(job: Job) -> Subjects:
  tokenizer, ar = job.finished("audio_tokenizer"), job.finished("ar")
  ablation = load("resynthesis", job.size)
  vaes = Job(
    ablation=ablation, corpus=job.corpus, out=job.vaes or job.out / "vaes"
  )
  if job.vaes is None:
    train(vaes, dict.fromkeys(ablation.variants, job.corpus))
  corpora = {
    variant: view(job.corpus, job.out / "corpora" / variant)
    for variant in job.ablation.variants
  }
  for variant, corpus in corpora.items():
    extract.extract(str(corpus), tokenizer, str(vaes.workdir(variant)))
  train(job, corpora)
  bundles = {
    variant: bundling.gather(
      corpora[variant],
      {
        "audio_tokenizer": tokenizer,
        "flow_vae": str(vaes.workdir(variant)),
        "ar": ar,
        "flow_matching": str(job.workdir(variant)),
      },
    )
    for variant in job.ablation.variants
  }
  return _speaking(job, "flow_matching", bundles)


def _speaker_conditioning(job: Job) -> Subjects:
  others = {
    stage: job.finished(stage) for stage in bundle.MODELS if stage != "ar"
  }
  train(job, dict.fromkeys(job.ablation.variants, job.corpus))
  bundles = {
    variant: bundling.gather(
      job.corpus, others | {"ar": str(job.workdir(variant))}
    )
    for variant in job.ablation.variants
  }
  return _speaking(job, "ar", bundles)


def view(corpus: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
  """A corpus of the same records, with features of its own."""
  folder.mkdir(parents=True, exist_ok=True)
  for entry in corpus.iterdir():
    link = folder / entry.name
    if entry.name != "features" and not link.exists():
      link.symlink_to(entry.resolve())
  return folder


def _speaking(
  job: Job, stage: str, bundles: Mapping[str, bundle.Bundle]
) -> Subjects:
  """Bundles that say the sentences of a panel; each is kept in OUT/bundles.

  Args:
    job: whose sentences and variants.
    stage: that is varied.
    bundles: by variant.
  """
  (rate,) = {made.rate for made in bundles.values()}
  settings = rows.Sampling(**job.ablation.synthesis)
  recipes = {recipe.name: recipe for recipe in rows.RECIPES}

  def judge(panel, pool) -> Figures:
    for variant, models in bundles.items():
      models.write(job.out / "bundles" / variant)
    speakers = {name: Synthesizer(made) for name, made in bundles.items()}
    anyone = next(iter(speakers.values()))  # to play the recordings
    made = {}
    for row in job.ablation.rows:
      recipe = recipes[row.recipe or measures.GROUND_TRUTH]
      logging.info("%s", row.label)
      made[row.name] = rows.make_renditions(
        recipe, speakers.get(row.variant, anyone), panel.cases, settings
      )
    figures = judge_lib.judge(panel, made, rate=rate, pool=pool).figures
    return {
      name: found
      | {
        "wrong_text": _complement(found["dtw_top1"]),
        "wrong_sentence": _complement(found["sentence_choice"]),
      }
      for name, found in figures.items()
    }

  return Subjects(
    fingerprints={name: made.fingerprint for name, made in bundles.items()},
    steps={
      name: made.card["models"][stage]["steps"]
      for name, made in bundles.items()
    },
    rate=rate,
    judge=judge,
  )


def _complement(share: Figure) -> Figure:
  """Share of the others, with its interval."""

  def rest(value: float | None) -> float | None:
    return None if value is None else 1 - value

  return Figure(
    value=rest(share.value),
    n=share.n,
    low=rest(share.high),
    high=rest(share.low),
  )


SUBJECTS: dict[str, Callable[[Job], Subjects]] = {
  "resynthesis": _resynthesis,
  "latents": _latents,
  "speaker_conditioning": _speaker_conditioning,
}


# -------------------------------------------------------------------- judge


def compare(job: Job, subjects: Subjects, processes: int) -> dict[str, Any]:
  """The table of `comparison`, read where it is of these very models.

  Raises:
    UserError: a corpus without cases, or a judge that is not installed.
  """
  origin = {
    "fingerprints": dict(subjects.fingerprints),
    "cases": job.ablation.cases,
    "measures": [column.measure for column in job.ablation.columns],
    "synthesis": dict(job.ablation.synthesis),
    "corpus": str(job.corpus.resolve()),
  }
  before = ablation_table.read(job.out)
  if before and before.get("origin") == origin:
    return before
  splits = {name: Corpus.open(job.corpus, name) for name in SPLITS}
  panel = selection.choose_panel(
    splits[SPLIT],
    [split for name, split in splits.items() if name != SPLIT],
    count=job.ablation.cases,
    rate=subjects.rate,
    seed=0,
  )
  with workers.pool(processes) as pool:
    figures = subjects.judge(panel, pool)
  table = ablation_table.to_json(job.ablation, subjects.steps, figures)
  return table | {"origin": origin}
