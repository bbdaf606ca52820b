"""Shards between the steps: clips with their sound, and what was decided.

While a corpus is built, its folder `.NAME.build` holds

    plan.json                   what is built; with other settings it is refused
    recordings/<shard>.jsonl    recordings of a shard, in any order
    found/<shard>.jsonl, .flac  its clips by id, their sound one after another
    decided/<shard>.json        split and speaker of each, or why it is refused
    shards/<shard>/             records, index and refusals; counts.json last

Whatever is there under its name is whole. A shard is a function of the source
and the settings, so that what is done twice is the same bytes.
"""

import base64
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from data_pipelines.recordings.items import Chunk, Clip, Recording
from s02jax.core import files

_SHOWN = 20  # refused clips of a shard whose sound is kept


@dataclasses.dataclass(frozen=True)
class Store:
  """Names of the files of a build."""

  folder: pathlib.Path

  @property
  def plan(self) -> pathlib.Path:
    """Arguments, shards and sizes, JSON; written after the recordings."""
    return self.folder / "plan.json"

  def recordings(self, shard: int) -> pathlib.Path:
    """Recordings of a shard."""
    return self.folder / "recordings" / f"{shard:05d}.jsonl"

  @property
  def unread(self) -> pathlib.Path:
    """Rows of the source that name no recording."""
    return self.folder / "recordings" / "unread.jsonl"

  def found(self, shard: int) -> pathlib.Path:
    """Clips of a shard, JSON lines in the order of their ids."""
    return self.folder / "found" / f"{shard:05d}.jsonl"

  def sounds(self, shard: int) -> pathlib.Path:
    """FLAC files of the clips of a shard, one behind the other."""
    return self.found(shard).with_suffix(".flac")

  def decided(self, shard: int) -> pathlib.Path:
    """Fates of the clips of a shard, JSON by id."""
    return self.folder / "decided" / f"{shard:05d}.json"

  def shard(self, shard: int) -> pathlib.Path:
    """Folder of the records of a shard."""
    return self.folder / "shards" / f"{shard:05d}"

  def counts(self, shard: int) -> pathlib.Path:
    """Mark of a shard that is done, JSON."""
    return self.shard(shard) / "counts.json"

  def read_chunks(self, shard: int, size: int) -> Iterator[Chunk]:
    """Chunks of a shard: its recordings by name, about `size` bytes each."""
    lines = self.recordings(shard).read_text("utf-8").splitlines()
    items = sorted(map(Recording.from_json, lines), key=lambda x: x.uri)
    chunk: list[Recording] = []
    total = 0
    for item in items:
      if chunk and total + item.size > size:
        yield Chunk(shard=shard, recordings=tuple(chunk))
        chunk, total = [], 0
      chunk.append(item)
      total += item.size
    yield Chunk(shard=shard, recordings=tuple(chunk))

  def write_found(self, shard: int, rows: Iterable[tuple[str, bytes]]) -> None:
    """Writes the clips of a shard, given in any order.

    Args:
      shard: its number.
      rows: JSON of each clip, as of `to_row`, and its sound.
    """
    parsed = [(json.loads(row), sound) for row, sound in rows]
    parsed.sort(key=lambda pair: pair[0]["id"])
    lines, at, shown = [], 0, 0
    sounds = self.sounds(shard)
    sounds.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic(sounds) as temporary, open(temporary, "wb") as file:
      for row, sound in parsed:
        if row["reason"]:
          shown += bool(sound)
          sound = sound if shown <= _SHOWN else b""
        file.write(sound)
        row |= {"offset": at, "size": len(sound)}
        at += len(sound)
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    files.write_text(self.found(shard), "".join(lines))

  def read_found(self, shard: int) -> Iterator[dict[str, Any]]:
    """Rows of the clips of a shard, by id."""
    with open(self.found(shard), encoding="utf-8") as file:
      yield from map(json.loads, file)


def to_row(clip: Clip) -> str:
  """JSON of a clip without its sound."""
  item = clip.recording
  row = {
    "id": clip.id,
    "uri": item.uri,
    "group": item.group,
    "start": clip.start,
    "end": clip.end,
    "language": clip.language,
    "speaker": item.speaker,
    "emotion": item.emotion,
    "description": item.description,
    "given": clip.given,
    "texts": clip.texts,
    "text": clip.text,
    "error": clip.error,
    "num_samples": clip.num_samples,
    "measures": clip.measures,
    "digest": clip.digest,
    "step": clip.step,
    "reason": clip.reason,
  }
  if not clip.reason:
    sketch = np.array(clip.sketch, np.uint64)
    row["sketch"] = pack(sketch)
    if clip.vector is not None and not item.speaker:
      row["vector"] = pack(clip.vector.astype(np.float16))
  return json.dumps(row, ensure_ascii=False)


def pack(array: np.ndarray) -> str:
  """Array as text, little endian."""
  data = array.astype(array.dtype.newbyteorder("<")).tobytes()
  return base64.b64encode(data).decode()


def unpack(text: str, dtype: Any) -> np.ndarray:
  """Array that `pack` made a text of."""
  return np.frombuffer(
    base64.b64decode(text), np.dtype(dtype).newbyteorder("<")
  )
