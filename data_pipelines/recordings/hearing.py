"""First pipeline: from recordings to clips, a few shards at a time.

  chunks ─► decode ─► one transform a step ─► by shard ─► found/<shard>

Every step is `RunInference` over chunks of clips, so that its networks are
loaded once a process; a chunk is a batch.
"""

import dataclasses
import time
from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler, RunInference

from data_pipelines.recordings import steps
from data_pipelines.recordings.items import Chunk, Clip
from data_pipelines.recordings.networks import Networks
from data_pipelines.recordings.settings import Settings
from data_pipelines.recordings.store import Store, to_row

TIMES = "s02.recordings"  # namespace of the metrics
_MICRO = 1_000_000


def _count(step: str, started: float, clips: Sequence[Clip]) -> None:
  """Counts the processor's time of a step and what it was spent on."""
  spent = time.process_time() - started
  Metrics.counter(TIMES, f"{step}/cpu").inc(int(spent * _MICRO))
  heard = sum(clip.seconds for clip in clips if clip.wave is not None)
  Metrics.counter(TIMES, f"{step}/heard").inc(int(heard * _MICRO))


class Apply(ModelHandler[list[Clip], list[Clip], Networks]):
  """Step over chunks of clips."""

  def __init__(self, name: str, settings: Settings):
    super().__init__()
    self._name = name
    self._settings = settings

  def load_model(self) -> Networks:
    """Networks of this process, none of them loaded yet."""
    return Networks()

  def run_inference(
    self, batch: Sequence[list[Clip]], model: Networks, inference_args=None
  ) -> Iterable[list[Clip]]:
    """Runs the step on one chunk after the other."""
    step = steps.STEPS[self._name]
    for clips in batch:
      heard = [dataclasses.replace(clip) for clip in clips if not clip.reason]
      started = time.process_time()
      found = steps.run(step, clips, self._settings, model)
      _count(self._name, started, heard)
      yield found

  def batch_elements_kwargs(self) -> dict[str, Any]:
    """A chunk is a batch, whatever the runner."""
    return {"min_batch_size": 1, "max_batch_size": 1}


class _Decode(beam.DoFn):
  """Chunks to their recordings, decoded."""

  def process(self, chunk: Chunk):
    started = time.process_time()
    clips = steps.decode(chunk)
    _count("decode", started, clips)
    yield clips


class _Write(beam.DoFn):
  """Clips of a shard to its files."""

  def __init__(self, store: Store):
    super().__init__()
    self._store = store

  def process(self, element):
    shard, rows = element
    self._store.write_found(shard, rows)
    Metrics.counter(TIMES, "shards").inc()
    yield shard


def _rows(clips: list[Clip]):
  for clip in clips:
    yield clip.shard, (to_row(clip), clip.audio)


def expand(
  pipeline: beam.Pipeline,
  store: Store,
  shards: Sequence[int],
  settings: Settings,
) -> None:
  """Adds to a pipeline what finds the clips of some shards."""
  size = settings.chunk_megabytes << 20
  clips = (
    pipeline
    | "shards" >> beam.Create(list(shards))
    | "chunks" >> beam.FlatMap(store.read_chunks, size)
    | "spread" >> beam.Reshuffle()
    | "decode" >> beam.ParDo(_Decode())
  )
  for name in steps.chosen(settings):
    clips = clips | name >> RunInference(Apply(name, settings))
  (
    clips
    | "rows" >> beam.FlatMap(_rows)
    | "by shard" >> beam.GroupByKey()
    | "write" >> beam.ParDo(_Write(store))
  )
