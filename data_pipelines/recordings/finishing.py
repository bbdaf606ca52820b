"""Third pipeline, and the end: records of every shard, then one corpus."""

import collections
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from array_record.python import array_record_module

from data_pipelines import corpus_writer
from data_pipelines.recordings.settings import Settings
from data_pipelines.recordings.store import Store
from s02jax.core import files
from s02jax.data import records
from s02jax.text import front

# Columns beside the index, NaN where a measure is unknown.
ATTRIBUTES = (
  "pitch", "pitch_range", "rate", "loudness", "gender", "quality", "bandwidth",
  "music", "error", "start",
)  # fmt: skip
_TEXTS = ("id", "language", "emotion", "description", "text")


class Finish(beam.DoFn):
  """Shard to its records, index and refusals, unless they are there."""

  def __init__(self, store: Store, rate: int):
    super().__init__()
    self._store = store
    self._rate = rate

  def setup(self):
    """Makes the serialiser of records, which is slow to import."""
    from data_pipelines import speech

    self._serialise = speech.serialiser()

  def process(self, shard: int):
    """Writes one shard."""
    store = self._store
    if not store.counts(shard).exists():
      fates = json.loads(store.decided(shard).read_text("utf-8"))
      with files.atomic_folder(store.shard(shard)) as folder:
        self._write(folder, shard, fates)
    yield shard

  def _write(self, folder: pathlib.Path, shard: int, fates: dict) -> None:
    rows: dict[str, list[dict[str, Any]]] = {s: [] for s in records.SPLITS}
    refused = []
    with open(self._store.sounds(shard), "rb") as sounds:
      writers = {
        split: array_record_module.ArrayRecordWriter(
          str(folder / f"{split}.array_record"), "group_size:1"
        )
        for split in records.SPLITS
      }
      for row in self._store.read_found(shard):
        unheard = ("", "", row["step"], row["reason"])
        split, speaker, step, reason = fates.get(row["id"], unheard)
        if reason:
          refused.append(row | {"reason": reason, "step": step})
          continue
        sounds.seek(row["offset"])
        audio = sounds.read(row["size"])
        writers[split].write(self._serialise(self._record(row, speaker, audio)))
        rows[split].append(row | {"speaker": speaker})
      for writer in writers.values():
        writer.close()
    for split, found in rows.items():
      _write_columns(folder, split, found)
    lines = [json.dumps(_refusal(row), ensure_ascii=False) for row in refused]
    files.write_text(
      folder / "rejected.jsonl", "".join(x + "\n" for x in lines)
    )
    files.write_json(folder / "counts.json", _counts(rows, refused, self._rate))

  def _record(
    self, row: dict[str, Any], speaker: str, audio: bytes
  ) -> dict[str, Any]:
    return {name: row[name] for name in _TEXTS} | {
      "audio": audio,
      "num_samples": row["num_samples"],
      "duration": row["num_samples"] / self._rate,
      "speaker": speaker,
      "source": row["uri"],
    }


def _refusal(row: dict[str, Any]) -> dict[str, Any]:
  """Line of rejected.jsonl; `line` and `path` as other builders write them."""
  return {
    "line": 0,
    "id": row["id"],
    "path": row["uri"],
    "reason": row["reason"],
    "step": row["step"],
    "start": row["start"],
    "end": row["end"],
    "given": row["given"],
    "texts": row["texts"],
    "error": row["error"],
  }


def _write_columns(
  folder: pathlib.Path, split: str, rows: Sequence[dict[str, Any]]
) -> None:
  """Columns of a split of a shard; names of speakers and languages as text."""
  measures = np.array(
    [
      [
        (row["measures"] | {"error": row["error"], "start": row["start"]}).get(
          name
        )
        for name in ATTRIBUTES
      ]
      for row in rows
    ],
    np.float32,
  ).reshape(len(rows), len(ATTRIBUTES))
  with open(folder / f"{split}.npz", "wb") as file:
    np.savez(
      file,
      num_samples=np.array([row["num_samples"] for row in rows], np.int32),
      text_bytes=np.array(
        [len(row["text"].encode()) for row in rows], np.int32
      ),
      speaker=np.array([row["speaker"] for row in rows], np.str_),
      language=np.array([row["language"] for row in rows], np.str_),
      attributes=measures,
    )


def _counts(rows, refused, rate: int) -> dict[str, Any]:
  """Seconds of a shard by step that refused them, and by language if kept."""
  lost: dict[str, list[float]] = collections.defaultdict(lambda: [0, 0.0])
  for row in refused:
    lost[row["step"]][0] += 1
    lost[row["step"]][1] += row["end"] - row["start"]
  kept: dict[str, list[float]] = collections.defaultdict(lambda: [0, 0.0])
  for row in (row for part in rows.values() for row in part):
    kept[row["language"]][0] += 1
    kept[row["language"]][1] += row["num_samples"] / rate
  return {
    "records": {split: len(found) for split, found in rows.items()},
    "kept": {k: [n, round(s, 3)] for k, (n, s) in sorted(kept.items())},
    "refused": {k: [n, round(s, 3)] for k, (n, s) in sorted(lost.items())},
  }


def expand(
  pipeline: beam.Pipeline,
  store: Store,
  shards: Sequence[int],
  settings: Settings,
) -> None:
  """Adds to a pipeline what writes the records of all shards."""
  (
    pipeline
    | "shards" >> beam.Create(list(shards))
    | "spread" >> beam.Reshuffle()
    | "finish" >> beam.ParDo(Finish(store, settings.rate))
  )


# ---------------------------------------------------------------------- the end


def assemble(
  store: Store,
  shards: Sequence[int],
  settings: Settings,
  builder: dict[str, Any],
  out: pathlib.Path,
) -> dict[str, Any]:
  """Makes the corpus folder of all shards under its temporary name.

  Args:
    store: of the build.
    shards: their numbers, all finished.
    settings: of the build.
    builder: its entry of the card.
    out: folder to write into; it is empty.

  Returns:
    The card, which was written last.
  """
  from data_pipelines import speech

  found = records.CorpusFiles(out)
  found.records.mkdir(parents=True)
  found.index("train").parent.mkdir()
  names = _Names(store, shards)
  parts, lengths = {}, {}
  for split in records.SPLITS:
    files_of = [store.shard(n) / f"{split}.array_record" for n in shards]
    columns = [np.load(store.shard(n) / f"{split}.npz") for n in shards]
    index = names.index(columns)
    index.write(found.index(split))
    _write_attributes(out, split, columns)
    parts[split] = names.part(index)
    lengths[split] = [len(x["num_samples"]) for x in columns]
    if not sum(lengths[split]):
      del lengths[split]
      continue
    for i, path in enumerate(files_of):
      name = speech.shard_name(split, i, len(shards))
      _link(path, found.records / name)
  speech.describe(out, "Speech corpus.", lengths)
  rejected = _write_rejected(store, shards, found.rejected)
  files.write_text(found.warnings, "")
  card = corpus_writer.card(
    parts,
    rate=settings.rate,
    codes=names.languages,
    speakers=names.speakers,
    rejected=rejected,
    warnings=0,
    notes="Cut from recordings by `s02 corpus build`.",
    texts=front.RULES,
    builder=builder,
  )
  files.write_json(found.card, card)
  return card


class _Names:
  """Speakers and languages of a corpus, numbered by their sorted names."""

  def __init__(self, store: Store, shards: Sequence[int]):
    speakers, codes = set(), set()
    for shard in shards:
      for split in records.SPLITS:
        with np.load(store.shard(shard) / f"{split}.npz") as columns:
          speakers.update(columns["speaker"].tolist())
          codes.update(columns["language"].tolist())
    self.speakers = sorted(speakers)
    self.languages = sorted(codes)

  def index(self, columns: Sequence[Any]) -> records.Index:
    """Index of a split, by the columns of its shards."""

    def joined(name: str) -> np.ndarray:
      return np.concatenate([x[name] for x in columns])

    return records.Index(
      num_samples=joined("num_samples"),
      speaker=np.searchsorted(self.speakers, joined("speaker")).astype(
        np.int32
      ),
      language=np.searchsorted(self.languages, joined("language")).astype(
        np.int32
      ),
      text_bytes=joined("text_bytes"),
    )

  def part(self, index: records.Index) -> corpus_writer.Part:
    """Counts of a split for the card."""
    clips: collections.Counter[str] = collections.Counter()
    samples: collections.Counter[str] = collections.Counter()
    for number, code in enumerate(self.languages):
      mine = index.language == number
      if mine.any():
        clips[code] = int(mine.sum())
        samples[code] = int(index.num_samples[mine].sum(dtype=np.int64))
    return corpus_writer.Part(
      clips=clips, samples=samples, speakers=len(np.unique(index.speaker))
    )


def _write_attributes(out: pathlib.Path, split: str, columns) -> None:
  """Attributes of the records of a split: float32 arrays by name."""
  joined = np.concatenate([x["attributes"] for x in columns])
  with open(out / "index" / f"{split}.attributes.npz", "wb") as file:
    np.savez(file, **dict(zip(ATTRIBUTES, joined.T, strict=True)))


def _link(path: pathlib.Path, name: pathlib.Path) -> None:
  """Gives a file a second name, or copies it where that cannot be."""
  try:
    os.link(path, name)
  except OSError:
    shutil.copyfile(path, name)


def _write_rejected(
  store: Store, shards: Sequence[int], path: pathlib.Path
) -> int:
  """Joins the refusals of all shards, and rows of the source; counts them."""
  count = 0
  with open(path, "w", encoding="utf-8") as file:
    for line in _refusals(store, shards):
      file.write(line)
      count += 1
  return count


def _refusals(store: Store, shards: Sequence[int]) -> Iterator[str]:
  for part in [
    store.unread,
    *(store.shard(shard) / "rejected.jsonl" for shard in shards),
  ]:
    with open(part, encoding="utf-8") as lines:
      yield from lines
