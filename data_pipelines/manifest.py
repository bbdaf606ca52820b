"""A corpus from a person's own recordings, listed in a JSON Lines file.

Each line is an object with `path` (from the manifest's folder), `text`,
`language` and `speaker`, and may have `id`, `emotion` and `description`. The
manifest is read twice and more, never held: a first pass decides the split of
every line by hashes of its speaker and its text, then one pass per split
decodes. Whatever cannot become a record goes to rejected.jsonl.
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

from data_pipelines import clips, corpus_writer, media, parallel
from s02jax.audio import loudness
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.data import records

# What becomes of a line; the first three index records.SPLITS.
_TRAIN, _SEEN, _UNSEEN, _HELD_OUT, _NOTHING_LEFT = range(5)
_REASONS = {
  _HELD_OUT: "text is held out for the unseen split",
  _NOTHING_LEFT: "its speaker has no clip left to train on: every text of"
  " theirs is held out",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ManifestArguments:
  """How to turn the listed recordings into a corpus."""

  rate: int = 16_000
  min_seconds: float = 0.3  # after trimming
  max_seconds: float = 30.0
  unseen_speakers: float = 0.1  # share of the speakers who are never in train
  unseen_budget: float = 0.15  # most of all clips that this may cost train
  held_out_texts: float = 0.05  # share of the texts, for the seen split
  allow_empty_text: bool = False  # keep clips without transcript
  seed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """One good line of the manifest."""

  line: int  # from 1
  id: str
  path: str  # as written
  text: str  # NFC, without spaces at its ends
  language: str
  speaker: str
  emotion: str
  description: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rejection:
  """One line that does not become a record."""

  line: int
  id: str
  path: str
  reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
  """One file to decode."""

  row: Row
  path: pathlib.Path
  arguments: ManifestArguments


def _digest(*parts: str) -> int:
  joined = "\0".join(parts).encode()
  return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest())


def _text_key(text: str) -> str:
  """Texts that sound the same share a key: letters and digits, caseless."""
  letters = "".join(
    character
    for character in text.casefold()
    if unicodedata.category(character)[0] in "LMN"
  )
  return letters or text


def _string(fields: dict[str, Any], name: str) -> str:
  """A string field. Raises Unusable if it is another type or not Unicode."""
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


def _make_row(number: int, fields: dict[str, Any], allow_empty: bool) -> Row:
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
  text = _string(fields, "text")
  if not text and not allow_empty:
    raise clips.Unusable(
      "text is empty; --allow_empty_text keeps such clips for the audio models"
    )
  if text and not any(map(str.isalnum, text)):
    raise clips.Unusable(f"text {text!r} has no letter and no digit")
  return Row(
    line=number,
    id=_optional(fields, "id") or fields["path"],
    path=fields["path"],
    text=text,
    language=language,
    speaker=speaker,
    emotion=_optional(fields, "emotion"),
    description=_optional(fields, "description"),
  )


def read_rows(
  manifest: pathlib.Path, allow_empty: bool
) -> Iterator[Row | Rejection]:
  """Every line that is not blank, in order. Raises UserError if unreadable."""
  with open(manifest, "rb") as file:
    for number, raw in enumerate(file, start=1):
      if not raw.strip():
        continue
      fields: dict[str, Any] = {}
      try:
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        fields = _parse(line)
        yield _make_row(number, fields, allow_empty)
      except (clips.Unusable, UnicodeDecodeError) as error:
        yield Rejection(
          line=number,
          id=str(fields.get("id", "")),
          path=str(fields.get("path", "")),
          reason=str(error),
        )


class Plan:
  """The first pass: what becomes of each line, in about 100 bytes a line."""

  def __init__(self, manifest: pathlib.Path, arguments: ManifestArguments):
    self._manifest = manifest
    self._arguments = arguments
    self._rejections: list[Rejection] = []
    self._speakers: dict[str, int] = {}
    self._language: dict[int, str] = {}  # of a speaker, their first
    speaker, key, lines = array("q"), array("Q"), array("q")
    first_line: dict[int, int] = {}
    for row in read_rows(manifest, arguments.allow_empty_text):
      if isinstance(row, Rejection):
        self._rejections.append(row)
        continue
      known = first_line.setdefault(_digest(row.id), row.line)
      if known != row.line:
        reason = f"id {row.id!r} is already used by line {known}"
        self._rejections.append(_reject(row, reason))
        continue
      number = self._speakers.setdefault(row.speaker, len(self._speakers))
      self._language.setdefault(number, row.language)
      speaker.append(number)
      lines.append(row.line)
      key.append(_digest(_text_key(row.text)) if row.text else 0)
    self._speaker = np.array(speaker, np.int64)
    self._key = np.array(key, np.uint64)  # 0 where there is no text
    self._lines = np.array(lines, np.int64)
    self._fate = self._decide()

  def __len__(self) -> int:
    """How many rows are to be decoded."""
    return int(np.sum(self._fate <= _UNSEEN))

  def rows(self, split: str) -> Iterator[Row]:
    """The rows of a split, in the manifest's order."""
    wanted = records.SPLITS.index(split)
    return (row for row, fate in self._good_rows() if fate == wanted)

  def rejections(self) -> Iterator[Rejection]:
    """The lines that are refused before anything is decoded."""
    yield from self._rejections
    if np.any(self._fate > _UNSEEN):
      for row, fate in self._good_rows():
        if fate > _UNSEEN:
          yield _reject(row, _REASONS[fate])

  def _good_rows(self) -> Iterator[tuple[Row, int]]:
    place = 0
    for row in read_rows(self._manifest, self._arguments.allow_empty_text):
      if place < len(self._lines) and row.line == self._lines[place]:
        assert isinstance(row, Row)
        yield row, int(self._fate[place])
        place += 1

  def _decide(self) -> np.ndarray:
    """i8[rows]: the fate of each good row."""
    fate = np.full(len(self._speaker), _TRAIN, np.int8)
    spoken = self._key != 0
    salt = np.uint64(_digest("text", str(self._arguments.seed)))
    draw = (self._key ^ salt) / 2.0**64
    fate[spoken & (draw < self._arguments.held_out_texts)] = _SEEN
    is_unseen = np.isin(self._speaker, self._choose_unseen())
    held_out = np.unique(self._key[is_unseen & spoken])
    fate[spoken & np.isin(self._key, held_out)] = _HELD_OUT
    fate[is_unseen] = _UNSEEN
    trained = np.unique(self._speaker[fate == _TRAIN])
    fate[(fate == _SEEN) & ~np.isin(self._speaker, trained)] = _NOTHING_LEFT
    return fate

  def _choose_unseen(self) -> list[int]:
    """Numbers of the unseen speakers.

    Those with and without transcripts are drawn apart, each in the order of
    a hash of the name, those with two clips or more (one is the reference)
    before the others. A speaker qualifies if somebody with more stays for
    their language, and if the clips lost to train stay within the budget.
    """
    counts = np.bincount(self._speaker, minlength=len(self._speakers))
    texts = np.bincount(self._speaker[self._key != 0], minlength=len(counts))
    kept = self._largest_of_each_language(texts, counts)
    salt = str(self._arguments.seed)
    order = sorted(
      self._speakers, key=lambda name: _digest("speaker", salt, name)
    )
    numbers = [self._speakers[name] for name in order]
    numbers.sort(key=lambda number: counts[number] < 2)
    candidates = [number for number in numbers if number not in kept]
    share, cost = self._arguments.unseen_speakers, _Cost(self)
    chosen: list[int] = []
    for group in (texts > 0, texts == 0):
      members = (n for n in candidates if group[n] and cost.accept(n))
      wanted = math.ceil(share * np.sum(group))
      chosen += itertools.islice(members, wanted)
    return chosen

  def _largest_of_each_language(
    self, texts: np.ndarray, counts: np.ndarray
  ) -> set[int]:
    """The speaker with the most transcripts, then clips, of each."""
    largest: dict[str, int] = {}
    for number, language in self._language.items():
      best = largest.setdefault(language, number)
      if (texts[number], counts[number]) > (texts[best], counts[best]):
        largest[language] = number
    return set(largest.values())


class _Cost:
  """What unseen speakers cost train: their clips, and all of their texts."""

  def __init__(self, plan: Plan):
    self._key = plan._key
    self._by_speaker = np.argsort(plan._speaker, kind="stable")
    self._speakers = plan._speaker[self._by_speaker]
    self._by_key = np.argsort(plan._key, kind="stable")
    self._keys = plan._key[self._by_key]
    self._lost = np.zeros(len(plan._key), bool)
    self._left = plan._arguments.unseen_budget * len(plan._key)

  def accept(self, speaker: int) -> bool:
    """Whether the budget allows this speaker too; if so, it is spent."""
    start, stop = np.searchsorted(self._speakers, [speaker, speaker + 1])
    mine = self._by_speaker[start:stop]
    keys = np.unique(self._key[mine])
    keys = keys[keys != 0]
    starts = np.searchsorted(self._keys, keys, "left")
    stops = np.searchsorted(self._keys, keys, "right")
    same = [self._by_key[a:b] for a, b in zip(starts, stops, strict=True)]
    rows = np.unique(np.concatenate([mine, *same]))
    rows = rows[~self._lost[rows]]
    if len(rows) > self._left:
      return False
    self._left -= len(rows)
    self._lost[rows] = True
    return True


def _reject(row: Row, reason: str) -> Rejection:
  return Rejection(line=row.line, id=row.id, path=row.path, reason=reason)


def make_example(task: Task) -> clips.Example | Rejection:
  """Decodes, resamples, trims and levels one recording."""
  row, arguments = task.row, task.arguments
  try:
    audio, num_samples = _condition(task.path, arguments)
  except clips.Unusable as error:
    return _reject(row, str(error))
  return clips.Example(
    id=row.id,
    audio=audio,
    num_samples=num_samples,
    text=row.text,
    language=row.language,
    speaker=row.speaker,
    source=row.path,
    emotion=row.emotion,
    description=row.description,
  )


def _condition(
  path: pathlib.Path, arguments: ManifestArguments
) -> tuple[bytes, int]:
  """The file as FLAC at the corpus rate, and its length in samples."""
  wave, rate = media.read(path, arguments.max_seconds)
  wave = loudness.trim_and_level(wave, rate, arguments.rate)
  seconds = len(wave) / arguments.rate
  if seconds < arguments.min_seconds:
    raise clips.Unusable(
      f"{seconds:.2f} s, without silence at the ends, is shorter than"
      f" --min_seconds {arguments.min_seconds:g}"
    )
  return clips.encode(wave, arguments.rate)


def _crashed(task: Task) -> Rejection:
  return _reject(task.row, "the decoder crashed on it")


def _check(arguments: ManifestArguments) -> None:
  for name in ("unseen_speakers", "unseen_budget", "held_out_texts"):
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


def build(
  manifest: pathlib.Path,
  arguments: ManifestArguments,
  out: pathlib.Path,
  processes: int,
) -> None:
  """Writes the corpus to `out`, or says that it is already there."""
  _check(arguments)
  identity = {"sha256": _sha256(manifest)} | dataclasses.asdict(arguments)
  with (
    corpus_writer.CorpusWriter(
      out, rate=arguments.rate, builder="manifest", arguments=identity
    ) as writer,
    parallel.Workers(processes) as workers,
  ):
    if writer.finished:
      return
    print(f"Reading {manifest}.", flush=True)
    plan = Plan(manifest, arguments)
    for rejection in plan.rejections():
      writer.reject(**vars(rejection))

    def examples(split: str) -> Iterator[clips.Example]:
      tasks = (
        Task(row=row, path=manifest.parent / row.path, arguments=arguments)
        for row in plan.rows(split)
      )
      for result in workers.map(make_example, tasks, _crashed):
        if isinstance(result, Rejection):
          writer.reject(**vars(result))
        else:
          yield result

    streams = {split: examples(split) for split in records.SPLITS}
    writer.write(streams, len(plan))
