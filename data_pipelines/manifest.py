"""Builder of a corpus from recordings listed in a JSON Lines file.

Each line is an object with `path` (from the manifest's folder), `text`,
`language` and `speaker`, and may have `id`, `emotion` and `description`
(`s02 evaluate` reads the same). The manifest is read twice and more, never
held: a first pass decides the split of every line by hashes of its speaker and
its text, then one pass per split decodes. A text is cleaned, capitals are
folded, and numbers, dates, signs and the like become the words that a reader
says, as in synthesis (`s02jax.text.front`). Whatever cannot become a record
goes to rejected.jsonl, what is doubtful about one to warnings.jsonl.
"""

import dataclasses
import hashlib
import itertools
import json
import math
import pathlib
import unicodedata
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np

from data_pipelines import clips, corpus_writer, parallel, sounds
from data_pipelines.hashing import digest
from s02jax.audio import recording
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.data import records
from s02jax.pretrained import silero
from s02jax.pretrained.doubts import doubts
from s02jax.text import front, pace, phonetic
from s02jax.text.clean import clean

# Most seconds that are decoded in search of speech, in clips of most length.
_DECODED = 10
# Fate of a line; the first three index records.SPLITS.
_TRAIN, _SEEN, _UNSEEN, _HELD_OUT, _NOTHING_LEFT = range(5)
_REASONS = {
  _HELD_OUT: "text is held out for the unseen split",
  _NOTHING_LEFT: "its speaker has no clip left to train on: every text of"
  " theirs is held out",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ManifestArguments:
  """Arguments by which the listed recordings become a corpus."""

  rate: int = 16_000  # of the corpus, Hz
  min_seconds: float = 0.3  # shortest clip, after trimming
  max_seconds: float = 30.0  # longest clip, after trimming
  unseen_speakers: float = 0.1  # share of the speakers who are never in train
  unseen_budget: float = 0.15  # most of all clips that this may cost train
  held_out_texts: float = 0.05  # share of the texts, for the seen split
  allow_empty_text: bool = False  # keep clips without transcript
  sounds: float = 0.0  # share of the words in train that are written by sounds
  seed: int = 0  # of the choice of unseen speakers and held-out texts


@dataclasses.dataclass(frozen=True, kw_only=True)
class ManifestEntry:
  """Recording that a good line of the manifest names."""

  line: int  # number of the line, from 1
  id: str  # unique within the manifest
  path: str  # as written
  text: str  # in spoken words, NFC, without spaces at its ends
  language: str  # code of `core/languages.py`
  speaker: str  # name of the person
  emotion: str  # empty if unknown
  description: str  # of the speaker's voice; empty if unknown


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rejection:
  """Line of the manifest that does not become a record."""

  line: int  # number of the line, from 1
  id: str  # empty if the line has none
  path: str  # empty if the line has none
  reason: str  # sentence for a person


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
  """Recording that a worker process is to decode."""

  entry: ManifestEntry
  split: str
  path: pathlib.Path  # of the audio file
  arguments: ManifestArguments


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made:
  """Record that a worker made, and what is doubtful about it."""

  line: int  # number of the line, from 1
  example: clips.Example
  warnings: tuple[str, ...]  # sentences for a person


def text_key(text: str) -> str:
  """Key shared by texts that sound alike: their letters and digits, caseless.

  A text without either is its own key.
  """
  letters = "".join(
    character
    for character in text.casefold()
    if unicodedata.category(character)[0] in "LMN"
  )
  return letters or text


def _string(fields: dict[str, Any], name: str) -> str:
  """Reads a field as NFC without spaces at its ends.

  Raises:
    Unusable: the field is no string, or not Unicode.
  """
  value = fields[name]
  if not isinstance(value, str):
    raise clips.Unusable(
      f"field {name!r} is {json.dumps(value)[:40]}, not a string"
    )
  try:
    value.encode()
  except UnicodeEncodeError:
    raise clips.Unusable(
      f"field {name!r} holds an unpaired surrogate"
    ) from None
  return unicodedata.normalize("NFC", value).strip()


def _optional(fields: dict[str, Any], name: str) -> str:
  return "" if fields.get(name) is None else _string(fields, name)


def _parse(line: str) -> dict[str, Any]:
  try:
    fields = json.loads(line)
  except ValueError as error:
    raise clips.Unusable(f"not JSON: {error}") from None
  if not isinstance(fields, dict):
    raise clips.Unusable("not a JSON object")
  return fields


def _make_entry(
  number: int, fields: dict[str, Any], allow_empty: bool
) -> ManifestEntry:
  missing = [
    name
    for name in ("path", "text", "language", "speaker")
    if name not in fields
  ]
  if missing:
    raise clips.Unusable(f"field {missing[0]!r} is missing")
  if not isinstance(fields["path"], str) or not fields["path"]:
    raise clips.Unusable("field 'path' is not the name of a file")
  speaker = _string(fields, "speaker")
  if not speaker:
    raise clips.Unusable("field 'speaker' is empty")
  try:
    language = languages.resolve(_string(fields, "language")).code
  except UserError as error:
    raise clips.Unusable(str(error)) from None
  written = clean(_string(fields, "text"))
  if not written and not allow_empty:
    raise clips.Unusable(
      "text is empty; --allow_empty_text keeps such clips for the audio models"
    )
  text = front.words(written, language)
  if written and not any(map(str.isalnum, text)):
    raise clips.Unusable(f"text {written!r} has no letter and no digit")
  return ManifestEntry(
    line=number,
    id=_optional(fields, "id") or fields["path"],
    path=fields["path"],
    text=text,
    language=language,
    speaker=speaker,
    emotion=_optional(fields, "emotion"),
    description=_optional(fields, "description"),
  )


def read_entries(
  manifest: pathlib.Path, allow_empty: bool
) -> Iterator[ManifestEntry | Rejection]:
  """Reads every line that is not blank, in order.

  Args:
    manifest: JSON Lines file.
    allow_empty: accept lines without text.

  Raises:
    OSError: the file cannot be read.
  """
  with open(manifest, "rb") as file:
    for number, raw in enumerate(file, start=1):
      if not raw.strip():
        continue
      fields: dict[str, Any] = {}
      try:
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        fields = _parse(line)
        yield _make_entry(number, fields, allow_empty)
      except (clips.Unusable, UnicodeDecodeError) as error:
        yield Rejection(
          line=number,
          id=str(fields.get("id", "")),
          path=str(fields.get("path", "")),
          reason=str(error),
        )


class Plan:
  """Fate of each line, decided in a first pass; about 100 bytes a line."""

  def __init__(self, manifest: pathlib.Path, arguments: ManifestArguments):
    """Reads the manifest once and decides."""
    self._manifest = manifest
    self._arguments = arguments
    self._rejections: list[Rejection] = []
    self._speakers: dict[str, int] = {}
    self._language: dict[int, str] = {}  # speaker -> their first language
    speaker, key, lines = array("q"), array("Q"), array("q")
    first_line: dict[int, int] = {}
    for entry in read_entries(manifest, arguments.allow_empty_text):
      if isinstance(entry, Rejection):
        self._rejections.append(entry)
        continue
      known = first_line.setdefault(digest(entry.id), entry.line)
      if known != entry.line:
        reason = f"id {entry.id!r} is already used by line {known}"
        self._rejections.append(_reject(entry, reason))
        continue
      number = self._speakers.setdefault(entry.speaker, len(self._speakers))
      self._language.setdefault(number, entry.language)
      speaker.append(number)
      lines.append(entry.line)
      key.append(digest(text_key(entry.text)) if entry.text else 0)
    self._speaker = np.array(speaker, np.int64)
    self._key = np.array(key, np.uint64)  # 0 where there is no text
    self._lines = np.array(lines, np.int64)
    self._fate = self._decide()

  def __len__(self) -> int:
    """Number of recordings to decode."""
    return int(np.sum(self._fate <= _UNSEEN))

  def entries(self, split: str) -> Iterator[ManifestEntry]:
    """Entries of a split, in the manifest's order."""
    wanted = records.SPLITS.index(split)
    return (entry for entry, fate in self._good_entries() if fate == wanted)

  def rejections(self) -> Iterator[Rejection]:
    """Lines that are refused before anything is decoded."""
    yield from self._rejections
    if np.any(self._fate > _UNSEEN):
      for entry, fate in self._good_entries():
        if fate > _UNSEEN:
          yield _reject(entry, _REASONS[fate])

  def _good_entries(self) -> Iterator[tuple[ManifestEntry, int]]:
    place = 0
    for entry in read_entries(self._manifest, self._arguments.allow_empty_text):
      if place < len(self._lines) and entry.line == self._lines[place]:
        assert isinstance(entry, ManifestEntry)
        yield entry, int(self._fate[place])
        place += 1

  def _decide(self) -> np.ndarray:
    """Fate of each good entry, i8[entries]."""
    fate = np.full(len(self._speaker), _TRAIN, np.int8)
    spoken = self._key != 0
    salt = np.uint64(digest("text", str(self._arguments.seed)))
    draw = (self._key ^ salt) / 2.0**64
    fate[spoken & (draw < self._arguments.held_out_texts)] = _SEEN
    is_unseen = np.isin(self._speaker, self._choose_unseen())
    held_out = np.unique(self._key[is_unseen & spoken])
    fate[spoken & np.isin(self._key, held_out)] = _HELD_OUT
    fate[is_unseen] = _UNSEEN
    if self._arguments.held_out_texts and not np.any(fate == _SEEN):
      fate[self._one_text(fate, draw)] = _SEEN
    trained = np.unique(self._speaker[fate == _TRAIN])
    fate[(fate == _SEEN) & ~np.isin(self._speaker, trained)] = _NOTHING_LEFT
    return fate

  def _one_text(self, fate: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """Entries of the text to hold out where the draw held out none.

    A small corpus would else have nothing that its models can be measured on.
    Nothing is chosen where a speaker would have no clip left in train.
    """
    free = (fate == _TRAIN) & (self._key != 0)
    for place in np.argsort(draw, kind="stable"):
      if not free[place]:
        continue
      same = free & (self._key == self._key[place])
      left = self._speaker[(fate == _TRAIN) & ~same]
      if np.all(np.isin(self._speaker[same], left)):
        return np.flatnonzero(same)
    return np.zeros(0, np.int64)

  def _choose_unseen(self) -> list[int]:
    """Chooses the unseen speakers; returns their numbers.

    Speakers with and without transcripts are drawn apart, each in the order of
    a hash of the name, those with two clips or more (one is the reference)
    before the others. A speaker qualifies if somebody with more stays for
    their language, and if the clips lost to train stay within the budget.
    """
    counts = np.bincount(self._speaker, minlength=len(self._speakers))
    texts = np.bincount(self._speaker[self._key != 0], minlength=len(counts))
    kept = self._largest_of_each_language(texts, counts)
    salt = str(self._arguments.seed)
    order = sorted(
      self._speakers, key=lambda name: digest("speaker", salt, name)
    )
    numbers = [self._speakers[name] for name in order]
    numbers.sort(key=lambda number: counts[number] < 2)
    candidates = [number for number in numbers if number not in kept]
    share, cost = self._arguments.unseen_speakers, _UnseenCost(self)
    chosen: list[int] = []
    for group in (texts > 0, texts == 0):
      members = (n for n in candidates if group[n] and cost.accept(n))
      wanted = math.ceil(share * np.sum(group))
      chosen += itertools.islice(members, wanted)
    return chosen

  def _largest_of_each_language(
    self, texts: np.ndarray, counts: np.ndarray
  ) -> set[int]:
    """Speaker with most transcripts, then most clips, of each language."""
    largest: dict[str, int] = {}
    for number, language in self._language.items():
      best = largest.setdefault(language, number)
      if (texts[number], counts[number]) > (texts[best], counts[best]):
        largest[language] = number
    return set(largest.values())


class _UnseenCost:
  """Cost of unseen speakers: clips lost to train, theirs or of their texts."""

  def __init__(self, plan: Plan):
    self._key = plan._key
    self._by_speaker = np.argsort(plan._speaker, kind="stable")
    self._speakers = plan._speaker[self._by_speaker]
    self._by_key = np.argsort(plan._key, kind="stable")
    self._keys = plan._key[self._by_key]
    self._lost = np.zeros(len(plan._key), bool)
    self._left = plan._arguments.unseen_budget * len(plan._key)

  def accept(self, speaker: int) -> bool:
    """Spends the budget on a speaker; False where it does not suffice."""
    start, stop = np.searchsorted(self._speakers, [speaker, speaker + 1])
    mine = self._by_speaker[start:stop]
    keys = np.unique(self._key[mine])
    keys = keys[keys != 0]
    starts = np.searchsorted(self._keys, keys, "left")
    stops = np.searchsorted(self._keys, keys, "right")
    same = [self._by_key[a:b] for a, b in zip(starts, stops, strict=True)]
    lost = np.unique(np.concatenate([mine, *same]))
    lost = lost[~self._lost[lost]]
    if len(lost) > self._left:
      return False
    self._left -= len(lost)
    self._lost[lost] = True
    return True


def _reject(entry: ManifestEntry, reason: str) -> Rejection:
  return Rejection(line=entry.line, id=entry.id, path=entry.path, reason=reason)


def make_example(task: Task) -> Made | Rejection:
  """Makes a record of a recording: decodes, resamples, trims and levels it."""
  entry = task.entry
  try:
    wave = _clip(task)
    audio, num_samples = clips.encode(wave, task.arguments.rate)
    warnings = doubts(wave, task.arguments.rate, entry.text)
  except recording.Refused as error:
    return _reject(entry, error.reason)
  except clips.Unusable as error:
    return _reject(entry, str(error))
  except Exception as error:  # no file ends the build of all others
    kind = type(error).__name__
    return _reject(entry, f"the program failed on it, {kind}: {error}")
  example = clips.Example(
    id=entry.id,
    audio=audio,
    num_samples=num_samples,
    text=_text(task),
    language=entry.language,
    speaker=entry.speaker,
    source=entry.path,
    emotion=entry.emotion,
    description=entry.description,
  )
  return Made(line=entry.line, example=example, warnings=warnings)


def _text(task: Task) -> str:
  """Text of a record: in train, some of its words by their sounds."""
  entry, arguments = task.entry, task.arguments
  if task.split != records.SPLITS[_TRAIN] or not arguments.sounds:
    return entry.text
  random = np.random.default_rng([arguments.seed, digest(entry.id)])
  return sounds.with_sounds(
    entry.text, entry.language, arguments.sounds, random
  )


def _clip(task: Task) -> np.ndarray:
  """Makes a clip of a file, f32[n] at the corpus rate.

  Raises:
    Refused, Unusable: no clip can be made of it.
  """
  arguments = task.arguments
  wave = recording.speech(
    task.path, arguments.rate, longest=_DECODED * arguments.max_seconds
  )
  seconds = len(wave) / arguments.rate
  if seconds < arguments.min_seconds:
    raise clips.Unusable(
      f"{seconds:.2f} s, without silence at the ends, is shorter than"
      f" --min_seconds {arguments.min_seconds:g}"
    )
  if seconds > arguments.max_seconds:
    raise clips.Unusable(
      f"{seconds:.1f} s, without silence at the ends, is longer than"
      f" --max_seconds {arguments.max_seconds:g}"
    )
  if reason := pace.impossible(task.entry.text, seconds):
    raise clips.Unusable(reason)
  return wave


def crashed(task: Task) -> Rejection:
  """Rejection of a recording whose decoder ended its process."""
  return _reject(task.entry, "the decoder crashed on it")


def _check(arguments: ManifestArguments) -> None:
  if arguments.sounds:
    sounds.check_installed()
  for name in ("unseen_speakers", "unseen_budget", "held_out_texts", "sounds"):
    share = getattr(arguments, name)
    if not 0 <= share < 1:
      raise UserError(f"--{name} {share:g} is not a share from 0 up to 1")
  if not 0 < arguments.min_seconds < arguments.max_seconds:
    raise UserError("--min_seconds must be above 0 and below --max_seconds")


def _sha256(manifest: pathlib.Path) -> str:
  try:
    with open(manifest, "rb") as file:
      return hashlib.file_digest(file, "sha256").hexdigest()
  except OSError as error:
    raise UserError(f"cannot read {manifest}: {error.strerror}") from error


def _note_warnings(writer: corpus_writer.CorpusWriter, made: Made) -> None:
  """Notes what is doubtful about a record."""
  row = made.example
  for reason in made.warnings:
    writer.warn(line=made.line, id=row.id, path=row.source, reason=reason)


def _identity(
  manifest: pathlib.Path, arguments: ManifestArguments
) -> dict[str, Any]:
  """Facts that decide a corpus; without sounds, as there were none before."""
  found = {"sha256": _sha256(manifest)} | dataclasses.asdict(arguments)
  if not arguments.sounds:
    del found["sounds"]
  return found


def _rules(arguments: ManifestArguments) -> dict[str, str]:
  """Rules by which texts are written, for the card."""
  if not arguments.sounds:
    return front.RULES
  return front.RULES | {"sounds": " ".join(phonetic.LANGUAGES)}


def _tasks(
  plan: Plan,
  split: str,
  folder: pathlib.Path,
  arguments: ManifestArguments,
) -> Iterator[Task]:
  """Yields the tasks of a split, whose paths are relative to `folder`."""
  for entry in plan.entries(split):
    yield Task(
      entry=entry,
      split=split,
      path=folder / entry.path,
      arguments=arguments,
    )


def build(
  manifest: pathlib.Path,
  arguments: ManifestArguments,
  out: pathlib.Path,
  processes: int,
  tell: corpus_writer.Tell,
) -> None:
  """Builds the corpus, unless it is already there.

  Args:
    manifest: JSON Lines file.
    arguments: how recordings become records.
    out: corpus folder.
    processes: processes that decode.
    tell: gets lines for people.

  Raises:
    UserError: impossible arguments, a manifest that cannot be read or has no
      usable recording, or a folder that cannot be written.
  """
  _check(arguments)
  with (
    corpus_writer.CorpusWriter(
      out,
      rate=arguments.rate,
      builder="manifest",
      arguments=_identity(manifest, arguments),
      texts=_rules(arguments),
      tell=tell,
    ) as writer,
    parallel.Workers(processes) as workers,
  ):
    if writer.finished:
      return
    tell(f"Reading {manifest}.")
    if not silero.is_installed():
      tell(f"{silero.MISSING[0].upper()}{silero.MISSING[1:]}.")
    plan = Plan(manifest, arguments)
    for rejection in plan.rejections():
      writer.reject(**vars(rejection))

    def examples(split: str) -> Iterator[clips.Example]:
      tasks = _tasks(plan, split, manifest.parent, arguments)
      for result in workers.map(make_example, tasks, crashed):
        if isinstance(result, Rejection):
          writer.reject(**vars(result))
        else:
          _note_warnings(writer, result)
          yield result.example

    streams = {split: examples(split) for split in records.SPLITS}
    writer.write(streams, len(plan))
