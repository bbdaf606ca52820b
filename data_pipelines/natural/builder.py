"""Builder of the natural corpus: families of voices say sentences.

Whatever an engine has spoken is kept beside the corpus until that is finished,
by a hash of all it depends on: a build that was stopped goes on from there. A
clip depends on the seed and its own numbers alone, so that neither the number
of processes nor an interruption changes a byte.
"""

import dataclasses
import hashlib
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import soundfile

from data_pipelines import clips, corpus_writer, parallel
from data_pipelines.natural import (
  colour,
  engines,
  everyday,
  people,
  spread,
  voices,
  wordnet,
)
from data_pipelines.natural.splits import Excluded
from data_pipelines.natural.texts import Texts
from s02jax.audio import loudness
from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.data import records
from s02jax.pretrained import ge2e
from s02jax.text import front

SHORTEST, LONGEST = 1.0, 15.0  # seconds of a clip
_SECONDS = 4.5  # of a clip, on average
_MOST_CLIPS = 64  # of a family, whose texts have so many numbers
_FIRST = {"hibari": 0, "kokoro": 4096}  # of these numbers, in families
_MIN_CLIPS = 2  # of a speaker, for one of them is the reference

Factory = Callable[[], engines.Engine]
ENGINES: Mapping[str, Factory] = MappingProxyType(
  {"hibari": engines.hibari, "kokoro": engines.kokoro}
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NaturalArguments:
  """Arguments of a natural corpus."""

  languages: tuple[str, ...] = ("en",)  # codes
  hours: float = 17.0  # of train, about
  speakers: int = 640  # in train, about: families have several members
  kokoro_share: float = 0.25  # of the speakers; the others are hibari's
  seen_speakers: int = 60  # train speakers, about, who also speak in `seen`
  seen_clips: int = 2  # clips of each of them
  unseen_speakers: int = 42  # speakers in `unseen`, about, of a style held out
  unseen_clips: int = 5  # clips of each of them
  rate: int = 24_000  # Hz
  seed: int = 0  # of voices and sentences


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
  """Places that a natural corpus is made from."""

  wordnet: pathlib.Path | None = None  # folder; None: where Debian has it
  exclude: tuple[pathlib.Path, ...] = ()  # texts that may not be said
  people: pathlib.Path | None = None  # manifest of recordings that join
  clips: pathlib.Path | None = None  # folder that keeps what engines spoke


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
  """Family that a worker process lets speak in one split."""

  family: voices.Family
  engine: Factory
  language: str  # code
  split: str
  texts: tuple[str, ...]  # as written
  rate: int  # of the corpus, Hz
  clips: pathlib.Path  # folder of what was spoken


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failed:
  """Clip that did not become a record."""

  id: str
  reason: str  # sentence for a person


def speak(task: Task) -> list[clips.Example | Failed]:
  """Makes the clips of a family: each text once by each member."""
  made: list[clips.Example | Failed] = []
  for number, written in enumerate(task.texts):
    text = front.words(written, task.language)
    wave = _spoken(task, text)
    for member in task.family.members:
      name = f"{member.name}-{task.split}-{number:04d}"
      try:
        made.append(_example(task, member, name, text, wave))
      except clips.Unusable as error:
        made.append(Failed(id=name, reason=str(error)))
  return made


def _spoken(task: Task, text: str) -> np.ndarray:
  """What the engine says, float32 [n] at its rate: kept, or rendered now."""
  family = task.family
  key = repr((family.engine, family.style, family.speed, text))
  name = hashlib.blake2b(key.encode(), digest_size=12).hexdigest()
  path = task.clips / name[:2] / f"{name}.flac"
  if not path.exists():
    wave = task.engine().render(text, family.style, family.speed)
    # Levelled before it is rounded, and read again: alike however often.
    wave = loudness.level(wave, engines.RATE) if np.any(wave) else wave
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic(path) as temporary, open(temporary, "wb") as file:
      soundfile.write(file, wave, engines.RATE, "PCM_16", format="FLAC")
  return soundfile.read(path, dtype="float32")[0]


def _example(
  task: Task, member: voices.Member, name: str, text: str, wave: np.ndarray
) -> clips.Example:
  """Makes the record of a member. Raises Unusable."""
  if np.max(np.abs(wave), initial=0) < loudness.SILENCE:
    raise clips.Unusable("the engine says nothing")
  wave = colour.recolour(wave, engines.RATE, member.colour, task.rate)
  wave = loudness.trim_and_level(wave, task.rate, task.rate)
  seconds = len(wave) / task.rate
  if not SHORTEST <= seconds <= LONGEST:
    raise clips.Unusable(
      f"{seconds:.1f} s is not between {SHORTEST:g} and {LONGEST:g} s"
    )
  audio, num_samples = clips.encode(wave, task.rate)
  return clips.Example(
    id=name,
    audio=audio,
    num_samples=num_samples,
    text=text,
    language=task.language,
    speaker=member.name,
    source=task.family.source,
  )


def crashed(task: Task) -> list[clips.Example | Failed]:
  """Failure of a family whose engine ended its process."""
  name = f"{task.family.name}-{task.split}"
  return [Failed(id=name, reason=f"the engine {task.family.engine} crashed")]


class Plan:
  """Families of each split, and the clips of each."""

  def __init__(self, arguments: NaturalArguments):
    """Shares out speakers and clips."""
    self._seed = arguments.seed
    kokoro = arguments.kokoro_share
    parts = {"hibari": 1 - kokoro, "kokoro": kokoro}
    train = self._families("train", arguments.speakers, parts)
    speakers = sum(len(family.members) for family in train)
    each = round(arguments.hours * 3600 / _SECONDS / speakers)
    seen = self._families("train", arguments.seen_speakers, parts)
    unseen = self._families("unseen", arguments.unseen_speakers, {"kokoro": 1})
    self.families = {"train": train, "seen": seen, "unseen": unseen}
    self.clips = {
      "train": min(max(each, _MIN_CLIPS), _MOST_CLIPS),
      "seen": arguments.seen_clips,
      "unseen": arguments.unseen_clips,
    }

  def _families(
    self, split: str, speakers: int, parts: Mapping[str, float]
  ) -> list[voices.Family]:
    """Draws families for about so many speakers."""
    return [
      voices.family(self._seed, split, engine, number)
      for engine, share in parts.items()
      for number in range(round(speakers * share / voices.MEMBERS[engine]))
    ]

  def __len__(self) -> int:
    """Number of clips, if none fails."""
    return sum(
      self.clips[split] * len(family.members)
      for split, families in self.families.items()
      for family in families
    )


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
    engines.check()
  excluded = Excluded(sources.exclude)
  identity = dataclasses.asdict(arguments) | {
    "wordnet": wordnet.identity(folder),
    "excluded": excluded.digest,
    "people": people.identity(sources.people),
  }
  with (
    corpus_writer.CorpusWriter(
      out,
      rate=arguments.rate,
      builder="natural",
      arguments=identity,
      texts=front.RULES,
      tell=tell,
      notes=_NOTES + (people.NOTE if sources.people else ""),
    ) as writer,
    parallel.Workers(processes) as workers,
  ):
    if writer.finished:
      return
    kept = sources.clips or out.with_name(f".{out.name}.clips")
    kept.mkdir(parents=True, exist_ok=True)
    texts = Texts(arguments.languages[0], folder, excluded, arguments.seed)
    plan = Plan(arguments)
    total = len(plan)
    streams = {
      split: _examples(
        workers, writer, _tasks(plan, split, texts, arguments, kept, factories)
      )
      for split in records.SPLITS
    }
    if sources.people:
      joined = people.Joined(sources.people, arguments, kept, writer, workers)
      total += len(joined)
      streams = {
        split: _chain(stream, joined.examples(split))
        for split, stream in streams.items()
      }
    writer.write(streams, total)
  if not sources.clips:
    shutil.rmtree(kept)
  if ge2e.is_installed():
    for kind, found in spread.measure(out).items():
      tell(spread.sentence(kind, found))


def _chain(*streams: Iterator[clips.Example]) -> Iterator[clips.Example]:
  for stream in streams:
    yield from stream


def _tasks(
  plan: Plan,
  split: str,
  texts: Texts,
  arguments: NaturalArguments,
  kept: pathlib.Path,
  factories: Mapping[str, Factory],
) -> Iterator[Task]:
  for family in plan.families[split]:
    # Of the family alone, so that a larger corpus says them too.
    first = (_FIRST[family.engine] + family.number) * _MOST_CLIPS
    numbers = range(first, first + plan.clips[split])
    yield Task(
      family=family,
      engine=factories[family.engine],
      language=arguments.languages[0],
      split=split,
      texts=tuple(texts.text(split, number) for number in numbers),
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
