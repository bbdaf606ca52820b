"""Builder of the natural corpus: families of voices say sentences.

Whatever an engine has spoken is kept beside the corpus until that is finished,
by a hash of all it depends on: a build that was stopped goes on from there. A
clip depends on the seed and its own numbers alone, so that neither the number
of processes nor an interruption changes a byte.
"""

import dataclasses
import itertools
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from data_pipelines import clips, corpus_writer, parallel
from data_pipelines.natural import (
  engines,
  everyday,
  people,
  spread,
  wordnet,
)
from data_pipelines.natural.plan import NaturalArguments, Plan
from data_pipelines.natural.speaking import (
  Factory,
  Failed,
  Task,
  crashed,
  speak,
)
from data_pipelines.natural.splits import Excluded
from data_pipelines.natural.texts import Texts
from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.data import records
from s02jax.pretrained import ge2e
from s02jax.text import front

ENGINES: Mapping[str, Factory] = MappingProxyType(
  {"hibari": engines.hibari, "kokoro": engines.kokoro}
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
  """Places that a natural corpus is made from."""

  wordnet: pathlib.Path | None = None  # folder; None: where Debian has it
  exclude: tuple[pathlib.Path, ...] = ()  # texts that may not be said
  people: pathlib.Path | None = None  # manifest of recordings that join
  clips: pathlib.Path | None = None  # folder that keeps what engines spoke


def check(arguments: NaturalArguments, sources: Sources) -> None:
  """Raises UserError for arguments that no corpus can be made of."""
  for code in arguments.languages:
    if not everyday.known(code):
      raise UserError(f"language {code!r} has no natural voices: use en")
  if len(set(arguments.languages)) != len(arguments.languages):
    raise UserError("--languages names a language twice")
  if arguments.hours <= 0 or arguments.speakers < 1:
    raise UserError("--hours and --speakers must be above 0")
  if not 0 <= arguments.kokoro_share <= 1:
    raise UserError("--kokoro_share must be from 0 to 1")
  if sources.people and not sources.people.is_file():
    raise UserError(f"cannot read {sources.people}: there is no such file")


def build(
  arguments: NaturalArguments,
  sources: Sources,
  out: pathlib.Path,
  processes: int,
  tell: corpus_writer.Tell,
  factories: Mapping[str, Factory] = ENGINES,
) -> None:
  """Builds the corpus, unless it is already there.

  Args:
    arguments: hours, speakers, seed.
    sources: texts, recordings that join, and the folder of spoken clips.
    out: corpus folder.
    processes: processes that speak.
    tell: gets lines for people.
    factories: makers of the engines; worker processes must be able to import
      them.

  Raises:
    UserError: impossible arguments, an engine or WordNet is missing, or a
      folder that cannot be written.
  """
  check(arguments, sources)
  folder = wordnet.find(sources.wordnet)
  if factories is ENGINES:
    engines.prepare()
  excluded = Excluded(sources.exclude)
  writer = _writer(arguments, sources, folder, excluded, out, tell)
  with writer, parallel.Workers(processes) as workers:
    if writer.finished:
      return
    kept = sources.clips or out.with_name(f".{out.name}.clips")
    with files.explain_errors(kept, "clips"):
      kept.mkdir(parents=True, exist_ok=True)
    texts = Texts(arguments.languages[0], folder, excluded, arguments.seed)
    plan = Plan(arguments)
    tasks = {
      split: _tasks(plan, split, texts, arguments, kept, factories)
      for split in records.SPLITS
    }
    streams = {
      split: _examples(workers, writer, tasks[split])
      for split in records.SPLITS
    }
    total = len(plan)
    if sources.people:
      joined = people.Joined(sources.people, arguments, kept, writer, workers)
      total += len(joined)
      streams = {
        split: itertools.chain(stream, joined.examples(split))
        for split, stream in streams.items()
      }
    writer.write(streams, total)
  if not sources.clips:
    shutil.rmtree(kept)
  if ge2e.is_installed():
    for kind, found in spread.measure(out).items():
      tell(spread.sentence(kind, found))


def _writer(
  arguments: NaturalArguments,
  sources: Sources,
  folder: pathlib.Path,
  excluded: Excluded,
  out: pathlib.Path,
  tell: corpus_writer.Tell,
) -> corpus_writer.CorpusWriter:
  """Makes the writer; its card has all that the corpus is a function of."""
  return corpus_writer.CorpusWriter(
    out,
    rate=arguments.rate,
    builder="natural",
    arguments=dataclasses.asdict(arguments)
    | {
      "wordnet": wordnet.identity(folder),
      "excluded": excluded.digest,
      "people": people.identity(sources.people),
    },
    texts=front.RULES,
    tell=tell,
    notes=_NOTES + (people.NOTE if sources.people else ""),
  )


def _tasks(
  plan: Plan,
  split: str,
  texts: Texts,
  arguments: NaturalArguments,
  kept: pathlib.Path,
  factories: Mapping[str, Factory],
) -> Iterator[Task]:
  for family in plan.families[split]:
    yield Task(
      family=family,
      engine=factories[family.engine],
      language=arguments.languages[0],
      split=split,
      texts=tuple(
        texts.text(split, number) for number in plan.numbers(split, family)
      ),
      rate=arguments.rate,
      clips=kept,
    )


def _examples(
  workers: parallel.Workers,
  writer: corpus_writer.CorpusWriter,
  tasks: Iterator[Task],
) -> Iterator[clips.Example]:
  """Speaks tasks in order; what fails is noted."""
  found: Sequence[clips.Example | Failed]
  for found in workers.map(speak, tasks, crashed):
    for one in found:
      if isinstance(one, Failed):
        writer.reject(line=0, id=one.id, path="", reason=one.reason)
      else:
        yield one


_NOTES = (
  "Speech of two synthesizers, hibari-tts and Kokoro-82M (both Apache-2.0), in"
  " voices made of theirs; part of what Kokoro was trained on is synthetic. The"
  " texts are everyday sentences of this project and, under Princeton's"
  " licence, examples and glosses of WordNet 3.0. No text of seen and unseen"
  " occurs in train, and no voice of unseen."
)
