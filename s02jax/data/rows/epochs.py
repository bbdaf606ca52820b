"""Epochs packed into rows, block by block."""

import dataclasses
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from s02jax.data.mixture import (
  EpochCache,
  Mixture,
  generator,
)
from s02jax.data.packing import exactly, pack
from s02jax.data.rows.common import SHUFFLE

# Records that are packed together; an epoch is packed in such blocks.
BLOCK = 2**16


# ----------------------------------------------------------------- packing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Items:
  """What one block of an epoch is packed from."""

  target: np.ndarray  # int[k], records that are spoken
  lengths: np.ndarray  # int[k], room that each takes in a row


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cloned(Items):
  """Items of the AR model."""

  prompt: np.ndarray  # int[k], first part of a one-shot pair; -1 for none
  reference: np.ndarray  # int[k]


_Kind = TypeVar("_Kind", bound=Items)


class Packing(Generic[_Kind]):
  """An epoch's items in rows, packed block by block."""

  def __init__(
    self,
    mixture: Mixture,
    seed: int,
    room: int,
    most: int,
    items: Callable[[int, np.ndarray], _Kind],
  ):
    """Packs as `items(key, records)` says, `key` counting blocks for ever."""
    self._mixture = mixture
    self._seed = seed
    self._room = room
    self._most = most
    self._items = items
    self._blocks = -(-len(mixture) // BLOCK)
    self._plans = EpochCache(self._make_plan, size=4)
    # As many as the first block needs, less a fiftieth: later blocks leave
    # out their emptiest rows, and seldom have to split one.
    count = len(self._packed(self._draw(0)))
    self._rows = count - count // 50

  def _draw(self, key: int) -> _Kind:
    epoch, block = divmod(key, self._blocks)
    n = len(self._mixture)
    first, last = block * n // self._blocks, (block + 1) * n // self._blocks
    return self._items(key, self._mixture.epoch(epoch)[first:last])

  def _packed(self, items: _Kind) -> list[list[int]]:
    return pack(items.lengths, self._room, self._most)

  def _make_plan(self, key: int) -> tuple[_Kind, list[list[int]]]:
    items = self._draw(key)
    rows = exactly(self._packed(items), items.lengths, self._rows)
    order = generator(self._seed, SHUFFLE, key).permutation(len(rows))
    return items, [rows[i] for i in order]

  def __len__(self) -> int:
    """Rows of an epoch."""
    return self._rows * self._blocks

  def row(self, index: int) -> tuple[_Kind, list[int]]:
    """The items of a block, and which of them a row has."""
    key, row = divmod(index, self._rows)
    items, rows = self._plans(key)
    return items, rows[row]
