"""Time that counting takes once the judges have spoken.

A scoring pass over a made-up ledger: texts with transcripts in which one place
in ten is wrong.
"""

import contextlib
import dataclasses
import io
import json
import pathlib
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from s02jax.core import languages
from s02jax.core.shard import Shard
from s02jax.evaluation.benchmark import plan
from s02jax.evaluation.benchmark.items import Item
from s02jax.evaluation.benchmark.ledger import Asked, JudgeAnswer, Ledger
from s02jax.pretrained import registry

WRONG = 0.1  # share of the words, or of the characters


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoringTime:
  """Time of one scoring pass."""

  pairs: int  # texts with transcripts
  languages: int
  seconds: float  # wall clock
  cpu_seconds: float  # all threads together


def heard(text: str, language: str, other: str, rng: random.Random) -> str:
  """Transcript of a text with every tenth place wrong.

  Args:
    text: what was said.
    language: code of its language.
    other: text whose words replace some of them.
    rng: source of the errors.
  """
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
  """Yields `pairs` items by language, repeated, with keys of their own."""
  chosen = [items[i % len(items)] for i in range(pairs)]
  chosen.sort(key=lambda item: item.language)
  for i, item in enumerate(chosen):
    yield dataclasses.replace(item, key=f"pair_{i:07d}")


def measure(
  items: Sequence[Item], pairs: int, evaluate: Callable[[list[str]], Any]
) -> ScoringTime:
  """Scores `pairs` pairs of text and transcript made of `items`.

  Args:
    items: texts of a manifest.
    pairs: how many to score; the texts are repeated.
    evaluate: `s02 evaluate`, a function of its arguments.
  """
  rng = random.Random(0)
  specs = {
    code: plan.spec_name(registry.recogniser_spec(code, {}))
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
      answers.append((asked, JudgeAnswer(file="", heard=said)))
    listed.write_text("".join(lines), encoding="utf-8")
    Ledger(out, Shard()).add(answers)
    command = ["--benchmark", "manifest", "--data", str(listed)]
    command += ["--audio", str(clips), "--out", str(out), "--pass", "score"]
    command += ["--speaker-judge", "none", "--quality-judge", "none"]
    del lines, answers
    began, busy = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
      evaluate(command)
    return ScoringTime(
      pairs=pairs,
      languages=len(specs),
      seconds=time.perf_counter() - began,
      cpu_seconds=time.process_time() - busy,
    )


def describe(result: ScoringTime) -> str:
  """A measurement in one line."""
  return (
    f"{result.pairs:,} pairs in {result.languages} languages: "
    f"{result.seconds:.1f} s, {result.cpu_seconds:.1f} s of a core"
  )
