"""What the judges said, in OUT/judged-<i>-of-<n>.jsonl, one clip a line.

A line is {"role": "clip", "prompt" or "truth", "subset", "key", "seed",
"judge", "at", "file", …}: the judge's spec, when it was asked (seconds of the
epoch), a digest of the file that was judged, and "heard", "voice" (base64 of
float32) or "quality". Lines are only appended, the latest of a clip and judge
counts. A file ends with a torn line where its writer was killed; that line is
dropped.
"""

import base64
import dataclasses
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from s02jax.core.errors import UserError
from s02jax.evaluation.benchmark.plan import Shard

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Asked:
  """What was judged, by whom."""

  role: str
  subset: str
  key: str
  seed: int
  judge: str


_IDENTITY = [field.name for field in dataclasses.fields(Asked)]


def digest(path: pathlib.Path) -> str:
  """Of a file's content."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def encode(vector: np.ndarray) -> str:
  """float32 [e] as text."""
  return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


def decode(text: str) -> np.ndarray:
  """float32 [e] of `encode`."""
  return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)


class Ledger:
  """All that was judged, read where it lies: memory holds an index."""

  def __init__(self, out: pathlib.Path, shard: Shard):
    """Reads what there is; what is added goes to the shard's own file."""
    self._own = out / f"judged-{shard.number}-of-{shard.count}.jsonl"
    _mend(self._own)
    self._found: dict[Asked, tuple[float, pathlib.Path, int]] = {}
    for path in sorted(out.glob("judged-*-of-*.jsonl")):
      self._index(path)

  def _index(self, path: pathlib.Path) -> None:
    begin = 0
    with path.open("rb") as file:
      for number, line in enumerate(file, 1):
        if line.endswith(b"\n"):
          try:
            record = json.loads(line)
            asked = Asked(*(record[name] for name in _IDENTITY))
            self._note(asked, record["at"], path, begin)
          except (ValueError, KeyError, TypeError) as error:
            raise UserError(
              f"{path}, line {number}: no judgement; take the line out, and the"
              " same command judges again."
            ) from error
        begin += len(line)

  def _note(self, asked, at: float, path: pathlib.Path, begin: int) -> None:
    before = self._found.get(asked)
    if before is None or before[0] <= at:
      self._found[asked] = at, path, begin

  def get(self, asked: Asked) -> Record | None:
    """The record, if there is one."""
    if asked not in self._found:
      return None
    _, path, begin = self._found[asked]
    with path.open("rb") as file:
      file.seek(begin)
      return json.loads(file.readline())

  def add(self, records: Sequence[tuple[Asked, Record]]) -> None:
    """Appends records; they are on the disk when it returns."""
    at = time.time()
    with self._own.open("ab") as file:
      for asked, record in records:
        self._note(asked, at, self._own, file.tell())
        row = dataclasses.asdict(asked) | {"at": at} | record
        file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
      file.flush()
      os.fsync(file.fileno())


def _mend(path: pathlib.Path) -> None:
  """Cuts off what follows the last line's end."""
  if not path.exists():
    return
  with path.open("r+b") as file:
    whole = 0
    for line in file:
      whole += len(line) if line.endswith(b"\n") else 0
    file.truncate(whole)
