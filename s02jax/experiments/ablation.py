"""Ablations of the report: train the variants of one and measure them.

The variants are in configs/ablations/NAME.py: one config, one budget, and what
changes. OUT/runs has a workdir for each variant; OUT/table.md and
OUT/table.json hold our figures with the paper's beside them.
"""

import dataclasses
import logging
import pathlib
import runpy
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import configs
from s02jax import bundle
from s02jax.core.config import build
from s02jax.core.errors import UserError
from s02jax.data.records import SPLITS, Corpus, held_out
from s02jax.evaluation.figure import Figure
from s02jax.evaluation.report import (
  judge,
  measures,
  recipes,
  resynthesis,
  workers,
)
from s02jax.evaluation.report import panel as panels
from s02jax.experiments import ablation_table, emotion_reference, sweep
from s02jax.experiments.ablation_table import Ablation
from s02jax.pretrained import signal
from s02jax.synthesis.render.codecs import VaeCodec
from s02jax.synthesis.request import Settings
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.training import bundling
from s02jax.training.trained import Trained

# Splits that may be judged: speakers that no stage has heard, else sentences.
JUDGED = ("unseen", "seen")
_SEEN_NOTE = (
  "Judged on `seen`, new sentences of speakers that the models have heard: the"
  " corpus has no case of `unseen`."
)
SPEED = "real_time_factor"  # measure of the whole chain, taken where asked for
# Name of a line of the table -> measure -> figure.
Figures = Mapping[str, Mapping[str, Figure]]
Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tools:
  """Programs above this package that an ablation starts."""

  launch: sweep.Launch  # trains one run
  extract: Callable[[str, str, str], None]  # (corpus, tokenizer, Flow-VAE)
  extract_speakers: Callable[[str], None]  # (corpus): its fixed vectors
  # (arguments of `s02 distill`): rows that a teacher solves
  solve: Callable[[Sequence[str]], None]
  tell: Tell  # gets a line for people before each run


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationJob:
  """One ablation, its folders, and the tools that train its variants."""

  ablation: Ablation
  tools: Tools
  corpus: pathlib.Path
  out: pathlib.Path
  fields: Sequence[str] = ()  # `--config.field=value`, for all variants
  base: pathlib.Path | None = None  # folder with the other stages' workdirs
  vaes: pathlib.Path | None = None  # OUT of `s02 ablate resynthesis`

  def workdir(self, variant: str) -> pathlib.Path:
    """Folder in which a variant is trained."""
    return self.out / "runs" / variant

  def finished(self, stage: str) -> str:
    """Workdir of a stage that is not varied.

    Raises:
      UserError: there is no --base.
    """
    if self.base is None:
      raise UserError(
        "this ablation needs --base: a folder with the workdirs of the other"
        " stages, as the demo leaves it."
      )
    return str(self.base / stage)

  @property
  def size(self) -> str:
    """Size of the configs."""
    return self.ablation.config.partition(":")[2]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subjects:
  """Trained variants that are ready to be judged."""

  fingerprints: Mapping[str, str]  # variant -> digest of its weights
  steps: Mapping[str, int]  # variant -> training steps
  rate: int  # samples per second of their speech
  # judges them on a panel, by a pool of processes
  judge: Callable[[panels.Panel, Any], Figures]


# --------------------------------------------------------------------- read


def load(name: str, size: str) -> Ablation:
  """Reads configs/ablations/NAME.py.

  Raises:
    UserError: no such ablation or size, or a file that describes none.
  """
  file = pathlib.Path(configs.__file__).parent / "ablations" / f"{name}.py"
  return build(Ablation, runpy.run_path(str(file))["get_ablation"](size), name)


def names() -> list[str]:
  """Names of all ablations, as they are typed."""
  folder = pathlib.Path(configs.__file__).parent / "ablations"
  return sorted(f.stem.replace("_", "-") for f in folder.glob("[a-z]*.py"))


# -------------------------------------------------------------------- train


def plan(
  job: AblationJob, corpora: Mapping[str, pathlib.Path]
) -> list[sweep.Run]:
  """Runs of the variants, each checked as `s02 train` would.

  Args:
    job: ablation whose variants are trained.
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


def train(job: AblationJob, corpora: Mapping[str, pathlib.Path]) -> None:
  """Trains the unfinished variants, one after the other.

  Raises:
    SystemExit: with the code of the training that failed or was stopped.
  """
  code = sweep.launch_all(plan(job, corpora), job.tools.launch, job.tools.tell)
  if code:
    sys.exit(code)


# ----------------------------------------------------------------- subjects


def _resynthesis(job: AblationJob) -> Subjects:
  held_out(job.corpus)  # or a UserError, before hours of training
  train(job, dict.fromkeys(job.ablation.variants, job.corpus))
  runs = {
    variant: Trained.load(job.workdir(variant), "flow_vae")
    for variant in job.ablation.variants
  }
  codecs = {name: VaeCodec(r.config, r.params) for name, r in runs.items()}
  (rate,) = {codec.rate for codec in codecs.values()}

  def judge_copies(panel, pool) -> Figures:
    waves = [case.wave for case in panel.cases]
    copies = {name: codec.reconstruct(waves) for name, codec in codecs.items()}
    figures = resynthesis.judge(panel, copies, rate=rate, pool=pool)
    nothing = Figure(value=None, n=0)
    return {
      name: found
      | {"kl": _kl(runs[name], panel.split) if name in runs else nothing}
      for name, found in figures.items()
    }

  return Subjects(
    fingerprints={name: run.fingerprint for name, run in runs.items()},
    steps={name: run.step for name, run in runs.items()},
    rate=rate,
    judge=judge_copies,
  )


def _kl(run: Trained, split: str) -> Figure:
  """KL in nats a latent dimension, at the last evaluation on a split."""
  crops = run.config["eval_batches"] * run.config["batch_size"]
  return Figure(value=run.metrics.get(f"{split}/kl"), n=crops)


def _latents(job: AblationJob) -> Subjects:
  tokenizer, ar = job.finished("audio_tokenizer"), job.finished("ar")
  held_out(job.corpus)
  ablation = load("resynthesis", job.size)
  vaes = AblationJob(
    ablation=ablation,
    tools=job.tools,
    corpus=job.corpus,
    out=job.vaes or job.out / "vaes",
  )
  if job.vaes is None:
    train(vaes, dict.fromkeys(ablation.variants, job.corpus))
  corpora = {
    variant: view(job.corpus, job.out / "corpora" / variant)
    for variant in job.ablation.variants
  }
  for variant, corpus in corpora.items():
    job.tools.extract(str(corpus), tokenizer, str(vaes.workdir(variant)))
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


def _speaker_conditioning(job: AblationJob) -> Subjects:
  others = {
    stage: job.finished(stage) for stage in bundle.MODELS if stage != "ar"
  }
  held_out(job.corpus)
  job.tools.extract_speakers(str(job.corpus))
  train(job, dict.fromkeys(job.ablation.variants, job.corpus))
  bundles = {
    variant: bundling.gather(
      job.corpus, others | {"ar": str(job.workdir(variant))}
    )
    for variant in job.ablation.variants
  }
  return _speaking(job, "ar", bundles)


def _emotion_reference(job: AblationJob) -> Subjects:
  base = pathlib.Path(job.finished("bundle")).absolute()
  own = emotion_reference.fields(base, job.corpus)
  job = dataclasses.replace(job, fields=[*own, *job.fields])
  train(job, dict.fromkeys(job.ablation.variants, job.corpus))
  runs = {
    variant: Trained.load(job.workdir(variant), "adapter")
    for variant in job.ablation.variants
  }

  def judge_emotions(panel, pool) -> Figures:
    del panel, pool  # cases are groups of one text in all emotions
    return emotion_reference.judge(
      base, job.corpus, runs, job.ablation.cases, job.ablation.synthesis
    )

  return Subjects(
    fingerprints={name: run.fingerprint for name, run in runs.items()},
    steps={name: run.step for name, run in runs.items()},
    rate=bundle.Bundle.load(base).rate,
    judge=judge_emotions,
  )


def _solver_steps(job: AblationJob) -> Subjects:
  base = pathlib.Path(job.finished("bundle")).absolute()
  held_out(job.corpus)
  own = [f"--config.bundle={base}", *job.fields]
  job = dataclasses.replace(job, fields=own)
  corpora = dict.fromkeys(job.ablation.variants, job.corpus)
  for one in plan(job, corpora):
    if one.overrides["model.velocity"] == "line" and not one.finished():
      job.tools.solve([x for x in one.argv if not x.startswith("--workdir")])
  train(job, corpora)
  others = {name: str(base) for name in bundle.MODELS}
  students = {
    variant: bundling.gather(
      job.corpus, others | {"flow_matching": str(job.workdir(variant))}
    )
    for variant in job.ablation.variants
  }
  teacher = {"teacher": bundle.Bundle.load(base)}
  return _speaking(job, "flow_matching", teacher | students)


def view(corpus: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
  """Corpus of the same records by links, with features of its own."""
  folder.mkdir(parents=True, exist_ok=True)
  for entry in corpus.iterdir():
    link = folder / entry.name
    if entry.name != "features" and not link.exists():
      link.symlink_to(entry.resolve())
  return folder


def _speaking(
  job: AblationJob, stage: str, bundles: Mapping[str, bundle.Bundle]
) -> Subjects:
  """Bundles that say the sentences of a panel; each is kept in OUT/bundles.

  Args:
    job: ablation with its variants and folders.
    stage: the stage that is varied.
    bundles: variant -> bundle.
  """
  (rate,) = {made.rate for made in bundles.values()}
  settings = Settings(**job.ablation.synthesis)
  recipe_of = {recipe.name: recipe for recipe in recipes.RECIPES}

  def judge_speech(panel, pool) -> Figures:
    for variant, models in bundles.items():
      models.write(job.out / "bundles" / variant)
    synthesizers = {name: Synthesizer(made) for name, made in bundles.items()}
    anyone = next(iter(synthesizers.values()))  # to play the recordings
    made = {}
    timed = any(c.measure == SPEED for c in job.ablation.columns)
    speeds = {}
    for row in job.ablation.rows:
      recipe = recipe_of[row.recipe or measures.GROUND_TRUTH]
      logging.info("%s", row.label)
      told = settings
      if row.steps is not None:
        told = dataclasses.replace(settings, steps=row.steps)
      speaker = synthesizers.get(row.variant, anyone)
      made[row.name] = recipes.make_renditions(
        recipe, speaker, panel.cases, told
      )
      if timed and row.recipe:
        speeds[row.name] = _speed(recipe, speaker, panel, told)
    figures = judge.judge(panel, made, rate=rate, pool=pool).figures
    return {
      name: {
        "asr_cer": Figure(value=None, n=0),  # of a judge that may lack
        SPEED: speeds.get(name, Figure(value=None, n=0)),
      }
      | found
      | {
        "wrong_text": _complement(found["dtw_top1"]),
        "wrong_sentence": _complement(found["sentence_choice"]),
      }
      for name, found in figures.items()
    }

  return Subjects(
    fingerprints={name: made.fingerprint for name, made in bundles.items()},
    steps={
      name: bundles[name].card["models"][stage]["steps"]
      for name in job.ablation.variants
    },
    rate=rate,
    judge=judge_speech,
  )


def _speed(
  recipe: recipes.Recipe,
  speaker: Synthesizer,
  panel: panels.Panel,
  settings: Settings,
) -> Figure:
  """Seconds of work a second of speech, all cases at once, compiled before."""
  began = time.perf_counter()
  waves = recipe.make(speaker, panel.cases, settings).waves
  took = time.perf_counter() - began
  spoken = sum(map(len, waves)) / speaker.rate
  return Figure(value=took / max(spoken, 1e-9), n=len(waves))


def _complement(share: Figure) -> Figure:
  """Figure of 1 - share, with its interval."""

  def rest(value: float | None) -> float | None:
    return None if value is None else 1 - value

  return Figure(
    value=rest(share.value),
    n=share.n,
    low=rest(share.high),
    high=rest(share.low),
  )


SUBJECTS: dict[str, Callable[[AblationJob], Subjects]] = {
  "resynthesis": _resynthesis,
  "latents": _latents,
  "speaker_conditioning": _speaker_conditioning,
  "emotion_reference": _emotion_reference,
  "solver_steps": _solver_steps,
}


# -------------------------------------------------------------------- judge


def compare(
  job: AblationJob, subjects: Subjects, processes: int
) -> dict[str, Any]:
  """Table of `ablation_table.to_json`.

  It is read, not judged again, where OUT holds that of these very models.
  Columns that cannot be measured here are left out, which its note says.

  Args:
    job: ablation with its folders.
    subjects: trained variants.
    processes: processes of the judges.

  Raises:
    UserError: a corpus without cases, or a judge that is not installed.
  """
  ablation = _measurable(job.ablation)
  origin = {
    "fingerprints": dict(subjects.fingerprints),
    "cases": job.ablation.cases,
    "measures": [column.measure for column in ablation.columns],
    "synthesis": dict(job.ablation.synthesis),
    "corpus": str(job.corpus.resolve()),
  }
  before = ablation_table.read(job.out)
  if before and before.get("origin") == origin:
    return before
  panel = _panel(job, subjects.rate)
  if panel.split != JUDGED[0]:
    ablation = _noted(ablation, _SEEN_NOTE)
  with workers.pool(processes) as pool:
    figures = subjects.judge(panel, pool)
  table = ablation_table.to_json(ablation, subjects.steps, figures)
  return table | {"origin": origin}


def _measurable(ablation: Ablation) -> Ablation:
  """Ablation without PESQ where its package is missing; its note says so."""
  kept = tuple(c for c in ablation.columns if "pesq" not in c.measure)
  if signal.has_pesq() or kept == ablation.columns:
    return ablation
  return _noted(dataclasses.replace(ablation, columns=kept), signal.NO_PESQ)


def _noted(ablation: Ablation, note: str) -> Ablation:
  """Ablation with one more sentence below its table."""
  return dataclasses.replace(ablation, note=f"{ablation.note} {note}")


def _panel(job: AblationJob, rate: int) -> panels.Panel:
  """Cases of the first split to be judged that has any; raises UserError."""
  splits = {name: Corpus.open(job.corpus, name) for name in SPLITS}
  refused = None
  for chosen in JUDGED:
    try:
      return panels.choose_panel(
        splits[chosen],
        [split for name, split in splits.items() if name != chosen],
        count=job.ablation.cases,
        rate=rate,
        seed=0,
      )
    except panels.NoCases as error:
      refused = error
  assert refused is not None
  raise refused
