"""Teach a bundle an emotion, a voice or a language, on recordings.

  s02 adapt emotion --bundle DIR --manifest acted.jsonl --emotions sad,happy
  s02 adapt speaker --bundle DIR --manifest anna.jsonl --name anna
  s02 adapt voice --bundle DIR --manifest anna.jsonl --name anna-tuned
  s02 adapt language --bundle DIR --manifest pl.jsonl --name polish \\
    --rehearsal corpus

`emotion` trains small changes of frozen models, one an emotion, for --emotion
of `s02 synthesize`; `speaker` fits the vectors of a voice, and keeps it for
--voice; `voice` and `language` train all parameters, and `s02 adapter merge`
makes a bundle of the result. Corpus, tokens, latents, training and adding are
one command; the same command goes on where it was stopped.
"""

import argparse
import os
import pathlib
from typing import Any

from data_pipelines.adapters import prepare as data
from s02jax import cli
from s02jax.bundle import Bundle
from s02jax.cli import options
from s02jax.cli.terminal.bar import TrainingBar
from s02jax.core import startup
from s02jax.core.errors import UserError
from s02jax.core.inputs import hint
from s02jax.synthesis.store import adapter_store, voice_store
from s02jax.training import adapting
from s02jax.training.adapting import Adaptation, Job

_LINES = {
  "emotion": "teach a bundle emotions, one small change each",
  "speaker": "fit the vectors of one voice",
  "voice": "train all parameters on one voice",
  "language": "train all parameters on a language that is new",
}


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("adapt", __doc__)
  for kind, part in options.commands(parser, "kind", _LINES).items():
    _add(part, kind)
  return parser


def _add(parser: argparse.ArgumentParser, kind: str) -> None:
  """Adds the options of one kind."""
  add, folder = parser.add_argument, pathlib.Path
  add("--bundle", type=folder, required=True, help="folder of `s02 bundle`")
  add(
    "--manifest",
    type=folder,
    required=True,
    help="JSON Lines as of `s02 corpus manifest`, or the folder of a corpus",
  )
  add(
    "--name",
    required=kind != "emotion",
    default="",
    help="of the result, or what emotions' names begin with",
  )
  add(
    "--work", type=folder, help="folder of corpus and runs (BUNDLE-adapt/NAME)"
  )
  add("--steps", type=int, help="of each model, if not the config's")
  add("--licence", default="", help="of the recordings, for the card")
  add("--replace", action="store_true", help="older ones of these names")
  add(
    "--processes",
    type=int,
    default=os.cpu_count(),
    help="processes that decode",
  )
  if kind == "emotion":
    add(
      "--emotions",
      default="",
      help="of the recordings, separated by commas; all, if none are named",
    )
    add(
      "--reference",
      choices=("neutral", "random", "same"),
      default="neutral",
      help="clip of the speaker that is heard before an emotion",
    )
    add(
      "--models",
      choices=("ar", "both"),
      default="both",
      help="the AR Transformer alone, or flow matching too",
    )
  if kind in ("voice", "language"):
    add("--rehearsal", type=folder, help="corpus that the bundle is trained on")
  if kind == "language":
    add("--pieces", type=int, default=128, help="most text pieces to add")
    options.add_language_file(parser)
  parser.add_argument_group(
    "config", "--config.FIELD=VALUE    a field of configs/adapters/, any model"
  )


def main(argv: list[str]) -> int:
  """Adapts a bundle; returns the exit code."""
  fields, others = options.config_fields(argv)
  args = _parser().parse_args(others)
  if args.steps is not None and args.steps < 1:
    raise UserError(f"--steps is {args.steps}; it must be 1 or more.")
  _check_name(args)
  startup.set_up()
  if args.kind == "language":
    options.read_language_file(args)
  adaptation = _prepare(args, _values(fields))
  adapting.check_free(adaptation, args.replace)
  jobs = adapting.plan(adaptation)
  for job in jobs:
    cli.tell(_expected(job))
  for job in jobs:
    with TrainingBar(job.model, job.config.steps, job.workdir):
      code = adapting.run(job)
    if code:
      return code
  made = adapting.finish(adaptation, args.replace)
  cli.tell(f"Added {', '.join(made)} to {args.bundle}. {_next(args, made)}")
  return 0


def _check_name(args: argparse.Namespace) -> None:
  """Raises UserError for a name that is none or taken, before any work."""
  if args.kind == "speaker":
    voice_store.check_free(args.bundle, args.name, args.replace)
  elif args.name:
    adapter_store.check_free(args.bundle, args.name, args.replace)


def _values(fields: list[str]) -> dict[str, Any]:
  """Fields of the config by name, numbers as numbers."""
  found: dict[str, Any] = {}
  for field in fields:
    name, _, text = field.removeprefix("--config.").partition("=")
    try:
      found[name] = int(text)
    except ValueError:
      try:
        found[name] = float(text)
      except ValueError:
        found[name] = text
  return found


def _prepare(args: argparse.Namespace, fields: dict[str, Any]) -> Adaptation:
  """Makes the corpus ready; everything that decides the training."""
  bundle = Bundle.load(args.bundle)
  work = args.work
  if work is None:
    beside = args.bundle.absolute()
    work = beside.parent / f"{beside.name}-adapt" / (args.name or args.kind)
  corpus = data.prepare(
    bundle,
    args.manifest,
    work / "corpus",
    args.processes or 1,
    cli.tell,
    new_language=args.kind == "language",
  )
  base, rehearsal = args.bundle, None
  if args.kind == "language":
    bundle = data.grown(bundle, corpus, args.pieces)
    base = work / "bundle"
    bundle.write(base)
  if getattr(args, "rehearsal", None) is not None:
    rehearsal = data.rehearsal(args.rehearsal, work / "rehearsal", bundle)
  emotions, models = (), ("ar", "flow_matching")
  if args.kind == "emotion":
    emotions = _emotions(args.emotions, data.emotions(corpus), args.manifest)
    models = ("ar",) if args.models == "ar" else models
  return Adaptation(
    kind=args.kind,
    name=args.name,
    bundle=args.bundle,
    base=base,
    corpus=corpus,
    work=work,
    models=models,
    emotions=emotions,
    reference=getattr(args, "reference", "neutral"),
    rehearsal=rehearsal,
    steps=args.steps,
    fields=fields,
    licence=args.licence,
  )


def _emotions(asked: str, known: dict[str, int], source) -> tuple[str, ...]:
  """Emotions to train; raises UserError for one without clips."""
  if not known:
    raise UserError(
      f"{source}: no recording names its emotion; write it into the field"
      " `emotion` of every line."
    )
  wanted = [name.strip() for name in asked.split(",") if name.strip()]
  for name in wanted:
    if name not in known:
      raise UserError(
        f"{source} has no clip of the emotion {name!r}{hint(name, known)}; it"
        f" has {', '.join(known)}."
      )
  return tuple(wanted or known)


def _expected(job: Job) -> str:
  """Line on what a run will need."""
  time = "an unknown time"
  if job.seconds is not None:
    minutes = job.seconds / 60
    time = f"about {minutes:.1f} min" if minutes >= 1 else "less than a minute"
  return (
    f"{job.model}: {job.config.steps} steps of {job.trained:,} parameters"
    f" beside {job.frozen:,} that stay; at least {job.gigabytes:.2f} GB of"
    f" memory and {time}, compiling not counted."
  )


def _next(args: argparse.Namespace, made: list[str]) -> str:
  """Sentence on how to speak with what was made."""
  if args.kind == "emotion":
    return f"`s02 synthesize --emotion {made[0]}` speaks with it."
  if args.kind == "speaker":
    return f"`s02 synthesize --voice {made[0]}` speaks with it."
  return f"`s02 adapter merge {made[0]} --out DIR` makes a bundle that has it."
