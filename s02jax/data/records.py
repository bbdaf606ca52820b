"""Reading a corpus, and the tokens and latents that belong to it.

A corpus folder holds

    card.json                 rate, languages, speakers, splits, arguments
    speech/<version>/         the records, as TensorFlow Datasets wrote them
    index/<split>.npz         num_samples, speaker, language, text_bytes
    index/<split>.text_tokens.npy, text.model   from `s02 text`
    features/                 tokens and latents, from `s02 extract`
    rejected.jsonl            input rows that did not become records
"""

import collections
import dataclasses
import functools
import io
import json
import os
import pathlib
import threading
from typing import Any

import numpy as np
import soundfile

from s02jax.core.errors import UserError

FORMAT_VERSION = "1.0.0"
SPLITS = ("train", "seen", "unseen")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
  """One clip."""

  id: str
  wave: np.ndarray  # f32[num_samples] in [-1, 1]
  rate: int  # Hz
  text: str  # NFC; empty where there is no transcript
  language: str  # code
  speaker: str
  source: str  # the file or generator it came from
  emotion: str  # empty if unknown
  description: str  # of the voice; empty if unknown


class _WaveCache:
  """The most recently used waves, up to a number of bytes. Thread-safe."""

  def __init__(self, capacity: int):
    self._capacity = capacity
    self._bytes = 0
    self._waves: collections.OrderedDict[int, np.ndarray]
    self._waves = collections.OrderedDict()
    self._lock = threading.Lock()

  def get(self, key: int) -> np.ndarray | None:
    with self._lock:
      wave = self._waves.get(key)
      if wave is not None:
        self._waves.move_to_end(key)
      return wave

  def put(self, key: int, wave: np.ndarray) -> None:
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
  """One split of a corpus. Safe to use from several threads; picklable.

  Attributes:
    rate: Hz of every wave.
    languages, speakers: names that `language` and `speaker` index.
    num_samples, speaker, language, text_bytes: i32[len(corpus)].
  """

  def __init__(self, folder: pathlib.Path, split: str, cache_bytes: int):
    self._arguments = (folder, split, cache_bytes)
    self.folder = folder
    self.split = split
    self.card = _read_card(folder)
    self.rate: int = self.card["rate"]
    self.languages = tuple(self.card["languages"])
    self.speakers = tuple(self.card["speakers"])
    with np.load(folder / "index" / f"{split}.npz") as index:
      self.num_samples: np.ndarray = index["num_samples"]
      self.speaker: np.ndarray = index["speaker"]
      self.language: np.ndarray = index["language"]
      self.text_bytes: np.ndarray = index["text_bytes"]
    self._waves = _WaveCache(cache_bytes)
    self._source: Any = _open_records(folder, split) if len(self) else None

  @classmethod
  def open(
    cls, folder: str | os.PathLike, split: str, cache_bytes: int = 2**29
  ) -> "Corpus":
    """Opens a split; decoded waves are kept in up to `cache_bytes` bytes.

    Raises UserError if there is no such corpus or split.
    """
    if split not in SPLITS:
      known = ", ".join(SPLITS)
      raise UserError(f"corpus split {split!r} is unknown: there are {known}")
    return cls(pathlib.Path(folder), split, cache_bytes)

  def __reduce__(self):
    return Corpus, self._arguments

  def __len__(self) -> int:
    return len(self.num_samples)

  @functools.cached_property
  def text_tokens(self) -> np.ndarray:
    """i32[len(corpus)], the ids of each text with its language tag."""
    path = self.folder / "index" / f"{self.split}.text_tokens.npy"
    if not path.exists():
      raise UserError(
        f"{self.folder} has no text model yet: run"
        f" `s02 text --corpus {self.folder}`"
      )
    return np.load(path)

  def _read(self, index: int) -> dict[str, Any]:
    if self._source is None or not 0 <= index < len(self):
      raise IndexError(f"record {index} of {len(self)} in {self.folder}")
    return self._source[index]

  def _decode(self, index: int, row: dict[str, Any]) -> np.ndarray:
    wave, _ = soundfile.read(io.BytesIO(row["audio"]), dtype="int16")
    self._waves.put(index, wave)
    return wave

  def wave(self, index: int) -> np.ndarray:
    """f32[num_samples[index]] in [-1, 1]."""
    wave = self._waves.get(index)
    if wave is None:
      wave = self._decode(index, self._read(index))
    return _to_float(wave)

  def text(self, index: int) -> str:
    """The text of a record, without decoding its audio."""
    return self._read(index)["text"].decode()

  def id(self, index: int) -> str:
    """The id of a record, without decoding its audio."""
    return self._read(index)["id"].decode()

  def record(self, index: int) -> Record:
    """Everything about one clip."""
    row = self._read(index)
    wave = self._waves.get(index)
    if wave is None:
      wave = self._decode(index, row)
    names = ("id", "text", "language", "speaker", "source", "emotion",
             "description")  # fmt: skip
    return Record(
      wave=_to_float(wave),
      rate=self.rate,
      **{name: row[name].decode() for name in names},
    )


def _read_card(folder: pathlib.Path) -> dict[str, Any]:
  path = folder / "card.json"
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
  return card


def _open_records(folder: pathlib.Path, split: str) -> Any:
  import tensorflow_datasets as tfds  # slow to import, needed only here

  builder: Any = tfds.builder_from_directory(folder / "speech" / FORMAT_VERSION)
  return builder.as_data_source(split)
