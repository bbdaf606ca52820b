"""Plan of an evaluation: options, pins in OUT/run.json, groups and shards.

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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from s02jax.core import trees
from s02jax.core.errors import UserError
from s02jax.core.languages import BY_CODE
from s02jax.core.shard import Shard
from s02jax.evaluation.benchmark import metrics
from s02jax.evaluation.benchmark.items import Cloning, Item
from s02jax.synthesis.request import Settings
from s02jax.text.normalize import NORMALISATIONS

CARD = "run.json"
GROUP = 8  # items spoken or judged at a time
PASSES = ("speak", "judge", "score")

T = TypeVar("T")
Find = Callable[[Item, int], pathlib.Path | None]  # item, seed -> its clip


@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemGroup:
  """Items of one subset and language, spoken with one seed."""

  seed: int
  items: tuple[Item, ...]


def groups(items: Iterable[Item], seeds: int) -> Iterator[ItemGroup]:
  """Yields all groups of an evaluation, in the order of its items."""
  for _, alike in itertools.groupby(items, lambda i: (i.subset, i.language)):
    for some in batched(alike, GROUP):
      for seed in range(seeds):
        yield ItemGroup(seed=seed, items=some)


def batched(values: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
  """Yields tuples of `size` values, the last of what is left."""
  rest = iter(values)
  while some := tuple(itertools.islice(rest, size)):
    yield some


# -------------------------------------------------------------------- options


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgeSpecs:
  """Specs of an evaluation's judges."""

  recognisers: Mapping[str, str]  # by language code
  speaker: str | None  # None: voices are not judged
  quality: str | None  # None: quality is not judged

  def portable(self) -> "JudgeSpecs":
    """Specs without the folders in which the weights lie here."""
    return JudgeSpecs(
      recognisers={
        code: spec_name(spec) for code, spec in self.recognisers.items()
      },
      speaker=self.speaker and spec_name(self.speaker),
      quality=self.quality and spec_name(self.quality),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
  """Options of `s02 evaluate`; one of bundle, audio and truth is given."""

  benchmark: str  # name of a reader of `datasets`
  data: pathlib.Path  # the set, as it was released
  out: pathlib.Path  # folder of the results
  bundle: pathlib.Path | None = None  # speaks the items
  audio: pathlib.Path | None = None  # folder of any system's clips
  truth: bool = False  # the set's own recordings are scored
  name: str | None = None  # of the system, in tables
  subsets: Sequence[str] | None = None  # None: those of the benchmark
  cloning: Cloning = "zero-shot"
  seeds: int = 1  # clips of each item
  settings: Settings = Settings()  # of synthesis; each clip has its own seed
  # Specs of recognisers by language code, and by "*" for all the others.
  recognisers: Mapping[str, str] = dataclasses.field(default_factory=dict)
  speaker_judge: str | None = None  # spec; None: voices are not judged
  quality_judge: str | None = None  # spec; None: quality is not judged
  passes: Sequence[str] = PASSES
  shard: Shard = Shard()  # the part of speaking and judging that is done
  allow_missing: bool = False  # a missing clip counts as wholly wrong


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pins:
  """Facts that decide the scores: all commands on one folder share them."""

  version: int  # of the scores
  benchmark: str
  data: str  # digest of texts and recordings
  items: int
  cloning: str
  seeds: int
  system: str
  source: Mapping[str, Any]  # "kind" of clips; a bundle's digest and settings
  judges: JudgeSpecs  # without folders


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
  """One evaluation, ready for its passes."""

  options: Options
  items: Sequence[Item]
  asked: JudgeSpecs  # judges as the command names them, folders included
  pins: Pins
  find: Find

  def groups(self) -> list[ItemGroup]:
    """Lists the groups of this shard."""
    return list(self.options.shard.of(groups(self.items, self.options.seeds)))


# --------------------------------------------------------------------- naming


def clip_name(key: str, seed: int) -> str:
  """File name of an item's clip, without suffix."""
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
    for pipeline in NORMALISATIONS.values():
      try:
        metric = BY_CODE[item.language].metric
        metrics.reference(item.key, item.text, item.language, pipeline, metric)
      except UserError as error:
        raise UserError(f"{item.where}: {error}") from error


# -------------------------------------------------------------------- pinning


def digest(items: Sequence[Item], root: pathlib.Path) -> str:
  """Digest of all that an evaluation reads: items, sizes of recordings."""
  found = hashlib.sha256()
  sizes: dict[pathlib.Path, int] = {}
  for item in items:
    fields: list[Any] = [item.subset, item.key, item.language, item.text]
    fields += [item.prompt_text, item.prompt_language]
    for path in (item.prompt_audio, item.truth):
      if path is not None and path not in sizes:
        sizes[path] = path.stat().st_size
      fields += [relative(path, root), sizes[path]] if path else [None]
    found.update(json.dumps(fields).encode())
  return found.hexdigest()[:16]


def relative(path: pathlib.Path, root: pathlib.Path) -> str:
  """Name of `path` that is the same wherever the set lies."""
  return os.path.relpath(path, root if root.is_dir() else root.parent)


def spec_name(spec: str) -> str:
  """Spec of a judge without the folder in which its weights lie here."""
  kind, colon, weights = spec.partition(":")
  path = pathlib.PurePath(weights)
  if kind == "wavlm" or path.is_absolute():
    return f"{kind}{colon}{path.name}"
  return spec


def pin(out: pathlib.Path, pins: Pins) -> None:
  """Writes OUT/run.json, or compares with the one that is there.

  Raises:
    UserError: the folder holds another evaluation.
  """
  path = out / CARD
  out.mkdir(parents=True, exist_ok=True)
  mine = dataclasses.asdict(pins)
  # Of several processes that begin at once, one makes the link.
  with tempfile.NamedTemporaryFile(
    "w", dir=out, prefix=f".{CARD}.", delete=True, encoding="utf-8"
  ) as file:
    file.write(json.dumps(mine, indent=2, ensure_ascii=False) + "\n")
    file.flush()
    os.chmod(file.name, 0o644)  # others may score it too
    try:
      os.link(file.name, path)
      return
    except FileExistsError:
      pass
  before = trees.dotted(_read(path))
  for name, value in trees.dotted(mine).items():
    if before.get(name) != value:
      raise UserError(
        f"{out} holds an evaluation whose {name} is"
        f" {_shown(before.get(name))}, not {_shown(value)}; repeat its command"
        " or choose another --out."
      )


def _read(path: pathlib.Path) -> dict[str, Any]:
  """Reads run.json. Raises UserError."""
  try:
    return json.loads(path.read_text("utf-8"))
  except (OSError, ValueError) as error:
    raise UserError(
      f"{path} cannot be read ({error}); choose another --out."
    ) from error


def _shown(value: Any) -> str:
  """Text of a pinned value in a message."""
  return "not given" if value is None else str(value)
