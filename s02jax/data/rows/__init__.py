"""Training rows: one file per kind of row, and the interface they share.

`rows[index]` decides which records it takes, which other clip of the speaker is
the reference, and which crop, from (seed, index) alone. The rows of one global
batch, those with equal `index // batch_size`, have one shape.

Shape letters, in every file of this folder: n samples, t tokens, r latents per
token, c channels, s tokens of a packed row, m segments of a packed row, l text
tokens, o features of a speaker vector, k items of a list.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from s02jax.core.errors import UserError

# Arrays of one row. Two keys are for the training loop and never reach the
# device: "audio_seconds" (f32, seconds of speech that the row trains on) and
# "padding" (f32 in [0, 1], share of the row that is padding).
Row = dict[str, np.ndarray]


class NoRows(UserError):
  """Complaint about a split that has no record that a row could take."""


class Rows(Protocol):
  """Training rows of one split: pure functions of (seed, index), thread-safe.

  The rows of one global batch, those with the same `index // batch_size`, have
  one shape.
  """

  batch_size: int  # rows of a global batch
  excluded: dict[str, int]  # number of records left out, by reason

  def __getitem__(self, index: int) -> Row:
    """Row `index` of the endless sequence of rows."""
    ...


@runtime_checkable
class Traceable(Protocol):
  """Rows that can name the records of the corpus they take."""

  def records(self, index: int) -> list[int]:
    """Numbers of the records in row `index`."""
    ...


@runtime_checkable
class Planned(Protocol):
  """Rows whose records are looked up for many rows at once."""

  def plan(self, indices: Sequence[int]) -> list[Any]:
    """Records of each row, in whatever form `make` takes them."""
    ...

  def make(self, index: int, planned: Any) -> Row:
    """Row `index`, given its entry in the result of `plan`."""
    ...


def records_of(rows: Rows, index: int) -> list[int]:
  """Numbers of a row's records; empty where the rows cannot name them."""
  return rows.records(index) if isinstance(rows, Traceable) else []


def make_row(audio_seconds: float, padding: float, **arrays) -> Row:
  """Row of the given arrays and the two scalars that the loop reads."""
  return arrays | {
    "audio_seconds": np.float32(audio_seconds),
    "padding": np.float32(padding),
  }


def pad_to(x: np.ndarray, length: int) -> np.ndarray:
  """Appends zeros: [k, …] -> [length, …]."""
  out = np.zeros((length, *x.shape[1:]), x.dtype)
  out[: len(x)] = x
  return out
