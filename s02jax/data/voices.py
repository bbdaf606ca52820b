"""Voices of a corpus as data: their vectors, attributes, and a space of both.

A folder holds voices-<split>.npz and, from the train split, space.npz:

  (1)  h = (v − mean) / deviation          each half, AR and flow matching
  (2)  c = P (h_ar ⊕ h_flow) / scale       P: the first k principal axes

A point c of the space goes back to two vectors, each on its encoder's sphere.

Shape letters: v voices, o and e features of the halves, k coordinates, a
attributes.
"""

import dataclasses
import os
import pathlib

import numpy as np

from s02jax.core import files, places
from s02jax.core.errors import UserError

MOST_COORDINATES = 128
FEWEST_VOICES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class VoiceTable:
  """Vectors and attributes of a split's speakers."""

  ar: np.ndarray  # f32[v, o]
  flow: np.ndarray  # f32[v, e]
  tags: np.ndarray  # i32[v, a], see `s02jax.data.descriptions`

  def save(self, folder: str | os.PathLike, split: str) -> None:
    """Writes the table of a split, whole or not at all."""
    with files.atomic(_table(folder, split)) as part, open(part, "wb") as file:
      np.savez(file, ar=self.ar, flow=self.flow, tags=self.tags)

  @classmethod
  def load(cls, folder: str | os.PathLike, split: str) -> "VoiceTable":
    """Reads the table of a split; raises UserError if there is none."""
    return cls(**_read(_table(folder, split)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class VoiceSpace:
  """Space of equations 1 and 2."""

  mean: np.ndarray  # f32[o + e]
  deviation: np.ndarray  # f32[o + e]
  axes: np.ndarray  # f32[k, o + e], orthonormal
  scale: np.ndarray  # f32[], so that coordinates have unit mean square
  split: np.ndarray  # i32[], o

  @classmethod
  def fit(cls, table: VoiceTable) -> "VoiceSpace":
    """Fits the space to voices.

    Raises:
      UserError: there are too few.
    """
    count = len(table.tags)
    if count < FEWEST_VOICES:
      raise UserError(
        f"the corpus has {count} speakers to train on; voices are designed from"
        f" {FEWEST_VOICES} at least, better hundreds."
      )
    joined = np.concatenate([table.ar, table.flow], axis=1).astype(np.float64)
    mean = joined.mean(axis=0)
    deviation = np.maximum(joined.std(axis=0), 1e-4)
    halves = (joined - mean) / deviation
    k = min(MOST_COORDINATES, count - 1, halves.shape[1])
    axes = np.linalg.svd(halves, full_matrices=False)[2][:k]
    scale = np.sqrt(np.mean((halves @ axes.T) ** 2))
    return cls(
      mean=mean.astype(np.float32),
      deviation=deviation.astype(np.float32),
      axes=axes.astype(np.float32),
      scale=np.array(scale, np.float32),
      split=np.array(table.ar.shape[1], np.int32),
    )

  def codes(self, table: VoiceTable) -> np.ndarray:
    """Coordinates f32[v, k] of voices, equations 1 and 2."""
    joined = np.concatenate([table.ar, table.flow], axis=1)
    halves = (joined - self.mean) / self.deviation
    return (halves @ self.axes.T / self.scale).astype(np.float32)

  def vectors(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors f32[v, o] and f32[v, e] of coordinates, on their spheres."""
    joined = self.mean + self.deviation * (codes * self.scale @ self.axes)
    halves = np.split(joined.astype(np.float32), [int(self.split)], axis=1)
    ar, flow = (
      x / np.sqrt(np.mean(x**2, axis=1, keepdims=True) + 1e-6) for x in halves
    )
    return ar, flow

  def save(self, folder: str | os.PathLike) -> None:
    """Writes the space, whole or not at all."""
    with files.atomic(_space(folder)) as part, open(part, "wb") as file:
      np.savez(file, **vars(self))

  @classmethod
  def load(cls, folder: str | os.PathLike) -> "VoiceSpace":
    """Reads the space; raises UserError if there is none."""
    return cls(**_read(_space(folder)))


def _table(folder: str | os.PathLike, split: str) -> pathlib.Path:
  return places.at(folder) / f"voices-{split}.npz"


def _space(folder: str | os.PathLike) -> pathlib.Path:
  return places.at(folder) / "space.npz"


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Arrays of a file; raises UserError if there is none."""
  try:
    with np.load(places.local(path)) as arrays:
      return dict(arrays)
  except (OSError, ValueError) as error:
    raise UserError(
      f"{path}: cannot be read ({error}); `s02 voice prior` writes it."
    ) from error
