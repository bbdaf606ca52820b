"""Features of a corpus: tokens, latents and fixed speaker vectors by record.

`features/` of a corpus folder holds, for each split,

    tokens-<split>.array_record     codes of the audio tokenizer, int16 [t]
    latents-<split>.array_record    means of the Flow-VAE, float16 [t · r, c];
                                    several files each where they are large,
                                    see `s02jax.data.shards`
    speaker_vectors-<split>.npy     GE2E vectors, float32 [records, o]
    card.json                       sizes, latent statistics, checkpoints
    pieces/                         tokens and latents of parts of a split,
                                    while they are being extracted

Record i of each belongs to record i of the split. Card, tokens and latents are
written by `s02 extract`; the vectors only where a model asks for them.

Shape letters: t tokens, r latents per token, c channels, o features.
"""

import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from s02jax.core import files, places
from s02jax.core.errors import UserError
from s02jax.data import shards
from s02jax.data.records import CorpusFiles, Index

KINDS = ("tokens", "latents")


def card_path(folder: str | os.PathLike) -> pathlib.Path:
  """Card of a corpus's features, written after all of them."""
  return CorpusFiles(places.at(folder)).features / "card.json"


def _array_path(folder: pathlib.Path, kind: str, split: str) -> pathlib.Path:
  return CorpusFiles(folder).features / f"{kind}-{split}.array_record"


def _vectors_path(folder: pathlib.Path, split: str) -> pathlib.Path:
  return CorpusFiles(folder).features / f"speaker_vectors-{split}.npy"


class Features:
  """Tokens and latents of one split, read by record; picklable.

  Attributes:
    card: content of features/card.json.
  """

  def __init__(self, folder: pathlib.Path, split: str):
    self._arguments = (folder, split)
    card = card_path(folder)
    tokens, latents = (
      shards.opened(_array_path(folder, kind, split)) for kind in KINDS
    )
    if tokens is None or latents is None or not card.exists():
      raise UserError(
        f"{folder} has no tokens and latents for {split!r}: run"
        f" `s02 extract --corpus {folder}`"
      )
    self.card: dict[str, Any] = json.loads(card.read_text())
    self._channels = len(self.card["mean"])
    self._tokens, self._latents = tokens, latents
    expected = _num_records(folder, split)
    if len(self) != expected or len(self._latents) != expected:
      raise UserError(
        f"{folder}/features has {len(self)} records for {split!r}, the corpus"
        f" has {expected}: run `s02 extract --corpus {folder}` again"
      )

  @classmethod
  def open(cls, folder: str | os.PathLike, split: str) -> "Features":
    """Opens the features of a split.

    Raises:
      UserError: `s02 extract` has not written this split, or another corpus's.
    """
    return cls(places.at(folder), split)

  def __reduce__(self):
    return Features, self._arguments

  def __len__(self) -> int:
    return len(self._tokens)

  def tokens(self, index: int) -> np.ndarray:
    """Codes of the audio tokenizer for a record, i32[t]."""
    data = self._tokens.read(index)
    return np.frombuffer(data, np.int16).astype(np.int32)

  def latents(self, index: int) -> np.ndarray:
    """Latents of a record, f32[t * r, c], not normalised."""
    data = self._latents.read(index)
    latents = np.frombuffer(data, np.float16).astype(np.float32)
    return latents.reshape(-1, self._channels)


def _num_records(folder: pathlib.Path, split: str) -> int:
  return Index.length(CorpusFiles(folder).index(split))


def _piece_path(
  folder: pathlib.Path, kind: str, split: str, piece: int
) -> pathlib.Path:
  pieces = CorpusFiles(folder).features / "pieces"
  return pieces / f"{kind}-{split}-{piece:06d}.array_record"


def join_pieces(
  folder: str | os.PathLike,
  split: str,
  pieces: Sequence[Mapping[str, Sequence[int]]],
) -> None:
  """Makes the features of a split of those of its pieces, in order.

  Args:
    folder: corpus folder.
    split: one of SPLITS.
    pieces: `lengths` of the `FeatureWriter` of each.

  Raises:
    OSError: a piece is not there, or cannot be renamed.
  """
  folder = places.at(folder)
  for kind in KINDS:
    parts = [
      (_piece_path(folder, kind, split, i), lengths[kind])
      for i, lengths in enumerate(pieces)
    ]
    shards.join(_array_path(folder, kind, split), parts)


class FeatureWriter:
  """Context manager that writes tokens and latents of a split, in order.

  The files get their names when it is left without an exception.
  """

  def __init__(
    self, folder: str | os.PathLike, split: str, piece: int | None = None
  ):
    """Makes the folder of the features.

    Args:
      folder: corpus folder.
      split: one of SPLITS.
      piece: number of the part of the split, to be joined by `join_pieces`;
        the whole split where absent.
    """
    folder = places.at(folder)
    self._folder = CorpusFiles(folder).features
    places.make_folder(self._folder)
    self._writers = {
      kind: shards.ShardWriter(
        _array_path(folder, kind, split)
        if piece is None
        else _piece_path(folder, kind, split, piece)
      )
      for kind in KINDS
    }

  @property
  def lengths(self) -> dict[str, list[int]]:
    """Records in each file that is written, by kind."""
    return {kind: writer.lengths for kind, writer in self._writers.items()}

  def write(self, tokens: np.ndarray, latents: np.ndarray) -> None:
    """Adds the features of the next record.

    Args:
      tokens: integers [t], each in [0, 32767].
      latents: floats [t * r, c], not normalised.

    Raises:
      ValueError: a value that the format cannot hold.
    """
    codes = np.asarray(tokens)
    if codes.size and not 0 <= codes.min() <= codes.max() < 2**15:
      raise ValueError(f"token out of range: {codes.min()}, {codes.max()}")
    self._writers["tokens"].write(codes.astype("<i2").tobytes())
    values = np.asarray(latents, np.float32)
    if not np.all(np.abs(values) < 65504):
      raise ValueError("latent is not finite or does not fit in float16")
    self._writers["latents"].write(values.astype("<f2").tobytes())

  def close(self) -> None:
    """Finishes the files and gives them their names.

    Raises:
      UserError: the files cannot be written.
    """
    try:
      for writer in self._writers.values():
        writer.close()
    except (OSError, RuntimeError) as error:  # RuntimeError: a full disk
      self._discard()
      raise UserError(f"cannot write {self._folder}: {error}") from error

  def _discard(self) -> None:
    for writer in self._writers.values():
      writer.discard()

  def __enter__(self) -> "FeatureWriter":
    return self

  def __exit__(self, kind, error, traceback) -> None:
    if kind is None:
      self.close()
    else:
      self._discard()


def has_speaker_vectors(folder: str | os.PathLike, split: str) -> bool:
  """True if the fixed speaker vectors of a split are extracted."""
  return _vectors_path(places.at(folder), split).exists()


def open_speaker_vectors(folder: str | os.PathLike, split: str) -> np.ndarray:
  """Fixed speaker vectors of a split, float32 [records, o], memory-mapped.

  Raises:
    UserError: they are not extracted, or belong to another corpus.
  """
  folder = places.at(folder)
  run = f"run `s02 extract --corpus {folder} --speaker_vectors`"
  if not has_speaker_vectors(folder, split):
    raise UserError(f"{folder} has no speaker vectors for {split!r}: {run}")
  vectors = np.load(places.local(_vectors_path(folder, split)), mmap_mode="r")
  expected = _num_records(folder, split)
  if len(vectors) != expected:
    raise UserError(
      f"{folder}/features has {len(vectors)} speaker vectors for {split!r},"
      f" the corpus has {expected} records: remove them and {run}"
    )
  return vectors


def write_speaker_vectors(
  folder: str | os.PathLike,
  split: str,
  shape: tuple[int, int],
  parts: Iterable[np.ndarray],
) -> None:
  """Writes the fixed speaker vectors of a split.

  Args:
    folder: corpus folder.
    split: one of SPLITS.
    shape: (records, o) of the whole.
    parts: float32 [any number, o], in the order of the records.

  Raises:
    OSError: the file cannot be written.
    ValueError: the parts are not `shape` together.
  """
  path = _vectors_path(places.at(folder), split)
  places.make_folder(path.parent)
  with files.atomic(path) as temporary, open(temporary, "wb") as file:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    written = 0
    for part in parts:
      if part.shape[1:] != shape[1:]:
        raise ValueError(f"vectors of shape {part.shape} in {shape}")
      file.write(np.ascontiguousarray(part, "<f4").tobytes())
      written += len(part)
    if written != shape[0]:
      raise ValueError(f"{written} speaker vectors for {shape[0]} records")
