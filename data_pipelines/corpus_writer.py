"""Writer of corpora: records, index and card, whole or not at all.

Records go through TensorFlow Datasets (no TensorFlow) into ArrayRecord files
of group size 1. All is written into a folder beside the destination, which
gets its name when everything in it is complete.
"""

import collections
import dataclasses
import errno
import itertools
import json
import os
import pathlib
import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import tqdm

from data_pipelines.clips import Example
from s02jax.core import files, inputs, languages
from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.data import records

Tell = Callable[[str], None]  # gets a line for people


class _Columns:
  """Growing columns of an index, 16 bytes a record."""

  def __init__(self):
    self.num_samples = array("i")
    self.speaker = array("i")
    self.language = array("i")
    self.text_bytes = array("i")

  def index(self) -> records.Index:
    return records.Index(
      **{name: np.array(x, np.int32) for name, x in vars(self).items()}
    )


def is_finished(
  out: pathlib.Path, builder: Mapping[str, Any], tell: Tell
) -> bool:
  """Whether a folder holds the corpus of these arguments.

  Args:
    out: corpus folder.
    builder: its entry of the card.
    tell: gets a line if it does.

  Raises:
    UserError: it holds something else.
  """
  card = records.CorpusFiles(out).card
  if not card.exists():
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
      raise UserError(f"{out} exists and is not a corpus; choose another --out")
    return False
  found = json.loads(card.read_text())
  if found["builder"] == builder and (
    found["version"] == records.FORMAT_VERSION
  ):
    tell(f"{out} is already built with these arguments.")
    return True
  raise UserError(
    f"{out} holds a corpus built with other arguments (see its card.json);"
    " remove it or choose another --out"
  )


class CorpusWriter:
  """Context manager that turns examples into a finished corpus folder.

  Attributes:
    finished: True if `out` holds a corpus of the same arguments.
  """

  def __init__(
    self,
    out: pathlib.Path,
    *,
    rate: int,
    builder: str,
    arguments: Mapping[str, Any],
    tell: Tell,
    notes: str = "",
    texts: Mapping[str, str] = MappingProxyType({}),
  ):
    """Looks at what is in `out`; nothing is written yet.

    Args:
      out: corpus folder.
      rate: sample rate, Hz.
      builder: name of the program that makes the examples.
      arguments: everything that the corpus is a function of, for its card.
      tell: gets a line for people at the start and at the end.
      notes: sentences about the corpus, for its card.
      texts: rules by which its texts are written, for its card.

    Raises:
      UserError: a rate without whole tokens, or `out` holds something else.
    """
    if rate <= 0 or rate % TOKENS_PER_SECOND:
      raise UserError(
        f"--rate {rate} is not a multiple of {TOKENS_PER_SECOND}, the tokens"
        " per second; use 16000, 22050, 24000 or 44100"
      )
    inputs.check_on_disk(out, "--out")
    self._out = out
    self._rate = rate
    self._notes, self._texts = notes, dict(texts)
    self._tell = tell
    self._builder = {
      "name": builder,
      "arguments": json.loads(json.dumps(arguments)),
    }
    self._temporary = records.CorpusFiles(files.part_of(out))
    self._speakers: dict[str, int] = {}
    self._languages: dict[str, int] = {}
    self._columns = {split: _Columns() for split in records.SPLITS}
    self._clips: dict[str, collections.Counter[str]] = {
      split: collections.Counter() for split in records.SPLITS
    }
    self._samples: dict[str, collections.Counter[str]] = {
      split: collections.Counter() for split in records.SPLITS
    }
    self._rejected: list[dict[str, Any]] = []
    self._warnings: list[dict[str, Any]] = []
    self.finished = is_finished(out, self._builder, tell)

  def __enter__(self) -> "CorpusWriter":
    if not self.finished:
      try:
        self._out.parent.mkdir(parents=True, exist_ok=True)
        if self._temporary.folder.exists():
          shutil.rmtree(self._temporary.folder)
        self._temporary.folder.mkdir()
      except OSError as error:
        raise self._cannot_write(error) from error
    return self

  def __exit__(self, kind, error, traceback) -> None:
    if not self.finished:
      shutil.rmtree(self._temporary.folder, ignore_errors=True)

  def _cannot_write(self, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return UserError(f"cannot write the corpus {self._out}: {reason}")

  def reject(self, *, line: int, id: str, path: str, reason: str) -> None:
    """Notes an input row that does not become a record.

    Args:
      line: number of the row, from 1.
      id: id of the row, empty if it has none.
      path: audio file that it names.
      reason: sentence for a person.
    """
    self._rejected.append(
      {"line": line, "id": id, "path": path, "reason": reason}
    )

  def warn(self, *, line: int, id: str, path: str, reason: str) -> None:
    """Notes what is doubtful about a row that becomes a record."""
    self._warnings.append(
      {"line": line, "id": id, "path": path, "reason": reason}
    )

  def _records(
    self, split: str, examples: Iterable[Example], progress: tqdm.tqdm
  ) -> Iterator[dict[str, Any]]:
    """Counts and indexes examples on their way to the records."""
    index = self._columns[split]
    for example in examples:
      speakers, codes = self._speakers, self._languages
      index.num_samples.append(example.num_samples)
      index.speaker.append(speakers.setdefault(example.speaker, len(speakers)))
      index.language.append(codes.setdefault(example.language, len(codes)))
      index.text_bytes.append(len(example.text.encode()))
      self._clips[split][example.language] += 1
      self._samples[split][example.language] += example.num_samples
      progress.update()
      yield vars(example) | {"duration": example.num_samples / self._rate}

  def write(
    self, examples: Mapping[str, Iterable[Example]], total: int | None
  ) -> None:
    """Writes all splits and gives the corpus its name.

    Args:
      examples: split -> examples, in the order of the records.
      total: number of examples expected, for the progress bar.

    Raises:
      UserError: no example for training, or the folder cannot be written.
    """
    self._tell(f"Building {self._out} at {self._rate} Hz.")
    try:
      with tqdm.tqdm(total=total, unit="clip", disable=None) as progress:
        streams = {
          split: self._records(split, examples[split], progress)
          for split in records.SPLITS
        }
        self._write_records(_without_empty(streams))
      self._write_index()
      os.replace(self._temporary.folder, self._out)
    except OSError as error:
      raise self._cannot_write(error) from error
    except RuntimeError as error:  # how ArrayRecord reports a full disk
      if (full := os.strerror(errno.ENOSPC)) not in str(error):
        raise
      full_disk = OSError(errno.ENOSPC, full)
      raise self._cannot_write(full_disk) from error
    self.finished = True
    self._tell(self._summary())

  def _write_records(self, streams: Mapping[str, Iterable[dict]]) -> None:
    if "train" not in streams:
      reason = "there was none"
      if self._rejected:
        first = min(self._rejected, key=lambda row: row["line"])
        reason = f"line {first['line']}: {first['reason']}"
      raise UserError(f"no clip can be used for training; {reason}")
    # Slow to import, and of no use to the processes that make the clips.
    from data_pipelines import speech

    description = self._notes or "Speech corpus."
    speech.write(self._temporary.folder, description, streams)

  def _write_index(self) -> None:
    for split, columns in self._columns.items():
      path = self._temporary.index(split)
      path.parent.mkdir(exist_ok=True)
      columns.index().write(path)
    _write_rows(self._temporary.rejected, self._rejected)
    _write_rows(self._temporary.warnings, self._warnings)
    files.write_json(self._temporary.card, self._card())

  def _card(self) -> dict[str, Any]:
    splits = {
      split: Part(
        clips=self._clips[split],
        samples=self._samples[split],
        speakers=len(set(self._columns[split].speaker)),
      )
      for split in records.SPLITS
    }
    return card(
      splits,
      rate=self._rate,
      codes=list(self._languages),
      speakers=list(self._speakers),
      rejected=len(self._rejected),
      warnings=len(self._warnings),
      notes=self._notes,
      texts=self._texts,
      builder=self._builder,
    )

  def _summary(self) -> str:
    return summary(self._out, self._card())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
  """Counts of a split."""

  clips: collections.Counter[str]  # by language
  samples: collections.Counter[str]  # by language
  speakers: int


def card(
  splits: Mapping[str, Part], *, rate: int, codes: list[str], **facts: Any
) -> dict[str, Any]:
  """Card of a corpus: its version, its splits, and what else is known of it.

  Args:
    splits: counts by name.
    rate: sample rate, Hz.
    codes: of the languages, in the order of their numbers.
    facts: speakers in the order of their numbers, numbers of rejected rows and
      of warnings, notes, texts, builder.
  """
  found = {}
  for split, part in splits.items():
    found[split] = {
      "clips": part.clips.total(),
      "seconds": round(part.samples.total() / rate, 2),
      "speakers": part.speakers,
      "languages": {
        code: {
          "clips": part.clips[code],
          "seconds": round(part.samples[code] / rate, 2),
        }
        for code in codes
        if code in part.samples
      },
    }
  first: dict[str, Any] = {
    "version": records.FORMAT_VERSION,
    "rate": rate,
    "languages": codes,
    "added_languages": languages.rows(codes),
    "speakers": facts.pop("speakers"),
  }
  return first | {"splits": found} | facts


def summary(out: pathlib.Path, card: Mapping[str, Any]) -> str:
  """Lines for a person about a corpus that was written, by its card."""
  parts = [
    f"{split} {part['clips']} clips, {part['seconds'] / 60:.1f} min,"
    f" {part['speakers']} speakers"
    for split, part in card["splits"].items()
  ]
  lines = [f"Wrote {out}: " + "; ".join(parts) + "."]
  lines += [
    f"The split {split} is empty; what is measured on it is left out."
    for split, part in card["splits"].items()
    if not part["clips"]
  ]
  if card["rejected"]:
    lines.append(
      f"Rejected {card['rejected']} rows: {out}/rejected.jsonl has the reasons."
    )
  if card["warnings"]:
    lines.append(
      f"{card['warnings']} warnings about rows that were taken are in"
      f" {out}/warnings.jsonl."
    )
  return "\n".join(lines)


def _write_rows(path: pathlib.Path, rows: Iterable[dict[str, Any]]) -> None:
  """Writes rows as JSON lines, in the order of the input."""
  with open(path, "w") as file:
    for row in sorted(rows, key=lambda row: row["line"]):
      file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _without_empty(streams: Mapping[str, Iterator]) -> dict[str, Iterable]:
  """Drops the splits without a record, which TFDS refuses to write."""
  kept: dict[str, Iterable] = {}
  for split, stream in streams.items():
    first = next(stream, None)
    if first is not None:
      kept[split] = itertools.chain([first], stream)
  return kept
