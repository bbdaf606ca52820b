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
import logging
import pathlib

from s02jax.bundle import Bundle
from s02jax.core import startup
from s02jax.evaluation.benchmark import (
  datasets,
  tabulate,
)
from s02jax.evaluation.benchmark import plan as runs
from s02jax.evaluation.benchmark.passes import (
  PASSES,
  Evaluation,
  judge,
  make_judges,
  parse_evaluation,
  score,
  speak,
)
from s02jax.pretrained import recognisers
from s02jax.synthesis import long_text
from s02jax.synthesis.request import Settings
from s02jax.synthesis.synthesizer import Synthesizer


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="s02 evaluate",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  add = parser.add_argument
  add("--benchmark", required=True, help=", ".join(datasets.READERS))
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
  add("--speaker-judge", default=recognisers.SPEAKER_JUDGE, metavar="SPEC",
      help="wavlm:FILE, ge2e or none (%(default)s)")  # fmt: skip
  add("--quality-judge", default=recognisers.QUALITY_JUDGE, metavar="SPEC",
      help="dnsmos or none (%(default)s)")  # fmt: skip
  add("--pass", dest="only", choices=PASSES, help="one pass alone")
  add("--shard", default="1/1", help="part of the work, as 2/4")
  add("--allow-missing", action="store_true", help="missing is wholly wrong")
  return parser


def main(argv: list[str]) -> None:
  """The verb."""
  args = _parser().parse_args(argv)
  startup.set_up()
  evaluation = parse_evaluation(args)
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
    speak(evaluation, Synthesizer(bundle), long_text.trained_context(bundle))
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
  except tabulate.Unjudged:
    if args.only or evaluation.shard.count == 1:
      raise
    print(f"Part {args.shard} is judged; the last of the others scores.")
    return
  print(f"Wrote {args.out / 'scores.json'} and, to read, report.html.")
