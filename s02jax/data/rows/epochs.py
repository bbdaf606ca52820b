"""Epochs packed into rows, block by block."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from s02jax.data.mixture import EpochCache, Mixture, generator
from s02jax.data.packing import exactly, pack
from s02jax.data.rows.draws import SHUFFLE

# Records that are packed together; an epoch is packed in such blocks.
BLOCK = 2**16
# Plans that are kept, about a megabyte each. A batch of all hosts is of a few
# blocks, and threads begin batches nearly in order: none is planned twice.
KEPT = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Items:
  """Items of one block of an epoch, to be packed into rows."""

  target: np.ndarray  # int[k], records that are spoken
  lengths: np.ndarray  # int[k], positions that each item takes in a row


Block = TypeVar("Block", bound=Items)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Plan(Generic[Block]):
  """Rows of a block; the items of row i are order[ends[i]:ends[i + 1]]."""

  items: Block  # its arrays are int32
  order: np.ndarray  # int32[k]
  ends: np.ndarray  # int32[rows + 1]

  def row(self, number: int) -> np.ndarray:
    """Numbers of the items in a row, int32[members]."""
    return self.order[self.ends[number] : self.ends[number + 1]]


class PackedEpochs(Generic[Block]):
  """Endless epochs of items in rows, packed block by block.

  Attributes:
    packed: number of blocks that were packed until now.
    each: rows of a block.
  """

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
    self._plans = EpochCache(self._make_plan, size=KEPT)
    self.packed = 0
    # As many as the first block needs, less a fiftieth: later blocks leave
    # out their emptiest rows, and seldom have to split one.
    first = self._draw(0)
    rows = self._packed(first)
    self.each = len(rows) - len(rows) // 50
    self._plans.put(0, self._plan(0, first, rows))

  def _draw(self, number: int) -> Block:
    epoch, block = divmod(number, self._blocks)
    n = len(self._mixture)
    first, last = block * n // self._blocks, (block + 1) * n // self._blocks
    return self._items(number, self._mixture.epoch(epoch)[first:last])

  def _packed(self, items: Block) -> list[list[int]]:
    self.packed += 1
    return pack(items.lengths, self._row_length, self._max_items)

  def _make_plan(self, number: int) -> _Plan[Block]:
    items = self._draw(number)
    return self._plan(number, items, self._packed(items))

  def _plan(
    self, number: int, items: Block, rows: list[list[int]]
  ) -> _Plan[Block]:
    """Plan of a block from the rows it was packed into."""
    rows = exactly(rows, items.lengths, self.each)
    order = generator(self._seed, SHUFFLE, number).permutation(len(rows))
    rows = [rows[i] for i in order]
    small = {
      field.name: getattr(items, field.name).astype(np.int32)
      for field in dataclasses.fields(items)
    }
    ends = np.cumsum([0, *map(len, rows)])
    return _Plan(
      items=dataclasses.replace(items, **small),
      order=np.array([i for row in rows for i in row], np.int32),
      ends=ends.astype(np.int32),
    )

  def __len__(self) -> int:
    """Rows of an epoch."""
    return self.each * self._blocks

  def row(self, index: int) -> tuple[Block, np.ndarray]:
    """Items of the block that holds a row, and which of them the row has."""
    return self.rows([index])[0]

  def rows(self, indices: Sequence[int]) -> list[tuple[Block, np.ndarray]]:
    """Results of `row` for many rows; each block is looked up once."""
    places = [divmod(index, self.each) for index in indices]
    plans = {number: self._plans(number) for number, _ in places}
    return [
      (plans[number].items, plans[number].row(row)) for number, row in places
    ]
