"""Features of a corpus: tokens and latents, written and read by record."""

import contextlib
import json
import os
import pathlib
from typing import Any

import numpy as np
from array_record.python import array_record_module

from s02jax.core import files
from s02jax.core.errors import UserError

_WRITER_OPTIONS = "group_size:1,uncompressed"


def _feature_path(folder: pathlib.Path, kind: str, split: str) -> pathlib.Path:
  return folder / "features" / f"{kind}-{split}.array_record"


class Features:
  """Tokens and latents of one split; record i belongs to record i of it."""

  def __init__(self, folder: pathlib.Path, split: str):
    self._arguments = (folder, split)
    card = folder / "features" / "card.json"
    paths = [_feature_path(folder, kind, split) for kind in _KINDS]
    if not all(path.exists() for path in (card, *paths)):
      raise UserError(
        f"{folder} has no tokens and latents for {split!r}: run"
        f" `s02 extract --corpus {folder}`"
      )
    self.card: dict[str, Any] = json.loads(card.read_text())
    self._channels = len(self.card["mean"])
    self._tokens, self._latents = (
      array_record_module.ArrayRecordReader(
        os.fspath(path), options="readahead_buffer_size:0"
      )
      for path in paths
    )
    with np.load(folder / "index" / f"{split}.npz") as index:
      expected = len(index["num_samples"])
    if len(self) != expected or self._latents.num_records() != expected:
      raise UserError(
        f"{folder}/features has {len(self)} records for {split!r}, the corpus"
        f" has {expected}: run `s02 extract --corpus {folder}` again"
      )

  @classmethod
  def open(cls, folder: str | os.PathLike, split: str) -> "Features":
    """Raises UserError if `s02 extract` has not written this split."""
    return cls(pathlib.Path(folder), split)

  def __reduce__(self):
    return Features, self._arguments

  def __len__(self) -> int:
    return self._tokens.num_records()

  def tokens(self, index: int) -> np.ndarray:
    """i32[t], the codes of the audio tokenizer."""
    data = self._tokens.read([index])[0]
    return np.frombuffer(data, np.int16).astype(np.int32)

  def latents(self, index: int) -> np.ndarray:
    """f32[t * r, c], not normalised; r latents to a token."""
    data = self._latents.read([index])[0]
    latents = np.frombuffer(data, np.float16).astype(np.float32)
    return latents.reshape(-1, self._channels)


_KINDS = ("tokens", "latents")


class FeatureWriter:
  """Context manager that writes the features of a split, in order.

  The files get their names when it is left without an exception.
  """

  def __init__(self, folder: str | os.PathLike, split: str):
    folder = pathlib.Path(folder)
    self._paths = {kind: _feature_path(folder, kind, split) for kind in _KINDS}
    self._temporary = {
      kind: files.part_of(path) for kind, path in self._paths.items()
    }
    (folder / "features").mkdir(exist_ok=True)
    self._writers = {
      kind: array_record_module.ArrayRecordWriter(
        os.fspath(path), _WRITER_OPTIONS
      )
      for kind, path in self._temporary.items()
    }

  def write(self, tokens: np.ndarray, latents: np.ndarray) -> None:
    """Adds one record.

    Args:
      tokens: integers [t], each in [0, 32767].
      latents: floats [t * r, c], not normalised.
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
    """Finishes the files and gives them their names. Raises UserError."""
    try:
      for writer in self._writers.values():
        writer.close()
      for kind, path in self._paths.items():
        os.replace(self._temporary[kind], path)
    except (OSError, RuntimeError) as error:  # RuntimeError: a full disk
      self._discard()
      folder = self._paths["tokens"].parent
      raise UserError(f"cannot write {folder}: {error}") from error

  def _discard(self) -> None:
    for path in self._temporary.values():
      path.unlink(missing_ok=True)

  def __enter__(self) -> "FeatureWriter":
    return self

  def __exit__(self, kind, error, traceback) -> None:
    if kind is None:
      self.close()
      return
    for writer in self._writers.values():
      with contextlib.suppress(RuntimeError):
        writer.close()
    self._discard()
