"""Writes a corpus: records, index, card; whole, or not at all.

Records go through TensorFlow Datasets (no TensorFlow) into ArrayRecord files
of group size 1. All is written into a folder beside the destination, which
gets its name when everything in it is complete.
"""

import collections
import errno
import itertools
import json
import os
import pathlib
import shutil
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tqdm

from data_pipelines.clips import Example
from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.data import records


class _Index:
  """Lengths, speakers and languages of one split, 16 bytes a record."""

  def __init__(self):
    self.num_samples = array("i")
    self.speaker = array("i")
    self.language = array("i")
    self.text_bytes = array("i")

  def save(self, path: pathlib.Path) -> None:
    np.savez(
      path,
      num_samples=np.array(self.num_samples, np.int32),
      speaker=np.array(self.speaker, np.int32),
      language=np.array(self.language, np.int32),
      text_bytes=np.array(self.text_bytes, np.int32),
    )


class CorpusWriter:
  """Context manager that turns examples into a finished corpus folder.

  `finished` is true if `out` already holds a corpus of the same arguments.
  Raises UserError if it holds something else.
  """

  def __init__(
    self,
    out: pathlib.Path,
    *,
    rate: int,
    builder: str,
    arguments: Mapping[str, Any],
    notes: str = "",
  ):
    if rate <= 0 or rate % TOKENS_PER_SECOND:
      raise UserError(
        f"--rate {rate} is not a multiple of {TOKENS_PER_SECOND}, the tokens"
        " per second; use 16000, 22050, 24000 or 44100"
      )
    self._out = out
    self._rate = rate
    self._notes = notes
    self._builder = {
      "name": builder,
      "arguments": json.loads(json.dumps(arguments)),
    }
    self._temporary = files.part_of(out)
    self._speakers: dict[str, int] = {}
    self._languages: dict[str, int] = {}
    self._indices = {split: _Index() for split in records.SPLITS}
    self._clips: dict[str, collections.Counter[str]] = {
      split: collections.Counter() for split in records.SPLITS
    }
    self._samples: dict[str, collections.Counter[str]] = {
      split: collections.Counter() for split in records.SPLITS
    }
    self._rejected: list[dict[str, Any]] = []
    self.finished = self._is_finished()

  def _is_finished(self) -> bool:
    card = self._out / "card.json"
    if not card.exists():
      if self._out.exists() and (
        not self._out.is_dir() or any(self._out.iterdir())
      ):
        raise UserError(
          f"{self._out} exists and is not a corpus; choose another --out"
        )
      return False
    found = json.loads(card.read_text())
    if found["builder"] == self._builder and (
      found["version"] == records.FORMAT_VERSION
    ):
      print(f"{self._out} is already built with these arguments.")
      return True
    raise UserError(
      f"{self._out} holds a corpus built with other arguments (see its"
      " card.json); remove it or choose another --out"
    )

  def __enter__(self) -> "CorpusWriter":
    if not self.finished:
      try:
        self._out.parent.mkdir(parents=True, exist_ok=True)
        if self._temporary.exists():
          shutil.rmtree(self._temporary)
        self._temporary.mkdir()
      except OSError as error:
        raise self._cannot_write(error) from error
    return self

  def __exit__(self, kind, error, traceback) -> None:
    if not self.finished:
      shutil.rmtree(self._temporary, ignore_errors=True)

  def _cannot_write(self, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return UserError(f"cannot write the corpus {self._out}: {reason}")

  def reject(self, *, line: int, id: str, path: str, reason: str) -> None:
    """Notes an input row that does not become a record."""
    self._rejected.append(
      {"line": line, "id": id, "path": path, "reason": reason}
    )

  def _rows(
    self, split: str, examples: Iterable[Example], progress: tqdm.tqdm
  ) -> Iterator[dict[str, Any]]:
    index = self._indices[split]
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
      total: how many are expected, for the progress bar.
    """
    print(f"Building {self._out} at {self._rate} Hz.", flush=True)
    try:
      with tqdm.tqdm(total=total, unit="clip", disable=None) as progress:
        rows = {
          split: self._rows(split, examples[split], progress)
          for split in records.SPLITS
        }
        self._write_records(_without_empty(rows))
      self._write_index()
      os.replace(self._temporary, self._out)
    except OSError as error:
      raise self._cannot_write(error) from error
    except RuntimeError as error:  # how ArrayRecord reports a full disk
      if (full := os.strerror(errno.ENOSPC)) not in str(error):
        raise
      full_disk = OSError(errno.ENOSPC, full)
      raise self._cannot_write(full_disk) from error
    self.finished = True
    print(self._summary(), flush=True)

  def _write_records(self, rows: Mapping[str, Iterable[dict]]) -> None:
    if "train" not in rows:
      reason = "there was none"
      if self._rejected:
        first = min(self._rejected, key=lambda row: row["line"])
        reason = f"line {first['line']}: {first['reason']}"
      raise UserError(f"no clip can be used for training; {reason}")
    # slow to import, and of no use to the processes that make the clips
    from data_pipelines import speech

    speech.write(self._temporary, self._notes or "Speech corpus.", rows)

  def _write_index(self) -> None:
    folder = self._temporary / "index"
    folder.mkdir()
    for split, index in self._indices.items():
      index.save(folder / f"{split}.npz")
    with open(self._temporary / "rejected.jsonl", "w") as file:
      for row in sorted(self._rejected, key=lambda row: row["line"]):
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    (self._temporary / "card.json").write_text(
      json.dumps(self._card(), ensure_ascii=False, indent=2) + "\n"
    )

  def _card(self) -> dict[str, Any]:
    splits = {}
    for split in records.SPLITS:
      samples = self._samples[split]
      splits[split] = {
        "clips": self._clips[split].total(),
        "seconds": round(samples.total() / self._rate, 2),
        "speakers": len(set(self._indices[split].speaker)),
        "languages": {
          code: {
            "clips": self._clips[split][code],
            "seconds": round(samples[code] / self._rate, 2),
          }
          for code in self._languages
          if code in samples
        },
      }
    return {
      "version": records.FORMAT_VERSION,
      "rate": self._rate,
      "languages": list(self._languages),
      "speakers": list(self._speakers),
      "splits": splits,
      "rejected": len(self._rejected),
      "notes": self._notes,
      "builder": self._builder,
    }

  def _summary(self) -> str:
    card = self._card()
    parts = [
      f"{split} {part['clips']} clips, {part['seconds'] / 60:.1f} min,"
      f" {part['speakers']} speakers"
      for split, part in card["splits"].items()
    ]
    lines = [f"Wrote {self._out}: " + "; ".join(parts) + "."]
    if self._rejected:
      lines.append(
        f"Rejected {len(self._rejected)} rows: {self._out}/rejected.jsonl"
        " has the reasons."
      )
    return "\n".join(lines)


def _without_empty(rows: Mapping[str, Iterator]) -> dict[str, Iterable]:
  """Drops the splits without a row, which TFDS refuses to write."""
  kept: dict[str, Iterable] = {}
  for split, stream in rows.items():
    first = next(stream, None)
    if first is not None:
      kept[split] = itertools.chain([first], stream)
  return kept
