"""Slowest host of a job: the longest wait for data, the longest step.

A step ends for all hosts together, so one host that reads slowly slows all of
them, and its own record is the only one that says why. Every process therefore
tells the others what it measured, in the job's key-value store and without
waiting for anybody: what is read is the newest that each has told.
"""

import json
import socket
from collections.abc import Mapping

import jax

from s02jax.training import hosts

# Measurements of which the greatest is the job's.
WORST = ("data_wait", "step_seconds")
_KEY = "s02jax/measured/"


class Slowest:
  """Measurements of the host that has the worst of them."""

  def __init__(self) -> None:
    self._store = hosts.store()
    self._me = jax.process_index()
    self._host = socket.gethostname()

  def among(
    self, mine: Mapping[str, float]
  ) -> tuple[dict[str, float], str | None]:
    """Replaces the WORST measurements by the greatest of all processes.

    Args:
      mine: measurements of this process since its last call.

    Returns:
      All measurements, and the process and host that waits longest for data;
      None in its place where there is but one process.
    """
    if self._store is None:
      return dict(mine), None
    told = {name: mine[name] for name in WORST} | {"host": self._host}
    self._store.key_value_set(
      f"{_KEY}{self._me}", json.dumps(told), allow_overwrite=True
    )
    found = {
      int(key.rpartition("/")[2]): json.loads(value)
      for key, value in self._store.key_value_dir_get(_KEY)
    }
    worst = {name: max(x[name] for x in found.values()) for name in WORST}
    who = max(found, key=lambda process: found[process]["data_wait"])
    return dict(mine) | worst, f"process {who} ({found[who]['host']})"
