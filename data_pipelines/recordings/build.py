"""Building a corpus of recordings: plan, three pipelines, one folder.

  source ─► plan ─► hearing (shard by shard) ─► deciding ─► finishing ─► corpus

Whatever was done stays in `.NAME.build` beside the corpus until that has its
name; the same command goes on from there.
"""

import contextlib
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from data_pipelines import corpus_writer
from data_pipelines.hashing import digest
from data_pipelines.recordings import (
  deciding,
  finishing,
  hearing,
  page,
  sources,
)
from data_pipelines.recordings.items import Recording
from data_pipelines.recordings.settings import Settings
from data_pipelines.recordings.store import Store
from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.core.shard import WHOLE, Shard

LOCAL = "DirectRunner"
RUNNERS = (LOCAL, "FlinkRunner", "SparkRunner", "DataflowRunner", "PrismRunner")
_MOST_FILES = 4_096  # shards
_WORTH = 100_000  # microseconds from which on a step's speed is told


@dataclasses.dataclass(frozen=True, kw_only=True)
class Engine:
  """Runner of Beam with its options, which runs the pipelines."""

  runner: str = LOCAL
  workers: int = 1  # processes of the direct runner
  options: tuple[str, ...] = ()  # of Beam, such as --flink_master=...

  def run(self, add: Callable[[beam.Pipeline], None]) -> dict[str, int]:
    """Runs a pipeline; returns its counters of the steps.

    Raises:
      UserError: a step raised it.
    """
    pipeline = beam.Pipeline(options=self._options())
    add(pipeline)
    try:
      result = pipeline.run()
      result.wait_until_finish()
    except (RuntimeError, UserError) as error:
      # A runner wraps what a step raises, and names the step behind it.
      marker = "UserError: "
      if isinstance(error, UserError) or marker not in str(error):
        raise
      told = str(error).rpartition(marker)[2]
      raise UserError(told.partition(" [while running")[0]) from error
    counters = result.metrics().query()["counters"]
    return {
      x.key.metric.name: x.committed
      for x in counters
      if x.key.metric.namespace == hearing.TIMES
    }

  def _options(self) -> PipelineOptions:
    flags = list(self.options)
    if self.runner != LOCAL:
      return PipelineOptions([f"--runner={self.runner}", *flags])
    flags = ["--runner=FnApiRunner", *flags]
    flags.append(f"--direct_num_workers={self.workers}")
    if self.workers > 1:
      flags.append("--direct_running_mode=multi_processing")
    flags.append("--default_sdk_harness_log_level=ERROR")
    return PipelineOptions(flags)


def _write_plan(
  store: Store,
  listed: Callable[[], Iterator[sources.Found]],
  settings: Settings,
  identity: dict[str, Any],
) -> None:
  """Spreads the recordings of a source over shards by hashes of their names."""
  total, content, count = 0, 0, 0
  for item in listed():
    if isinstance(item, Recording):
      total += item.size
      count += 1
      content = (content + digest(item.to_json())) % 2**64
  size = settings.shard_megabytes << 20
  shards = min(max(1, -(-total // size)), _MOST_FILES, max(1, count))
  folder = store.recordings(0).parent
  with files.atomic_folder(folder) as part, contextlib.ExitStack() as stack:
    lines: dict[int, list[str]] = {}
    held = 0
    unread: TextIO = stack.enter_context(open(part / store.unread.name, "w"))
    seen: set[int] = set()
    for item in listed():
      if isinstance(item, sources.Unread):
        unread.write(_unread(item))
        continue
      name = digest(item.uri)
      if name in seen:
        twice = sources.Unread(uri=item.uri, reason="it is named twice")
        unread.write(_unread(twice))
        continue
      seen.add(name)
      lines.setdefault(name % shards, []).append(item.to_json() + "\n")
      held += 1
      if held >= 10_000:
        _append(part, store, lines)
        held = 0
    _append(part, store, lines)
  files.write_json(
    store.plan,
    identity
    | {
      "source": f"{content:016x}",
      "recordings": count,
      "bytes": total,
      "shards": sorted(int(path.stem) for path in folder.glob("[0-9]*.jsonl")),
    },
  )


def _unread(item: sources.Unread) -> str:
  """Line of rejected.jsonl for a row that names no recording."""
  row = {
    "line": 0, "id": "", "path": item.uri, "reason": item.reason,
    "step": "source", "start": 0.0, "end": 0.0, "given": "", "texts": [],
    "error": None,
  }  # fmt: skip
  return json.dumps(row, ensure_ascii=False) + "\n"


def _append(
  part: pathlib.Path, store: Store, lines: dict[int, list[str]]
) -> None:
  """Appends lines to the files of their shards, and forgets them."""
  for shard, some in lines.items():
    with open(part / store.recordings(shard).name, "a") as file:
      file.writelines(some)
  lines.clear()


def _plan(
  store: Store, source: str, settings: Settings, tell: corpus_writer.Tell
) -> dict[str, Any]:
  """Reads the plan of a build, or makes it.

  Raises:
    UserError: the folder is of a build with other arguments, or there is no
      recording.
  """
  values = json.loads(json.dumps(dataclasses.asdict(settings)))
  identity = {"settings": values}
  if not store.plan.exists():
    tell(f"Listing {source}.")
    _write_plan(store, sources.listed(source), settings, identity)
  plan = json.loads(store.plan.read_text("utf-8"))
  if plan["settings"] != values:
    raise UserError(
      f"{store.folder} is of a build with other settings; finish that one, or"
      " remove the folder"
    )
  if not plan["shards"]:
    raise UserError(f"{source} holds no recording that could be read")
  return plan


def build(
  source: str,
  settings: Settings,
  out: pathlib.Path,
  engine: Engine,
  tell: corpus_writer.Tell,
  part: Shard = WHOLE,
) -> None:
  """Builds the corpus, unless it is already there.

  Args:
    source: manifest, folder, pattern or archive.
    settings: of the steps.
    out: corpus folder.
    engine: what runs the pipelines.
    tell: gets lines for people.
    part: hears its shards alone. Whoever hears the last one, or comes later
      without a part, finishes the corpus.

  Raises:
    UserError: nothing to read or to write to, weights that are missing, or no
      clip that can be used.
  """
  settings.check_installed()
  store = Store(out.with_name(f".{out.name}.build"))
  with files.explain_errors(out, "the corpus"):
    finished = _is_done(out, store, source, settings, tell)
    if finished:
      return
    plan = _plan(store, source, settings, tell)
    shards = plan["shards"]
    _hear(store, list(part.of(shards)), settings, engine, tell)
    missing = [n for n in shards if not store.found(n).exists()]
    if missing:
      tell(
        f"{len(missing)} of {len(shards)} shards are heard elsewhere; the same"
        " command without --shard finishes the corpus."
      )
      return
    _finish(store, plan, settings, engine, out, tell)


def _is_done(
  out: pathlib.Path,
  store: Store,
  source: str,
  settings: Settings,
  tell: corpus_writer.Tell,
) -> bool:
  """Whether the corpus is there. Raises UserError if it is another one."""
  card = out / "card.json"
  builder: dict[str, Any] = {}
  if card.exists() and not store.plan.exists():
    with contextlib.suppress(ValueError, KeyError):
      found = json.loads(card.read_text("utf-8"))["builder"]
      mine = json.loads(json.dumps(dataclasses.asdict(settings)))
      if found["arguments"]["settings"] == mine:
        content = 0
        for item in sources.listed(source)():
          if isinstance(item, Recording):
            content = (content + digest(item.to_json())) % 2**64
        if found["arguments"]["source"] == f"{content:016x}":
          builder = found
  return corpus_writer.is_finished(out, builder, tell)


def _hear(
  store: Store,
  shards: Sequence[int],
  settings: Settings,
  engine: Engine,
  tell: corpus_writer.Tell,
) -> None:
  """Finds the clips of shards, as many at a time as there are workers.

  A round keeps the sound of its shards in memory on the direct runner; other
  runners spill, and get all shards at once.
  """
  left = [n for n in shards if not store.found(n).exists()]
  step = engine.workers if engine.runner == LOCAL else max(1, len(left))
  times: dict[str, int] = {}
  done = len(shards) - len(left)
  for first in range(0, len(left), step):
    some = left[first : first + step]
    found = engine.run(lambda p, s=some: hearing.expand(p, store, s, settings))
    for name, value in found.items():
      times[name] = times.get(name, 0) + value
    done += len(some)
    heard = times.get("decode/heard", 0) / 3.6e9
    tell(f"Heard {done} of {len(shards)} shards, {heard:.2f} h in this run.")
  for line in throughput(times):
    tell(line)


def throughput(times: dict[str, int]) -> list[str]:
  """Lines on the speed of each step, in hours of sound an hour of one core."""
  lines = []
  for name in times:
    step, _, kind = name.partition("/")
    if kind == "cpu" and times[name] > _WORTH:
      heard = times.get(f"{step}/heard", 0)
      lines.append(
        f"{step}: {heard / 1e6:.1f} s of sound in {times[name] / 1e6:.2f} s of"
        f" processor time, {heard / times[name]:.1f} h an hour of one core"
      )
  return lines


def _finish(
  store: Store,
  plan: dict[str, Any],
  settings: Settings,
  engine: Engine,
  out: pathlib.Path,
  tell: corpus_writer.Tell,
) -> None:
  """Decides, writes the records, and gives the corpus its name."""
  shards = plan["shards"]
  if not all(store.decided(n).exists() for n in shards):
    tell("Deciding on duplicates, speakers and splits.")
    engine.run(lambda p: deciding.expand(p, store, shards, settings))
    for shard in shards:
      if not store.decided(shard).exists():  # it has no good clip
        files.write_text(store.decided(shard), "{}")
  tell("Writing the records.")
  engine.run(lambda p: finishing.expand(p, store, shards, settings))
  arguments = {"source": plan["source"], "settings": plan["settings"]}
  builder = {"name": "recordings", "arguments": arguments}
  with files.atomic_folder(out) as folder:
    card = finishing.assemble(store, shards, settings, builder, folder)
    if not card["splits"]["train"]["clips"]:
      raise UserError(
        "no clip can be used for training;"
        f" {store.shard(shards[0])}/rejected.jsonl has the reasons"
      )
    page.write(folder, store, shards, settings)
  shutil.rmtree(store.folder)
  tell(corpus_writer.summary(out, card))
