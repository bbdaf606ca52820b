"""What an evaluation is of, pinned in OUT/run.json, and how it is divided.

The first command on a folder writes down what it computes; any later one, of
another pass, host or day, must mean the same. Items go through every pass in
groups that depend on nothing but the benchmark: a group that was interrupted
is done again as a whole, so that the result is the same to the last bit.
"""

import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from s02jax.core import trees
from s02jax.core.errors import UserError
from s02jax.core.languages import BY_CODE
from s02jax.evaluation.benchmark import score
from s02jax.evaluation.benchmark.datasets import Item
from s02jax.text.normalize import PIPELINES

CARD = "run.json"
GROUP = 8  # items spoken or judged at a time

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
  """Items of one subset and language, to be spoken with one seed."""

  seed: int
  items: tuple[Item, ...]


def groups(items: Iterable[Item], seeds: int) -> Iterator[Group]:
  """All of an evaluation, in the order of its items."""
  for _, alike in itertools.groupby(items, lambda i: (i.subset, i.language)):
    for some in batched(alike, GROUP):
      for seed in range(seeds):
        yield Group(seed=seed, items=some)


def batched(values: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
  """Tuples of `size` values, the last of what is left."""
  rest = iter(values)
  while some := tuple(itertools.islice(rest, size)):
    yield some


@dataclasses.dataclass(frozen=True)
class Shard:
  """A part of the work: number 1 to count."""

  number: int = 1
  count: int = 1

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
    """Every count-th value."""
    return itertools.islice(values, self.number - 1, None, self.count)


# --------------------------------------------------------------------- naming


def clip_name(key: str, seed: int) -> str:
  """Of an item's clip, without suffix."""
  return f"{key}.{seed}" if seed else key


def check_items(items: Sequence[Item], seeds: int) -> None:
  """Raises UserError where a text has no words, or two clips one name."""
  named: dict[tuple[str, str], Item] = {}
  for item in items:
    for seed in range(seeds):
      name = item.subset, clip_name(item.key, seed)
      if name in named:
        raise UserError(
          f"{item.where}: the clip of {item.key!r} with seed {seed} would have"
          f" the name of another, {name[1]!r} ({named[name].where}); make the"
          " keys differ by more than a number."
        )
      named[name] = item
    for pipeline in PIPELINES.values():
      try:
        metric = BY_CODE[item.language].metric
        score.reference(item.key, item.text, item.language, pipeline, metric)
      except UserError as error:
        raise UserError(f"{item.where}: {error}") from error


# -------------------------------------------------------------------- pinning


def digest(items: Sequence[Item], root: pathlib.Path) -> str:
  """Of all that an evaluation reads: items, and sizes of their recordings."""
  found = hashlib.sha256()
  sizes: dict[pathlib.Path, int] = {}
  for item in items:
    fields: list[Any] = [item.subset, item.key, item.language, item.text]
    fields.append(item.prompt_text)
    for path in (item.prompt_audio, item.truth):
      if path is not None and path not in sizes:
        sizes[path] = path.stat().st_size
      fields += [relative(path, root), sizes[path]] if path else [None]
    found.update(json.dumps(fields).encode())
  return found.hexdigest()[:16]


def relative(path: pathlib.Path, root: pathlib.Path) -> str:
  """A name of `path` that is the same wherever the set lies."""
  return os.path.relpath(path, root if root.is_dir() else root.parent)


def spec_name(spec: str) -> str:
  """A judge's spec without the folder in which its weights lie here."""
  kind, colon, weights = spec.partition(":")
  path = pathlib.PurePath(weights)
  if kind == "wavlm" or path.is_absolute():
    return f"{kind}{colon}{path.name}"
  return spec


def pin(out: pathlib.Path, pins: Mapping[str, Any]) -> None:
  """Writes what `out` holds, or finds it written.

  Raises:
    UserError: it holds another evaluation.
  """
  path = out / CARD
  out.mkdir(parents=True, exist_ok=True)
  # Of several processes that begin at once, one writes.
  with tempfile.NamedTemporaryFile(
    "w", dir=out, prefix=f".{CARD}.", delete=True, encoding="utf-8"
  ) as file:
    file.write(json.dumps(pins, indent=2, ensure_ascii=False) + "\n")
    file.flush()
    os.chmod(file.name, 0o644)  # others may score it too
    try:
      os.link(file.name, path)
      return
    except FileExistsError:
      pass
  before = trees.dotted(_read(path))
  for name, mine in trees.dotted(pins).items():
    theirs = before.get(name)
    if theirs != mine:
      raise UserError(
        f"{out} holds an evaluation whose {name} is {_shown(theirs)}, not"
        f" {_shown(mine)}; repeat its command or choose another --out."
      )


def _read(path: pathlib.Path) -> dict[str, Any]:
  try:
    return json.loads(path.read_text("utf-8"))
  except (OSError, ValueError) as error:
    raise UserError(
      f"{path} cannot be read ({error}); choose another --out."
    ) from error


def _shown(value: Any) -> str:
  return "not given" if value is None else str(value)
