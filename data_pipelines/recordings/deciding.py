"""Second pipeline: what needs all clips at once, over their rows alone.

  rows ─► duplicates ─► speakers without a name ─► splits ─► decided/<shard>

Every decision is a function of a group of clips as a set (those of one hash, of
one folder, of one text): neither order nor workers change it, and nobody holds
more than a group.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from data_pipelines.hashing import digest
from data_pipelines.manifest import text_key
from data_pipelines.recordings import store
from data_pipelines.recordings.analysis import fingerprint, voices
from data_pipelines.recordings.settings import Settings
from data_pipelines.recordings.store import Store
from s02jax.core import files
from s02jax.data import records
from s02jax.pretrained.judges import unit_vectors

Row = dict[str, Any]
_TRAIN, _SEEN, _UNSEEN = range(3)  # indices of records.SPLITS
_CROWD = 200  # clips of one hash that are compared with the best ones alone
_BEST = 20  # of them
_FOLDER = 2_000  # recordings of a folder among which persons are looked for


def _rows(shard: int, folder: Store) -> Iterator[Row]:
  """Yields the fields of a shard's good clips that decisions need."""
  for row in folder.read_found(shard):
    if not row["reason"]:
      yield {
        "shard": shard,
        "id": row["id"],
        "uri": row["uri"],
        "group": row["group"],
        "seconds": row["end"] - row["start"],
        "given": bool(row["given"]),
        "language": row["language"],
        "speaker": row["speaker"],
        "text": text_key(row["text"]) if row["text"] else "",
        "digest": row["digest"],
        "sketch": row["sketch"],
        "vector": row.get("vector", ""),
        "step": "",
        "reason": "",
      }


# ------------------------------------------------------------------- duplicates


def _rank(row: Row) -> tuple:
  """Order of duplicates: the first of them is kept."""
  return not row["given"], -row["seconds"], row["id"]


def _keys(row: Row) -> Iterator[tuple[str, tuple]]:
  """Hashes by which a clip meets its duplicates."""
  light = (_rank(row), row["id"], row["sketch"])
  yield row["digest"], light
  sketch = store.unpack(row["sketch"], np.uint64)
  for key in sketch[: fingerprint.KEYS]:
    yield f"{key:x}", light


def _losers(element, least: float) -> Iterator[tuple[str, str]]:
  """Clips of a group that are duplicates of a better one, and of which."""
  key, group = element
  exact = len(key) == 24  # digits of a digest of samples
  ranked = sorted(set(group))
  sketches = [tuple(store.unpack(x[2], np.uint64).tolist()) for x in ranked]
  for i, (_, own, _) in enumerate(ranked):
    better = range(min(i, _BEST) if len(ranked) > _CROWD else i)
    for j in better:
      if exact or fingerprint.overlap(sketches[i], sketches[j]) >= least:
        yield own, ranked[j][1]
        break


def _without_duplicates(element) -> Iterator[Row]:
  _, joined = element
  for row in joined["rows"]:
    if joined["better"]:
      better = min(joined["better"])
      reason = f"sounds like the clip {better}, which is kept"
      row = row | {"step": "duplicates", "reason": reason}
    yield row


# --------------------------------------------------------------------- speakers


def _voice(row: Row) -> tuple[tuple[str, int], tuple[str, float, str]]:
  """Voice of a clip, by the folder in which its person is looked for."""
  bucket = digest(row["uri"]) % (1 << 32) if not row["vector"] else 0
  return (row["group"], bucket), (row["uri"], row["seconds"], row["vector"])


def _people(element, least: float) -> Iterator[tuple[str, str]]:
  """Name of the speaker of each recording of a folder."""
  _, group = element
  by_uri: dict[str, list[tuple[float, str]]] = {}
  for uri, seconds, vector in sorted(group):
    by_uri.setdefault(uri, []).append((seconds, vector))
  names = sorted(by_uri)
  for first in range(0, len(names), _FOLDER):
    some = names[first : first + _FOLDER]
    vectors = np.stack([_mean(by_uri[name]) for name in some])
    known = np.any(vectors, axis=1)
    same = dict(zip(some, some, strict=True))
    if known.any():
      heard = [name for name, yes in zip(some, known, strict=True) if yes]
      same |= voices.people(heard, vectors[known], least)
    for name, person in same.items():
      number = hashlib.blake2b(person.encode(), digest_size=8).hexdigest()
      yield name, f"voice-{number}"


def _mean(clips: Sequence[tuple[float, str]]) -> np.ndarray:
  """Voice of a recording: the mean of its clips' vectors."""
  parts = [
    seconds * store.unpack(vector, np.float16).astype(np.float32)
    for seconds, vector in clips
    if vector
  ]
  if not parts:
    return np.zeros(1, np.float32)
  return unit_vectors(np.sum(parts, axis=0))


def _named(element) -> Iterator[Row]:
  _, joined = element
  for row in joined["rows"]:
    yield row | {"speaker": next(iter(joined["names"]))}


# ----------------------------------------------------------------------- splits


def _share(*parts: str) -> float:
  return digest(*parts) / 2.0**64


class _Split(beam.DoFn):
  """Split of a clip, by hashes of its speaker and its text."""

  def __init__(self, settings: Settings):
    super().__init__()
    self._settings = settings

  def process(self, row: Row, largest: dict[str, tuple[float, str]]):
    settings, salt = self._settings, str(self._settings.seed)
    stays = {name for _, name in largest.values()}
    split = _TRAIN
    if (
      row["speaker"] not in stays
      and _share("speaker", salt, row["speaker"]) < settings.unseen_speakers
    ):
      split = _UNSEEN
    elif row["text"] and (
      _share("text", salt, row["text"]) < settings.held_out_texts
    ):
      split = _SEEN
    yield row | {"split": split}


def _held_out(element) -> Iterator[Row]:
  """Keeps a text in `unseen` or the other splits, where more clips say it."""
  _, group = element
  rows = list(group)
  unseen = sum(row["split"] == _UNSEEN for row in rows)
  fewer = 2 * unseen < len(rows)  # unseen clips than others
  for row in rows:
    if 0 < unseen < len(rows) and (row["split"] == _UNSEEN) == fewer:
      reason = (
        "its speaker is held out and its text is not"
        if fewer
        else "text is held out for the unseen split"
      )
      row = row | {"step": "splits", "reason": reason}
    yield row


def _by_text(row: Row) -> tuple[str, Row]:
  """Group of a clip's text; without one, a group of its own."""
  return row["text"] or f"\0{row['id']}", row


def _fate(row: Row) -> tuple[int, tuple]:
  split = records.SPLITS[row.get("split", _TRAIN)]
  fate = (row["id"], split, row["speaker"], row["step"], row["reason"])
  return row["shard"], fate


class _Write(beam.DoFn):
  """Fates of the clips of a shard to its file."""

  def __init__(self, folder: Store):
    super().__init__()
    self._store = folder

  def process(self, element):
    shard, fates = element
    text = json.dumps(
      {own: rest for own, *rest in sorted(fates)}, ensure_ascii=False
    )
    files.write_text(self._store.decided(shard), text)
    yield shard


def _largest(values: Iterable[tuple[float, str]]) -> tuple[float, str]:
  return max(values, default=(0.0, ""))


def expand(
  pipeline: beam.Pipeline,
  folder: Store,
  shards: Sequence[int],
  settings: Settings,
) -> None:
  """Adds to a pipeline what decides on all clips."""
  rows = (
    pipeline
    | "shards" >> beam.Create(list(shards))
    | "spread" >> beam.Reshuffle()
    | "rows" >> beam.FlatMap(_rows, folder)
  )
  if settings.runs("duplicates"):
    rows = _distinct(rows, settings.duplicate)
  refused = rows | "refused" >> beam.Filter(lambda row: row["reason"])
  rows = rows | "kept" >> beam.Filter(lambda row: not row["reason"])
  rows = _with_speakers(rows, settings.same_person)
  largest = (
    rows
    | beam.Map(lambda r: ((r["language"], r["speaker"]), r["seconds"]))
    | "seconds" >> beam.GroupByKey()
    # summed in order: floats in any other give another sum
    | beam.MapTuple(lambda k, s: (k[0], (round(sum(sorted(s)), 3), k[1])))
    | "largest" >> beam.CombinePerKey(_largest)
  )
  rows = (
    rows
    | "split" >> beam.ParDo(_Split(settings), beam.pvalue.AsDict(largest))
    | "text" >> beam.Map(_by_text)
    | "by text" >> beam.GroupByKey()
    | "held out" >> beam.FlatMap(_held_out)
  )
  (
    (rows, refused)
    | beam.Flatten()
    | "fate" >> beam.Map(_fate)
    | "by shard" >> beam.GroupByKey()
    | "write" >> beam.ParDo(_Write(folder))
  )


def _distinct(rows, least: float):
  """Notes the better clip in rows of duplicates."""
  better = (
    rows
    | "keys" >> beam.FlatMap(_keys)
    | "by key" >> beam.GroupByKey()
    | "losers" >> beam.FlatMap(_losers, least)
  )
  return (
    {"rows": rows | beam.Map(lambda row: (row["id"], row)), "better": better}
    | "with better" >> beam.CoGroupByKey()
    | "duplicates" >> beam.FlatMap(_without_duplicates)
  )


def _with_speakers(rows, least: float):
  """Names the speakers of rows that have none."""
  named = rows | "named" >> beam.Filter(lambda row: row["speaker"])
  unnamed = rows | "unnamed" >> beam.Filter(lambda row: not row["speaker"])
  names = (
    unnamed
    | "voice" >> beam.Map(_voice)
    | "by folder" >> beam.GroupByKey()
    | "people" >> beam.FlatMap(_people, least)
  )
  by_uri = unnamed | "uri" >> beam.Map(lambda row: (row["uri"], row))
  found = (
    {"rows": by_uri, "names": names}
    | "with names" >> beam.CoGroupByKey()
    | "name" >> beam.FlatMap(_named)
  )
  return (named, found) | "all" >> beam.Flatten()
