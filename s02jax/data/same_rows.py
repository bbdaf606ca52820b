"""Agreement of processes on rows that not all of them could read.

Processes whose devices hold other parts of the same rows read them each for
itself. Were one to replace an unreadable row alone, what passes for one array
would have other values on other devices, and nothing would tell. So the
processes that share rows tell each other of every batch, in the job's key-value
store, which of them they could not read. The threads that read ahead do it; a
job whose rows lie on one process each, as most do, sends nothing.
"""

import json
from collections.abc import Mapping, Sequence, Set
from typing import Any

from s02jax.data import loader

# Milliseconds until a batch of another process must be there. It may compile
# meanwhile; others watch over dead processes and over slow steps.
_WAIT = 24 * 3600 * 1000
# Batches after which nobody reads what was told of one: a loader reads ahead
# far less.
_KEPT = 512


class SameRows:
  """Agreements of one process with those that hold the same rows."""

  def __init__(
    self, client: Any, me: int, shared: Mapping[int, tuple[int, ...]]
  ):
    """Prepares the agreements of a job.

    Args:
      client: client of the job's key-value store; None in a job of one.
      me: number of this process.
      shared: rows that others hold too, as of `sharding.shared_rows`.
    """
    self._client, self._me, self._shared = client, me, shared
    self._loaders = 0

  def for_loader(self) -> loader.Agree:
    """Agreement for the next loader: all processes make theirs in one order."""
    number, self._loaders = self._loaders, self._loaders + 1

    def agree(
      step: int, turn: int, places: Sequence[int], failed: Set[int]
    ) -> dict[int, int]:
      return self._agree(f"s02jax/rows/{number}", step, turn, places, failed)

    return agree

  def _agree(
    self,
    name: str,
    step: int,
    turn: int,
    places: Sequence[int],
    failed: Set[int],
  ) -> dict[int, int]:
    """Result of an agreement, see `loader.Agree`."""
    first = dict.fromkeys(failed, self._me)
    shared = [place for place in places if place in self._shared]
    if not shared:
      return first
    self._client.key_value_set(
      f"{name}/{step}/{turn}/{self._me}", json.dumps(sorted(failed))
    )
    others = {p for place in shared for p in self._shared[place]} - {self._me}
    for other in sorted(others):
      key = f"{name}/{step}/{turn}/{other}"
      told = json.loads(self._client.blocking_key_value_get(key, _WAIT))
      for place in told:
        if place in self._shared and other in self._shared[place]:
          first[place] = min(first.get(place, other), other)
    if turn == 0 and step >= _KEPT:
      self._client.key_value_delete(f"{name}/{step - _KEPT}/0/{self._me}")
    return first
