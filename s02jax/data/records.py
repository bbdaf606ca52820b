"""Corpus on disk: names of its files, its index, and reads of its records.

A corpus folder holds

    card.json                 rate, languages, speakers, splits, arguments
    speech/<version>/         the records, as TensorFlow Datasets wrote them
    index/<split>.npz         num_samples, speaker, language, text_bytes
    index/<split>.text_tokens.npy, text.model   from `s02 text`
    index/<split>.text_ids, …  from `s02 text`, see `s02jax.data.text_ids`
    features/                 tokens and latents, from `s02 extract`
    rejected.jsonl            input rows that did not become records
    warnings.jsonl            input rows that did, but deserve a look

`CorpusFiles` has these names; readers and writers take them from there.
"""

import collections
import dataclasses
import functools
import io
import json
import os
import pathlib
import struct
import threading
import zipfile
from typing import Any

import numpy as np
import soundfile

from s02jax.core import languages, places
from s02jax.core.errors import UserError
from s02jax.core.files import read_json
from s02jax.data import example
from s02jax.data.shards import Shards
from s02jax.data.text_ids import TextIds

FORMAT_VERSION = "1.0.0"
SPLITS = ("train", "seen", "unseen")


@dataclasses.dataclass(frozen=True)
class CorpusFiles:
  """Names of the files in a corpus folder."""

  folder: pathlib.Path

  @property
  def card(self) -> pathlib.Path:
    """Card of the corpus, JSON; written last."""
    return self.folder / "card.json"

  @property
  def records(self) -> pathlib.Path:
    """Folder of the records of all splits, in the format of TFDS."""
    return self.folder / "speech" / FORMAT_VERSION

  @property
  def rejected(self) -> pathlib.Path:
    """Input rows that did not become records, JSON lines."""
    return self.folder / "rejected.jsonl"

  @property
  def warnings(self) -> pathlib.Path:
    """Input rows that became records but deserve a look, JSON lines."""
    return self.folder / "warnings.jsonl"

  @property
  def text_model(self) -> pathlib.Path:
    """Text model trained on the texts of the train split."""
    return self.folder / "text.model"

  @property
  def features(self) -> pathlib.Path:
    """Folder of everything extracted from the records."""
    return self.folder / "features"

  def index(self, split: str) -> pathlib.Path:
    """Index of a split, the arrays of `Index`."""
    return self.folder / "index" / f"{split}.npz"

  def text_tokens(self, split: str) -> pathlib.Path:
    """Number of text ids of each record of a split, i32[records]."""
    return self.folder / "index" / f"{split}.text_tokens.npy"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Index:
  """Columns of a split that are read without its records, each i32[records]."""

  num_samples: np.ndarray  # length of the wave
  speaker: np.ndarray  # number in the card's speakers
  language: np.ndarray  # number in the card's languages
  text_bytes: np.ndarray  # length of the text in UTF-8

  @classmethod
  def read(cls, path: pathlib.Path) -> "Index":
    """Maps the index that `write` wrote: processes of a host share it."""
    path = places.local(path)
    return cls(
      **{x.name: _mapped(path, x.name) for x in dataclasses.fields(cls)}
    )

  @staticmethod
  def length(path: pathlib.Path) -> int:
    """Number of records, without reading every column."""
    return len(_mapped(places.local(path), "num_samples"))

  def write(self, path: pathlib.Path) -> None:
    """Writes the columns as int32 arrays of one .npz file."""
    np.savez(
      path,
      num_samples=np.asarray(self.num_samples, np.int32),
      speaker=np.asarray(self.speaker, np.int32),
      language=np.asarray(self.language, np.int32),
      text_bytes=np.asarray(self.text_bytes, np.int32),
    )


def _mapped(path: pathlib.Path, name: str) -> np.ndarray:
  """Array of an uncompressed .npz, mapped where it lies in the file."""
  with zipfile.ZipFile(path) as archive:
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type != zipfile.ZIP_STORED:
      raise UserError(f"{path} is compressed; build the corpus again.")
    with path.open("rb") as file:
      # A local header: 30 bytes, of which the last four are two lengths.
      file.seek(entry.header_offset + 26)
      lengths = struct.unpack("<HH", file.read(4))
      file.seek(sum(lengths), os.SEEK_CUR)
      np.lib.format.read_magic(file)
      shape, _, dtype = np.lib.format.read_array_header_1_0(file)
      place = file.tell()
  if not shape[0]:
    return np.zeros(shape, dtype)
  return np.memmap(path, dtype, "r", place, shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
  """Everything about one clip of a corpus."""

  id: str  # unique within the corpus
  wave: np.ndarray  # f32[num_samples] in [-1, 1]
  rate: int  # Hz
  text: str  # NFC; empty where there is no transcript
  language: str  # code of `core/languages.py`
  speaker: str  # name of the person
  source: str  # file or generator that the clip came from
  emotion: str  # empty if unknown
  description: str  # of the speaker's voice; empty if unknown


class WaveCache:
  """Cache of the most recently used waves, thread-safe, limited in bytes."""

  def __init__(self, capacity: int):
    """Makes an empty cache of at most `capacity` bytes."""
    self._capacity = capacity
    self._bytes = 0
    self._waves: collections.OrderedDict[int, np.ndarray]
    self._waves = collections.OrderedDict()
    self._lock = threading.Lock()

  def __len__(self) -> int:
    """Bytes held."""
    return self._bytes

  def get(self, key: int) -> np.ndarray | None:
    """Cached wave of a record, or None."""
    with self._lock:
      wave = self._waves.get(key)
      if wave is not None:
        self._waves.move_to_end(key)
      return wave

  def put(self, key: int, wave: np.ndarray) -> None:
    """Adds a wave, and drops the least recently used ones to make room."""
    with self._lock:
      if key in self._waves or wave.nbytes > self._capacity:
        return
      self._waves[key] = wave
      self._bytes += wave.nbytes
      while self._bytes > self._capacity:
        self._bytes -= self._waves.popitem(last=False)[1].nbytes


def _to_float(wave: np.ndarray) -> np.ndarray:
  return wave.astype(np.float32) / 32768


class Corpus:
  """Records of one split of a corpus; thread-safe and picklable.

  Attributes:
    rate: Hz of every wave.
    languages, speakers: names that `language` and `speaker` index.
    num_samples, speaker, language, text_bytes: i32[len(corpus)], see `Index`.
  """

  def __init__(self, folder: pathlib.Path, split: str, cache_bytes: int):
    self._arguments = (folder, split, cache_bytes)
    self.folder = folder
    self.files = CorpusFiles(folder)
    self.split = split
    self.card = _read_card(self.files)
    self.rate: int = self.card["rate"]
    self.languages = tuple(self.card["languages"])
    self.speakers = tuple(self.card["speakers"])
    index = Index.read(self.files.index(split))
    self.num_samples = index.num_samples
    self.speaker = index.speaker
    self.language = index.language
    self.text_bytes = index.text_bytes
    self._waves = WaveCache(cache_bytes)
    # Where all waves find room, they are decoded whole, and once.
    self._all_fit = 2 * int(self.num_samples.sum(dtype=int)) <= cache_bytes
    self._source = _open_records(self.files, split) if len(self) else None

  @classmethod
  def open(
    cls, folder: str | os.PathLike, split: str, cache_bytes: int = 2**29
  ) -> "Corpus":
    """Opens a split of a corpus folder.

    Args:
      folder: corpus folder, or its URL.
      split: one of SPLITS.
      cache_bytes: most memory that decoded waves are kept in.

    Raises:
      UserError: no such corpus or split.
    """
    if split not in SPLITS:
      known = ", ".join(SPLITS)
      raise UserError(f"corpus split {split!r} is unknown: there are {known}")
    return cls(places.at(folder), split, cache_bytes)

  def __reduce__(self):
    return Corpus, self._arguments

  def __len__(self) -> int:
    return len(self.num_samples)

  @functools.cached_property
  def text_tokens(self) -> np.ndarray:
    """Number of ids of each text with its language tag, i32[len(corpus)].

    Raises:
      UserError: `s02 text` has not run.
    """
    path = self.files.text_tokens(self.split)
    if not path.exists():
      raise UserError(
        f"{self.folder} has no text model yet: run"
        f" `s02 text --corpus {self.folder}`"
      )
    return np.load(places.local(path), mmap_mode="r")

  @functools.cached_property
  def text_ids(self) -> TextIds | None:
    """Ids of all texts; None where `s02 text` ran before it wrote them."""
    return TextIds.open(self.folder, self.split)

  def _read(self, index: int) -> dict[str, bytes]:
    if self._source is None or not 0 <= index < len(self):
      raise IndexError(f"record {index} of {len(self)} in {self.folder}")
    return example.fields(self._source.read(index))

  def _decode(self, index: int, row: dict[str, bytes]) -> np.ndarray:
    wave, _ = soundfile.read(io.BytesIO(row["audio"]), dtype="int16")
    self._waves.put(index, wave)
    return wave

  def wave(
    self, index: int, begin: int = 0, end: int | None = None
  ) -> np.ndarray:
    """Wave of a record, f32[num_samples[index]] in [-1, 1], or a part of it.

    Args:
      index: number of the record.
      begin: first sample.
      end: last sample, not included; all that there are where absent.
    """
    wave = self._waves.get(index)
    if wave is not None:
      return _to_float(wave[begin:end])
    row = self._read(index)
    if self._all_fit or (begin == 0 and end is None):
      return _to_float(self._decode(index, row)[begin:end])
    with soundfile.SoundFile(io.BytesIO(row["audio"])) as file:
      if begin:
        file.seek(begin)
      count = -1 if end is None else end - begin
      return _to_float(file.read(count, dtype="int16"))

  def text(self, index: int) -> str:
    """Text of a record, without decoding its audio."""
    return self._field(index, "text")

  def id(self, index: int) -> str:
    """Id of a record, without decoding its audio."""
    return self._field(index, "id")

  def emotion(self, index: int) -> str:
    """Emotion of a record, "" if unknown, without decoding its audio."""
    return self._field(index, "emotion")

  def _field(self, index: int, name: str) -> str:
    """Text field of a record."""
    return self._read(index).get(name, b"").decode()

  def record(self, index: int) -> Record:
    """Decodes one record in whole."""
    row = self._read(index)
    wave = self._waves.get(index)
    if wave is None:
      wave = self._decode(index, row)
    names = ("id", "text", "language", "speaker", "source", "emotion",
             "description")  # fmt: skip
    return Record(
      wave=_to_float(wave),
      rate=self.rate,
      **{name: row.get(name, b"").decode() for name in names},
    )


def held_out(folder: str | os.PathLike) -> Corpus:
  """Clips that no model was trained on: `unseen`, or `seen` where it is empty.

  Raises:
    UserError: no such corpus, or both splits are empty.
  """
  for split in reversed(SPLITS[1:]):
    corpus = Corpus.open(folder, split)
    if len(corpus):
      return corpus
  raise UserError(
    f"{folder} holds out no clip that models could be measured on; build it"
    " with more recordings"
  )


def _read_card(files: CorpusFiles) -> dict[str, Any]:
  folder, path = files.folder, files.card
  if not path.exists():
    raise UserError(
      f"{folder} is not a corpus (it has no card.json): build one with"
      " `s02 corpus espeak` or `s02 corpus manifest`"
    )
  card = json.loads(path.read_text())
  if card["version"] != FORMAT_VERSION:
    raise UserError(
      f"{folder} was built as corpus version {card['version']}, this program"
      f" reads {FORMAT_VERSION}: build it again"
    )
  languages.add_rows(card.get("added_languages", ()))
  return card


# Names of the files of records, as TensorFlow Datasets gives them.
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


def _open_records(files: CorpusFiles, split: str) -> Shards:
  """Records of a split, by the card that TensorFlow Datasets wrote."""
  path = files.records / "dataset_info.json"
  card = read_json(path, "s02 corpus")
  found = [s for s in card["splits"] if s["name"] == split]
  if not found or found[0]["filepathTemplate"] != _TEMPLATE:
    raise UserError(
      f"{path} does not describe the records of {split!r}: build the corpus"
      " again"
    )
  lengths = [int(n) for n in found[0]["shardLengths"]]
  stem, of = f"{card['name']}-{split}.array_record", f"of-{len(lengths):05d}"
  names = [f"{stem}-{i:05d}-{of}" for i in range(len(lengths))]
  return Shards([files.records / name for name in names], lengths)
