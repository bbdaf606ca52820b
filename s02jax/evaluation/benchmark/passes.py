"""Passes of `s02 evaluate`: speak writes clips, judge asks, score counts.

Each continues where it was interrupted. Of several shards the last to finish
scores. OUT/run.json records what is computed, and another command is refused.
"""

import dataclasses
import enum
import functools
import hashlib
import json
import logging
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tqdm

from s02jax.bundle import Bundle
from s02jax.core.errors import UserError
from s02jax.evaluation.benchmark import (
  clips,
  datasets,
  listen,
  page,
  plan,
  table,
  tabulate,
)
from s02jax.evaluation.benchmark.items import Item
from s02jax.evaluation.benchmark.ledger import Ledger
from s02jax.evaluation.benchmark.listen import Judges, Listener
from s02jax.evaluation.benchmark.plan import (
  Evaluation,
  Find,
  JudgeSpecs,
  Options,
  Pins,
)
from s02jax.evaluation.benchmark.scores import VERSION
from s02jax.pretrained import registry
from s02jax.synthesis import long_text
from s02jax.synthesis.render.flow import solver_settings
from s02jax.synthesis.synthesizer import Synthesizer


class Outcome(enum.Enum):
  """Result of a command."""

  PASSED = "the passes that were asked for are done"
  WAITING = "this shard is judged, others are not: nothing is scored yet"
  SCORED = "the scores are written"


def run(options: Options) -> Outcome:
  """Runs the passes of one command.

  Raises:
    UserError: an option is out of range, the set or a clip is faulty, a judge
      is not installed, or the folder holds another evaluation.
  """
  evaluation = prepare(options)
  passes = options.passes
  logging.info(
    "%s: %d items of %s, %d clip(s) each, by %s",
    ", ".join(passes),
    len(evaluation.items),
    options.benchmark,
    options.seeds,
    evaluation.pins.system,
  )
  # A judge that is not installed is reported before anything is spoken.
  judges = make_judges(evaluation) if "judge" in passes else None
  plan.pin(options.out, evaluation.pins)
  if "speak" in passes and options.bundle:
    speak(evaluation)
  if judges is not None:
    judge(evaluation, judges)
  if "score" not in passes:
    return Outcome.PASSED
  try:
    score(evaluation)
  except tabulate.Unjudged:
    if len(passes) == 1 or options.shard.count == 1:
      raise
    return Outcome.WAITING
  return Outcome.SCORED


# ----------------------------------------------------------------- preparation


def prepare(options: Options) -> Evaluation:
  """Checks the options and reads the set. Raises UserError."""
  _check(options)
  items = datasets.read(
    options.benchmark,
    options.data,
    subsets=options.subsets,
    cloning=options.cloning,
  )
  plan.check_items(items, options.seeds)
  if options.truth:
    _check_truth(options, items)
  asked = _specs(options, items)
  return Evaluation(
    options=options,
    items=items,
    asked=asked,
    pins=Pins(
      version=VERSION,
      benchmark=options.benchmark,
      data=plan.digest(items, options.data),
      items=len(items),
      cloning=options.cloning,
      seeds=options.seeds,
      system=options.name or _system(options),
      source=_source(options),
      judges=asked.portable(),
    ),
    find=_finder(options, items),
  )


def _finder(options: Options, items: Sequence[Item]) -> Find:
  """Finder of the clips that are scored."""
  if options.bundle:
    return clips.spoken(options.out)
  return clips.folder(options.audio, items) if options.audio else clips.truth


def _check(options: Options) -> None:
  """Raises UserError for options that are out of range or contradictory."""
  if options.seeds < 1:
    raise UserError(f"--seeds {options.seeds}: give 1 or more.")
  if tuple(options.passes) == ("speak",) and not options.bundle:
    raise UserError("--pass speak needs --bundle, which speaks.")
  if options.truth and options.seeds > 1:
    raise UserError("--truth has one recording of an item; leave out --seeds.")
  options.settings.check()


def _check_truth(options: Options, items: Sequence[Item]) -> None:
  """Raises UserError where an item has no recording to be scored."""
  mute = [item for item in items if item.truth is None]
  if mute:
    raise UserError(
      f"{mute[0].where or options.data}: --truth needs a recording of every"
      f" item, which {len(mute)} of {len(items)} lack, {mute[0].key!r} first;"
      " choose --subsets that have them."
    )


def _specs(options: Options, items: Sequence[Item]) -> JudgeSpecs:
  """Specs of the judges, with a recogniser for each language of the set."""
  codes = list(dict.fromkeys(item.language for item in items))
  return JudgeSpecs(
    recognisers={
      code: registry.recogniser_spec(code, options.recognisers)
      for code in codes
    },
    speaker=options.speaker_judge,
    quality=options.quality_judge,
  )


def _system(options: Options) -> str:
  """Name of the system where none was given: that of its folder."""
  folder = options.bundle or options.audio
  return folder.resolve().name if folder else "recordings"


def _source(options: Options) -> dict[str, Any]:
  """Origin of the clips for run.json. Raises UserError."""
  if options.truth:
    return {"kind": "truth"}
  if options.bundle is None:
    return {"kind": "audio"}
  try:
    config, card = (
      (options.bundle / name).read_bytes()
      for name in ("config.json", "card.json")
    )
  except OSError as error:
    raise UserError(
      f"{options.bundle}: not a bundle; give the folder that `s02 bundle`"
      " wrote."
    ) from error
  settings = dataclasses.asdict(options.settings)
  del settings["seed"]  # each clip has its own
  models = json.loads(config).get("models", {})
  for name, own in solver_settings(models.get("flow_matching", {})).items():
    if settings[name] is None:
      settings[name] = own
  return {
    "kind": "bundle",
    "bundle": hashlib.sha256(config + card).hexdigest()[:16],
    **settings,
  }


# --------------------------------------------------------------------- passes


def speak(evaluation: Evaluation) -> None:
  """Speaking pass: synthesizes the shard's clips that are not there yet.

  Raises:
    UserError: the bundle cannot be read, or an item cannot be spoken.
  """
  options, groups = evaluation.options, evaluation.groups()
  spoken = all(
    evaluation.find(item, group.seed) is not None
    for group in groups
    for item in group.items
  )
  if spoken:
    return
  assert options.bundle is not None
  synthesizer, context = load_synthesizer(options.bundle)
  maker = clips.ClipMaker(
    synthesizer,
    options.out,
    context=context,
    settings=options.settings,
    allow_missing=options.allow_missing,
  )
  _each("speak", groups, maker)


def load_synthesizer(path: pathlib.Path) -> tuple[Synthesizer, float]:
  """Loads a bundle: its synthesizer, and seconds that it was trained on."""
  bundle = Bundle.load(path)
  return Synthesizer(bundle), long_text.trained_context(bundle)


def make_judges(evaluation: Evaluation) -> Judges:
  """Loads the judges. Raises UserError where one is not installed."""
  asked = evaluation.asked
  texts: dict[str, list[str]] = {}
  for item in evaluation.items:
    texts.setdefault(item.language, []).append(item.text)
  return Judges(
    recognisers=registry.recognisers(texts, asked.recognisers, texts=texts),
    speaker=registry.speaker_judge(asked.speaker) if asked.speaker else None,
    quality=registry.quality_judge(asked.quality) if asked.quality else None,
    specs=evaluation.pins.judges,
  )


def judge(evaluation: Evaluation, judges: Judges) -> None:
  """Judging pass: asks about the files that the ledger does not know.

  Raises:
    UserError: a clip is missing or cannot be read.
  """
  options, groups = evaluation.options, evaluation.groups()
  find = evaluation.find
  if not options.allow_missing:
    listen.check_present(groups, find)
  if options.audio:  # clips of all shards
    found = (
      find(item, seed)
      for item in evaluation.items
      for seed in range(options.seeds)
    )
    clips.check_rates(path for path in found if path is not None)
  ledger = Ledger(options.out, options.shard)
  listener = Listener(judges, ledger, allow_missing=options.allow_missing)
  if judges.speaker is not None:
    _judge_recordings(evaluation, listener)
  _each("judge", groups, lambda group: listener.clips(group, find))


def _judge_recordings(evaluation: Evaluation, listener: Listener) -> None:
  """Judges the voices of the shard's prompts and truths."""
  options = evaluation.options
  roles = {"prompt": [(i.prompt_audio, i.where) for i in evaluation.items]}
  if not options.truth:
    roles["truth"] = [(i.truth, i.where) for i in evaluation.items]
  for role, paths in roles.items():
    # A recording of several items is judged once.
    first = {path: where for path, where in reversed(paths) if path}
    named = [
      (plan.relative(path, options.data), where, path)
      for path, where in reversed(first.items())
    ]
    parts = list(options.shard.of(plan.batched(named, plan.GROUP)))
    _each(f"judge {role}s", parts, functools.partial(listener.recordings, role))


def score(evaluation: Evaluation) -> None:
  """Scoring pass: writes scores, tables and page.

  Raises:
    tabulate.Unjudged: some clips have no judgement, or an old one.
    UserError: a clip is missing.
  """
  options = evaluation.options
  found = tabulate.tabulate(evaluation, Ledger(options.out, options.shard))
  found.write(options.out)
  table.write(found, options.out)
  page.write(found, options.out)


def _each(what: str, parts: Sequence[Any], do: Callable[[Any], None]) -> None:
  """Does all parts, with a bar on a terminal, else a line at each tenth."""
  on_terminal = sys.stderr.isatty()
  for i, part in enumerate(
    tqdm.tqdm(parts, what, disable=not on_terminal), start=1
  ):
    do(part)
    tenths = [n * 10 // len(parts) for n in (i - 1, i)]
    if not on_terminal and tenths[0] != tenths[1]:
      logging.info("%s: %d of %d", what, i, len(parts))
