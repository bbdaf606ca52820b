"""Score any system's speech on the public benchmarks.

  s02 evaluate --bundle DIR --benchmark minimax24 --data PATH --out DIR
  s02 evaluate --audio CLIPS --benchmark seed-tts --data PATH --out DIR
  s02 evaluate --truth --benchmark manifest --data clips.jsonl --out DIR

`manifest` reads the manifest of `s02 corpus manifest`, or lines with prompts of
your choice.

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
import pathlib
from collections.abc import Callable, Iterable

from s02jax.cli import options
from s02jax.core import languages, startup
from s02jax.core.errors import UserError
from s02jax.core.shard import Shard
from s02jax.evaluation.benchmark import datasets, passes
from s02jax.evaluation.benchmark.passes import Outcome
from s02jax.evaluation.benchmark.plan import PASSES, Options
from s02jax.pretrained import registry

NONE = "none"  # spec that asks no judge


def _parser() -> argparse.ArgumentParser:
  """Command line of the verb."""
  parser = options.parser("evaluate", __doc__, allow_abbrev=False)
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
  add("--name", help="name of the system, in tables")
  add("--subsets", nargs="+", metavar="NAME", help="some of the benchmark's")
  add(
    "--cloning",
    choices=("zero-shot", "one-shot"),
    default="zero-shot",
    help="one-shot also gives the prompt's transcript",
  )
  add("--seeds", type=int, default=1, help="clips of each item")
  options.add_settings(parser)
  _add_judges(add)
  add("--pass", dest="only", choices=PASSES, help="one pass alone")
  add("--shard", default="1/1", help="part of the work, as 2/4")
  add("--allow-missing", action="store_true", help="missing is wholly wrong")
  return parser


def _add_judges(add: Callable[..., object]) -> None:
  add(
    "--recogniser",
    action="append",
    default=[],
    metavar="LANGUAGE=SPEC",
    help="of one language, or *=SPEC of all the others",
  )
  add(
    "--speaker-judge",
    default=registry.SPEAKER_JUDGE,
    metavar="SPEC",
    help="wavlm:FILE, ge2e or none",
  )
  add(
    "--quality-judge",
    default=registry.QUALITY_JUDGE,
    metavar="SPEC",
    help="dnsmos or none",
  )


def _options(args: argparse.Namespace) -> Options:
  """Options of the evaluation from the command line. Raises UserError."""
  return Options(
    benchmark=args.benchmark,
    data=args.data,
    out=args.out,
    bundle=args.bundle,
    audio=args.audio,
    truth=args.truth,
    name=args.name,
    subsets=args.subsets,
    cloning=args.cloning,
    seeds=args.seeds,
    settings=options.settings(args),
    recognisers=_overrides(args.recogniser),
    speaker_judge=None if args.speaker_judge == NONE else args.speaker_judge,
    quality_judge=None if args.quality_judge == NONE else args.quality_judge,
    passes=(args.only,) if args.only else PASSES,
    shard=Shard.parse(args.shard),
    allow_missing=args.allow_missing,
  )


def _overrides(texts: Iterable[str]) -> dict[str, str]:
  """Specs by language code or "*" from LANGUAGE=SPEC. Raises UserError."""
  found = {}
  for text in texts:
    code, equals, spec = text.partition("=")
    if not (equals and spec):
      raise UserError(f"--recogniser {text}: give LANGUAGE=SPEC or *=SPEC.")
    found[code if code == "*" else languages.resolve(code).code] = spec
  return found


def main(argv: list[str]) -> None:
  """Runs `s02 evaluate`."""
  chosen = _options(_parser().parse_args(argv))
  startup.set_up()
  outcome = passes.run(chosen)
  if outcome is Outcome.WAITING:
    print(f"Part {chosen.shard} is judged; the last of the others scores.")
  elif outcome is Outcome.SCORED:
    print(f"Wrote {chosen.out / 'scores.json'} and, to read, report.html.")
