"""`s02 bench scoring`: how long counting takes once the judges have spoken.

  s02 bench scoring --data mine.jsonl [--pairs 100000] [--json FILE]

The texts of a manifest (`s02 evaluate --benchmark manifest`) are repeated until
there are enough. Each is "heard" with one place in ten wrong: a word left out,
said twice, or of another text. What is timed is `s02 evaluate --pass score`
itself: reading list and transcripts, checking, both text pipelines, intervals,
tables and page. It runs in one thread.
"""

import contextlib
import dataclasses
import io
import json
import pathlib
import random
import tempfile
import time
from collections.abc import Iterator, Sequence

from s02jax.cli import bench, evaluate
from s02jax.core import files, languages
from s02jax.core.errors import UserError
from s02jax.evaluation.benchmark import datasets, plan
from s02jax.evaluation.benchmark.datasets import Item
from s02jax.evaluation.benchmark.ledger import Asked, Ledger
from s02jax.pretrained import recognisers

WRONG = 0.1  # of the words, or of the characters


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
  """One measurement."""

  pairs: int
  languages: int
  seconds: float  # of the wall
  cpu_seconds: float  # of all threads


def heard(text: str, language: str, other: str, rng: random.Random) -> str:
  """A text with every tenth place wrong, where `other` stands in for words."""
  joint = " " if languages.BY_CODE[language].metric == "wer" else ""
  words, wrong = (x.split() if joint else list(x) for x in (text, other))
  kept: list[str] = []
  for word in words:
    if rng.random() >= WRONG:
      kept.append(word)
    else:
      kept += rng.choice(([], [word, word], [rng.choice(wrong)]))
  return joint.join(kept)


def repeated(items: Sequence[Item], pairs: int) -> Iterator[Item]:
  """`pairs` items, a language's side by side, with keys of their own."""
  chosen = [items[i % len(items)] for i in range(pairs)]
  chosen.sort(key=lambda item: item.language)
  for i, item in enumerate(chosen):
    yield dataclasses.replace(item, key=f"pair_{i:07d}")


def measure(items: Sequence[Item], pairs: int) -> Result:
  """Scores `pairs` pairs of text and transcript made of `items`."""
  rng = random.Random(0)
  specs = {
    code: plan.spec_name(recognisers.recogniser_spec(code, {}))
    for code in {item.language for item in items}
  }
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    out, clips, listed = folder / "out", folder / "clips", folder / "list.jsonl"
    out.mkdir()
    clips.mkdir()
    lines, answers = [], []
    for item in repeated(items, pairs):
      code = item.language
      row = {"key": item.key, "text": item.text, "language": code}
      row["prompt_audio"] = str(item.prompt_audio)  # there, but not read
      lines.append(json.dumps(row, ensure_ascii=False) + "\n")
      other = rng.choice(items).text
      said = heard(item.text, code, other, rng)
      asked = Asked("clip", item.subset, item.key, 0, specs[code])
      answers.append((asked, {"file": "", "heard": said}))
    listed.write_text("".join(lines), encoding="utf-8")
    Ledger(out, plan.Shard()).add(answers)
    command = ["--benchmark", "manifest", "--data", str(listed)]
    command += ["--audio", str(clips), "--out", str(out), "--pass", "score"]
    command += ["--speaker-judge", "none", "--quality-judge", "none"]
    del lines, answers
    began, busy = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
      evaluate.main(command)
    return Result(
      pairs=pairs,
      languages=len(specs),
      seconds=time.perf_counter() - began,
      cpu_seconds=time.process_time() - busy,
    )


def main(argv: list[str]) -> int:
  """The command."""
  parser = bench.parser("scoring", __doc__)
  parser.add_argument("--data", type=pathlib.Path, required=True)
  parser.add_argument("--pairs", type=int, default=100_000)
  args = parser.parse_args(argv)
  if args.pairs < 1:
    raise UserError(f"--pairs {args.pairs}: give 1 or more.")
  result = measure(datasets.read("manifest", args.data), args.pairs)
  print(
    f"{result.pairs:,} pairs in {result.languages} languages: "
    f"{result.seconds:.1f} s, {result.cpu_seconds:.1f} s of a core"
  )
  if args.json:
    files.write_json(args.json, dataclasses.asdict(result))
  return 0
