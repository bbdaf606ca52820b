"""`s02 evaluate`: scores any system's speech on the public benchmarks.

  s02 evaluate --bundle DIR --benchmark minimax24 --data PATH --out DIR
  s02 evaluate --audio CLIPS --benchmark seed-tts --data PATH --out DIR
  s02 evaluate --truth --benchmark manifest --data mine.jsonl --out DIR

Three passes: `speak` writes OUT/clips, `judge` OUT/judged-*.jsonl, `score`
OUT/scores.json, scores.md (all that was counted), paper.md (beside published
figures) and report.html (to read and to listen to). Each goes on where it was
interrupted. With `--shard 2/4` a process does one part of the first two;
whoever finishes last scores. OUT/run.json says what is computed, and another
command is refused.

A clip that is missing or cannot be read is an error, unless --allow-missing:
then it counts as wholly wrong and is listed.
"""

import argparse
import dataclasses
import functools
import hashlib
import logging
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tqdm

from s02jax import console, languages, metrics
from s02jax.bundle import Bundle
from s02jax.cli import run
from s02jax.errors import UserError
from s02jax.evaluation import (
  benchmarks,
  clips,
  judges,
  listening,
  score_page,
  score_table,
  scores,
)
from s02jax.evaluation import run as runs
from s02jax.evaluation.benchmarks import Item
from s02jax.evaluation.judged import Ledger
from s02jax.evaluation.listening import Judges, Listener, Specs
from s02jax.evaluation.run import Group, Shard
from s02jax.synthesis import long
from s02jax.synthesis.request import Settings
from s02jax.synthesis.synthesizer import Synthesizer

PASSES = ("speak", "judge", "score")
NONE = "none"
_SETTINGS = ("steps", "guidance", "temperature")


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="s02 evaluate",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  add = parser.add_argument
  add("--benchmark", required=True, help=", ".join(benchmarks.READERS))
  add("--data", type=pathlib.Path, required=True, help="the set, as released")
  add("--out", type=pathlib.Path, required=True, help="folder of the results")
  who = parser.add_mutually_exclusive_group(required=True)
  who.add_argument("--bundle", type=pathlib.Path, help="speaks the items")
  who.add_argument(
    "--audio",
    type=pathlib.Path,
    help="clips of any system, <subset>/<key>.wav or <key>.wav",
  )
  who.add_argument(
    "--truth", action="store_true", help="score the set's own recordings"
  )
  add("--name", help="of the system, in tables")
  add("--subsets", nargs="+", metavar="NAME", help="some of the benchmark's")
  add(
    "--cloning",
    choices=("zero-shot", "one-shot"),
    default="zero-shot",
    help="one-shot also gives the prompt's transcript (%(default)s)",
  )
  add("--seeds", type=int, default=1, help="clips of each item (%(default)s)")
  add("--steps", type=int, default=Settings.steps, help="(%(default)s)")
  add("--guidance", type=float, default=Settings.guidance, help="(%(default)s)")
  add(
    "--temperature",
    type=float,
    default=Settings.temperature,
    help="(%(default)s)",
  )
  add(
    "--recogniser",
    action="append",
    default=[],
    metavar="LANGUAGE=SPEC",
    help="of one language, or *=SPEC of all the others",
  )
  add("--speaker-judge", default=judges.SPEAKER_JUDGE, metavar="SPEC",
      help="wavlm:FILE, ge2e or none (%(default)s)")  # fmt: skip
  add("--quality-judge", default=judges.QUALITY_JUDGE, metavar="SPEC",
      help="dnsmos or none (%(default)s)")  # fmt: skip
  add("--pass", dest="only", choices=PASSES, help="one pass alone")
  add("--shard", default="1/1", help="part of the work, as 2/4")
  add("--allow-missing", action="store_true", help="missing is wholly wrong")
  return parser


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


def _evaluation(args: argparse.Namespace) -> Evaluation:
  _check(args)
  items = benchmarks.read(
    args.benchmark, args.data, subsets=args.subsets, cloning=args.cloning
  )
  runs.check_items(items, args.seeds)
  if args.truth:
    _check_truth(args, items)
  asked = _specs(args, items)
  pins = {
    "version": scores.VERSION,
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
      code: judges.recogniser_spec(code, overrides) for code in codes
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
    recognisers=judges.recognisers(texts, asked.recognisers, texts=texts),
    speaker=judges.speaker_judge(asked.speaker) if asked.speaker else None,
    quality=judges.quality_judge(asked.quality) if asked.quality else None,
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
    listening.check_present(groups, find)
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
  count = scores.Count(
    items=evaluation.items,
    seeds=args.seeds,
    root=args.data,
    out=args.out,
    find=evaluation.find,
    specs=evaluation.specs,
    truth=args.truth,
    allow_missing=args.allow_missing,
  )
  rows, worst = scores.rows(count, Ledger(args.out, evaluation.shard))
  pins = evaluation.pins
  found = {
    "version": scores.VERSION,
    **{name: pins[name] for name in ("benchmark", "cloning", "system")},
    "judges": pins["judges"],
    "source": pins["source"],
    "data": str(args.data),
    "data_digest": pins["data"],
    "items": len(evaluation.items),
    "seeds": args.seeds,
    "rows": rows,
    "mean": scores.mean(rows),
    "worst": worst,
  }
  scores.write(found, args.out)
  metrics.write_text(args.out / "paper.md", score_table.markdown(found))
  score_page.write(found, args.out)


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


def main(argv: list[str]) -> None:
  """The verb."""
  args = _parser().parse_args(argv)
  console.set_up()
  evaluation = _evaluation(args)
  passes = [args.only] if args.only else list(PASSES)
  logging.info(
    "%s: %d items of %s, %d clip(s) each, by %s",
    ", ".join(passes),
    len(evaluation.items),
    args.benchmark,
    args.seeds,
    evaluation.pins["system"],
  )
  # A judge that is not here is said before anything is spoken.
  chosen = make_judges(evaluation) if "judge" in passes else None
  runs.pin(args.out, evaluation.pins)
  if "speak" in passes and args.bundle and not _spoken(evaluation):
    bundle = Bundle.load(args.bundle)
    speak(evaluation, Synthesizer(bundle), long.trained_context(bundle))
  if chosen is not None:
    judge(evaluation, chosen)
  if "score" in passes:
    _finish(evaluation)


def _spoken(evaluation: Evaluation) -> bool:
  """Whether every clip of the shard is there."""
  find = evaluation.find
  return all(
    find(item, group.seed) is not None
    for group in evaluation.groups()
    for item in group.items
  )


def _finish(evaluation: Evaluation) -> None:
  args = evaluation.args
  try:
    score(evaluation)
  except scores.Unjudged:
    if args.only or evaluation.shard.count == 1:
      raise
    print(f"Part {args.shard} is judged; the last of the others scores.")
    return
  print(f"Wrote {args.out / 'scores.json'} and, to read, report.html.")


if __name__ == "__main__":
  sys.exit(run(main))
