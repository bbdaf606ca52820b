"""Passes of `s02 evaluate`: speak writes clips, judge asks, score counts.

Each continues where it was interrupted. Of several shards the last to finish
scores. OUT/run.json records what is computed, and another command is refused.
"""

import argparse
import dataclasses
import functools
import hashlib
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tqdm

from s02jax.core import files, languages
from s02jax.core.errors import UserError
from s02jax.evaluation.benchmark import (
  clips,
  datasets,
  listen,
  page,
  table,
  tabulate,
)
from s02jax.evaluation.benchmark import plan as runs
from s02jax.evaluation.benchmark.datasets import Item
from s02jax.evaluation.benchmark.ledger import Ledger
from s02jax.evaluation.benchmark.listen import Judges, Listener, Specs
from s02jax.evaluation.benchmark.plan import Group, Shard
from s02jax.pretrained import recognisers
from s02jax.synthesis.request import Settings
from s02jax.synthesis.synthesizer import Synthesizer

PASSES = ("speak", "judge", "score")
NONE = "none"
_SETTINGS = ("steps", "guidance", "temperature")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
  """All that the passes share."""

  args: argparse.Namespace
  items: Sequence[Item]
  asked: Specs  # as the command line names the judges
  pins: Mapping[str, Any]
  shard: Shard
  find: clips.Find

  @property
  def specs(self) -> Specs:
    """As ledger and tables name the judges."""
    return Specs(**self.pins["judges"])

  def groups(self) -> list[Group]:
    """Of this shard."""
    return list(self.shard.of(runs.groups(self.items, self.args.seeds)))


# -------------------------------------------------------------------- reading


def parse_evaluation(args: argparse.Namespace) -> Evaluation:
  _check(args)
  items = datasets.read(
    args.benchmark, args.data, subsets=args.subsets, cloning=args.cloning
  )
  runs.check_items(items, args.seeds)
  if args.truth:
    _check_truth(args, items)
  asked = _specs(args, items)
  pins = {
    "version": tabulate.VERSION,
    "benchmark": args.benchmark,
    "data": runs.digest(items, args.data),
    "items": len(items),
    "cloning": args.cloning,
    "seeds": args.seeds,
    "system": args.name or _system(args),
    "source": _source(args),
    "judges": {
      "recognisers": {
        code: runs.spec_name(spec) for code, spec in asked.recognisers.items()
      },
      "speaker": asked.speaker and runs.spec_name(asked.speaker),
      "quality": asked.quality and runs.spec_name(asked.quality),
    },
  }
  return Evaluation(
    args=args,
    items=items,
    asked=asked,
    pins=pins,
    shard=Shard.parse(args.shard),
    find=_find(args, items),
  )


def _find(args: argparse.Namespace, items: Sequence[Item]) -> clips.Find:
  if args.bundle:
    return clips.spoken(args.out)
  return clips.folder(args.audio, items) if args.audio else clips.truth


def _check(args: argparse.Namespace) -> None:
  if args.seeds < 1:
    raise UserError(f"--seeds {args.seeds}: give 1 or more.")
  if args.only == "speak" and not args.bundle:
    raise UserError("--pass speak needs --bundle, which speaks.")
  if args.truth and args.seeds > 1:
    raise UserError("--truth has one recording of an item; leave out --seeds.")
  Settings(**{name: getattr(args, name) for name in _SETTINGS}).check()


def _check_truth(args: argparse.Namespace, items: Sequence[Item]) -> None:
  mute = [item for item in items if item.truth is None]
  if mute:
    raise UserError(
      f"{mute[0].where or args.data}: --truth needs a recording of every item,"
      f" which {len(mute)} of {len(items)} lack, {mute[0].key!r} first; choose"
      " --subsets that have them."
    )


def _specs(args: argparse.Namespace, items: Sequence[Item]) -> Specs:
  codes = list(dict.fromkeys(item.language for item in items))
  overrides = {}
  for text in args.recogniser:
    code, equals, spec = text.partition("=")
    if not (equals and spec):
      raise UserError(f"--recogniser {text}: give LANGUAGE=SPEC or *=SPEC.")
    overrides[code if code == "*" else languages.resolve(code).code] = spec
  return Specs(
    recognisers={
      code: recognisers.recogniser_spec(code, overrides) for code in codes
    },
    speaker=None if args.speaker_judge == NONE else args.speaker_judge,
    quality=None if args.quality_judge == NONE else args.quality_judge,
  )


def _system(args: argparse.Namespace) -> str:
  if args.truth:
    return "recordings"
  return (args.bundle or args.audio).resolve().name


def _source(args: argparse.Namespace) -> dict[str, Any]:
  if args.truth:
    return {"kind": "truth"}
  if args.audio:
    return {"kind": "audio"}
  digest = hashlib.sha256()
  for name in ("config.json", "card.json"):
    try:
      digest.update((args.bundle / name).read_bytes())
    except OSError as error:
      raise UserError(
        f"{args.bundle}: not a bundle; give the folder that `s02 bundle` wrote."
      ) from error
  return {
    "kind": "bundle",
    "bundle": digest.hexdigest()[:16],
    **{name: getattr(args, name) for name in _SETTINGS},
  }


# --------------------------------------------------------------------- passes


def speak(
  evaluation: Evaluation, synthesizer: Synthesizer, context: float
) -> None:
  """Speaks what has no clip yet.

  Args:
    evaluation: whose shard is spoken.
    synthesizer: of the bundle.
    context: seconds of one pass, see `long.trained_context`.

  Raises:
    UserError: an item cannot be spoken.
  """
  args = evaluation.args
  speaker = clips.Speaker(
    synthesizer,
    args.out,
    context=context,
    settings={name: getattr(args, name) for name in _SETTINGS},
    allow_missing=args.allow_missing,
  )
  _each("speak", evaluation.groups(), speaker)


def make_judges(evaluation: Evaluation) -> Judges:
  """Loads the judges. Raises UserError where one is not installed."""
  asked = evaluation.asked
  texts: dict[str, list[str]] = {}
  for item in evaluation.items:
    texts.setdefault(item.language, []).append(item.text)
  return Judges(
    recognisers=recognisers.recognisers(texts, asked.recognisers, texts=texts),
    speaker=recognisers.speaker_judge(asked.speaker) if asked.speaker else None,
    quality=recognisers.quality_judge(asked.quality) if asked.quality else None,
    specs=evaluation.specs,
  )


def judge(evaluation: Evaluation, chosen: Judges) -> None:
  """Asks the judges what has not been asked.

  Raises:
    UserError: a clip is missing or cannot be read.
  """
  args, groups = evaluation.args, evaluation.groups()
  find = evaluation.find
  if not args.allow_missing:
    listen.check_present(groups, find)
  if args.audio:  # of all shards
    found = (
      find(item, seed)
      for item in evaluation.items
      for seed in range(args.seeds)
    )
    clips.check_rates(path for path in found if path is not None)
  ledger = Ledger(args.out, evaluation.shard)
  listener = Listener(chosen, ledger, allow_missing=args.allow_missing)
  if chosen.speaker is not None:
    _judge_recordings(evaluation, listener)
  _each("judge", groups, lambda group: listener.clips(group, find))


def _judge_recordings(evaluation: Evaluation, listener: Listener) -> None:
  args = evaluation.args
  roles = {"prompt": [(i.prompt_audio, i.where) for i in evaluation.items]}
  if not args.truth:
    roles["truth"] = [(i.truth, i.where) for i in evaluation.items]
  for role, paths in roles.items():
    # A recording of several items is judged once.
    first = {path: where for path, where in reversed(paths) if path}
    named = [
      (runs.relative(path, args.data), where, path)
      for path, where in reversed(first.items())
    ]
    parts = list(evaluation.shard.of(runs.batched(named, runs.GROUP)))
    _each(f"judge {role}s", parts, functools.partial(listener.recordings, role))


def score(evaluation: Evaluation) -> None:
  """Counts, and writes the scores.

  Raises:
    scores.Unjudged: of some clips there is no judgement, or an old one.
    UserError: a clip is missing.
  """
  args = evaluation.args
  count = tabulate.Count(
    items=evaluation.items,
    seeds=args.seeds,
    root=args.data,
    out=args.out,
    find=evaluation.find,
    specs=evaluation.specs,
    truth=args.truth,
    allow_missing=args.allow_missing,
  )
  rows, worst = tabulate.rows(count, Ledger(args.out, evaluation.shard))
  pins = evaluation.pins
  found = {
    "version": tabulate.VERSION,
    **{name: pins[name] for name in ("benchmark", "cloning", "system")},
    "judges": pins["judges"],
    "source": pins["source"],
    "data": str(args.data),
    "data_digest": pins["data"],
    "items": len(evaluation.items),
    "seeds": args.seeds,
    "rows": rows,
    "mean": tabulate.mean(rows),
    "worst": worst,
  }
  tabulate.write(found, args.out)
  files.write_text(args.out / "paper.md", table.markdown(found))
  page.write(found, args.out)


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
