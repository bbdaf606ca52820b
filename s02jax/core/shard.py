"""Part of a command's work, for several processes or hosts that share it."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

from s02jax.core.errors import UserError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Shard:
  """One part of the work of several processes."""

  number: int = 1  # of this part, from 1 to count
  count: int = 1  # parts in all

  def __str__(self) -> str:
    return f"{self.number}/{self.count}"

  @classmethod
  def parse(cls, text: str) -> "Shard":
    """Reads `2/4`. Raises UserError."""
    number, _, count = text.partition("/")
    if number.isdecimal() and count.isdecimal():
      shard = cls(int(number), int(count))
      if 1 <= shard.number <= shard.count:
        return shard
    raise UserError(
      f"--shard {text}: give the part and their number, from 1/4 to 4/4."
    )

  def of(self, values: Iterable[T]) -> Iterator[T]:
    """Yields every count-th value."""
    return itertools.islice(values, self.number - 1, None, self.count)


# All of the work.
WHOLE = Shard()
