"""Ledger of the judges' answers: OUT/judged-<i>-of-<n>.jsonl, one a line.

A line is {"role": "clip", "prompt" or "truth", "subset", "key", "seed",
"judge", "at", "file", …}: the judge's spec, when it was asked (seconds of the
epoch), a digest of the file that was judged, and "heard", "voice" (base64 of
float32), "quality", "silent" or "missing". Lines are only appended, the latest
of a clip and judge counts. A file ends with a torn line where its writer was
killed; that line is dropped.
"""

import base64
import dataclasses
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from s02jax.core.errors import UserError
from s02jax.core.shard import Shard


@dataclasses.dataclass(frozen=True)
class Asked:
  """Identity of one judgement: a file's role and name, and the judge."""

  role: str  # "clip", "prompt" or "truth"
  subset: str  # "" for a prompt or a truth
  key: str  # of the item; path in the set for a prompt or a truth
  seed: int  # 0 for a prompt or a truth
  judge: str  # spec


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgeAnswer:
  """Answer of one judge about one file, or the reason why it was not asked."""

  file: str | None = None  # digest of the judged file; None: there is none
  heard: str | None = None  # a recogniser's text
  voice: np.ndarray | None = None  # a speaker judge's vector, float32[e]
  # Scores of a quality judge by measure; None where there is nothing to hear.
  quality: Mapping[str, float | None] | None = None
  silent: bool = False  # nobody speaks in the clip
  missing: str | None = None  # fault of a clip that cannot be judged

  def to_json(self) -> dict[str, Any]:
    """Fields of a line of the ledger."""
    found: dict[str, Any] = {"file": self.file}
    if self.heard is not None:
      found["heard"] = self.heard
    if self.voice is not None:
      found["voice"] = encode(self.voice)
    if self.quality is not None:
      found["quality"] = dict(self.quality)
    if self.silent:
      found["silent"] = True
    if self.missing is not None:
      found["missing"] = self.missing
    return found

  @classmethod
  def from_json(cls, found: Mapping[str, Any]) -> "JudgeAnswer":
    """Reads a line of the ledger."""
    return cls(
      file=found["file"],
      heard=found.get("heard"),
      voice=decode(found["voice"]) if "voice" in found else None,
      quality=found.get("quality"),
      silent=found.get("silent", False),
      missing=found.get("missing"),
    )


_IDENTITY = [field.name for field in dataclasses.fields(Asked)]


def digest(path: pathlib.Path) -> str:
  """Digest of a file's content."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def encode(vector: np.ndarray) -> str:
  """Writes float32[e] as text."""
  return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


def decode(text: str) -> np.ndarray:
  """Reads float32[e] that `encode` wrote."""
  return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)


class Ledger:
  """All answers of an evaluation, read from disk by an index in memory."""

  def __init__(self, out: pathlib.Path, shard: Shard):
    """Indexes all files of `out`; additions go to the shard's own file.

    Raises:
      UserError: a line is not a judgement.
    """
    self._own = out / f"judged-{shard.number}-of-{shard.count}.jsonl"
    _mend(self._own)
    self._found: dict[Asked, tuple[float, pathlib.Path, int]] = {}
    for path in sorted(out.glob("judged-*-of-*.jsonl")):
      self._index(path)

  def _index(self, path: pathlib.Path) -> None:
    """Notes where each whole line of a file begins."""
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
    """Keeps the place of the latest answer."""
    before = self._found.get(asked)
    if before is None or before[0] <= at:
      self._found[asked] = at, path, begin

  def get(self, asked: Asked) -> JudgeAnswer | None:
    """Reads the latest answer, if there is one."""
    if asked not in self._found:
      return None
    _, path, begin = self._found[asked]
    with path.open("rb") as file:
      file.seek(begin)
      return JudgeAnswer.from_json(json.loads(file.readline()))

  def add(self, answers: Sequence[tuple[Asked, JudgeAnswer]]) -> None:
    """Appends answers; they are on the disk when it returns."""
    at = time.time()
    with self._own.open("ab") as file:
      for asked, answer in answers:
        self._note(asked, at, self._own, file.tell())
        line = dataclasses.asdict(asked) | {"at": at} | answer.to_json()
        file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
      file.flush()
      os.fsync(file.fileno())


def _mend(path: pathlib.Path) -> None:
  """Cuts off a torn last line."""
  if not path.exists():
    return
  with path.open("r+b") as file:
    whole = 0
    for line in file:
      whole += len(line) if line.endswith(b"\n") else 0
    file.truncate(whole)
