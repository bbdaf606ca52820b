"""Epochs packed into rows, block by block."""

import dataclasses
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from s02jax.data.mixture import EpochCache, Mixture, generator
from s02jax.data.packing import exactly, pack
from s02jax.data.rows.draws import SHUFFLE

# Records that are packed together; an epoch is packed in such blocks.
BLOCK = 2**16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Items:
  """Items of one block of an epoch, to be packed into rows."""

  target: np.ndarray  # int[k], records that are spoken
  lengths: np.ndarray  # int[k], positions that each item takes in a row


Block = TypeVar("Block", bound=Items)


class PackedEpochs(Generic[Block]):
  """Endless epochs of items in rows, packed block by block."""

  def __init__(
    self,
    mixture: Mixture,
    seed: int,
    row_length: int,
    max_items: int,
    items: Callable[[int, np.ndarray], Block],
  ):
    """Packs the first block, to fix how many rows every block has.

    Args:
      mixture: records of each epoch, in order.
      seed: seed of the rows' order.
      row_length: positions of a row.
      max_items: most items of a row.
      items: (number of the block since the first epoch, records int[k]) ->
        the block's items.
    """
    self._mixture = mixture
    self._seed = seed
    self._row_length = row_length
    self._max_items = max_items
    self._items = items
    self._blocks = -(-len(mixture) // BLOCK)
    self._plans = EpochCache(self._make_plan, size=4)
    # As many as the first block needs, less a fiftieth: later blocks leave
    # out their emptiest rows, and seldom have to split one.
    count = len(self._packed(self._draw(0)))
    self._rows = count - count // 50

  def _draw(self, number: int) -> Block:
    epoch, block = divmod(number, self._blocks)
    n = len(self._mixture)
    first, last = block * n // self._blocks, (block + 1) * n // self._blocks
    return self._items(number, self._mixture.epoch(epoch)[first:last])

  def _packed(self, items: Block) -> list[list[int]]:
    return pack(items.lengths, self._row_length, self._max_items)

  def _make_plan(self, number: int) -> tuple[Block, list[list[int]]]:
    items = self._draw(number)
    rows = exactly(self._packed(items), items.lengths, self._rows)
    order = generator(self._seed, SHUFFLE, number).permutation(len(rows))
    return items, [rows[i] for i in order]

  def __len__(self) -> int:
    """Rows of an epoch."""
    return self._rows * self._blocks

  def row(self, index: int) -> tuple[Block, list[int]]:
    """Items of the block that holds a row, and which of them the row has."""
    number, row = divmod(index, self._rows)
    items, rows = self._plans(number)
    return items, rows[row]
