"""Speech that one core brings to a training step, and the cost of its plan.

Speeds are multiples of real time, by the clock and by the processor time of the
process, which other programs do not take from. The plan of a large job, which
rows hold which clips, is timed on an index of made-up clips, without sound.
"""

import dataclasses
import importlib
import itertools
import pathlib
import tempfile
import time
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import fft

from configs import common
from s02jax import stages
from s02jax.audio import spectra
from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.data import loader
from s02jax.data.records import Corpus, Index
from s02jax.data.rows import Row, make_row
from s02jax.data.rows.packed_sequences import PackedSequences

# Stages that need no features made by other stages.
AUDIO_STAGES = ("audio_tokenizer", "flow_vae")

# One piece of work at a time: (seconds of speech, share of padding).
Work = Iterator[tuple[float, float]]


def measure(
  corpus: str, size: str, seconds: float
) -> dict[str, dict[str, float]]:
  """Speed as a multiple of real time and share of padding, by kind of work.

  Args:
    corpus: folder with a text model; rows of the AR model and of flow matching
      are measured where it has features.
    size: size of the configs whose rows are made.
    seconds: length of each measurement.

  Raises:
    UserError: there is no such corpus or size, or they do not fit together.
  """
  opened = Corpus.open(corpus, "train")
  jobs: dict[str, Work] = {
    "decode": _decode(opened),
    "decode and log-mel": _log_mel(opened, size),
  }
  features = (pathlib.Path(corpus) / "features").exists()
  for name in stages.STAGES if features else AUDIO_STAGES:
    config = importlib.import_module(f"configs.{name}").get_config(size)
    config.corpus = corpus
    config = stages.resolve(config)
    jobs[f"rows of {name}"] = _rows(
      stages.make(config).rows(corpus, "train", config.batch_size, config.seed)
    )
  return {name: speed(work, seconds) for name, work in jobs.items()}


def _decode(corpus: Corpus) -> Work:
  for i in _order(len(corpus)):
    yield len(corpus.wave(i)) / corpus.rate, 0.0


def _log_mel(corpus: Corpus, size: str) -> Work:
  """Log-mel spectra by NumPy and SciPy, as a loader would compute them."""
  spec = spectra.LogMel(**common.mel(size, corpus.rate).to_dict())
  window = spectra.hann(spec.window)
  filters = spectra.mel_filters(spec.rate, spec.window, spec.bins)
  for i in _order(len(corpus)):
    wave = corpus.wave(i)
    padded = np.pad(wave, (0, spec.window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, spec.window)
    spectrum = np.abs(fft.rfft(frames[:: spec.hop] * window))
    np.log(spectrum @ filters + spec.floor)
    yield len(wave) / corpus.rate, 0.0


def _rows(rows: stages.Rows) -> Work:
  for i in itertools.count():
    row = rows[i]
    yield float(row["audio_seconds"]), float(row["padding"])


def _order(n: int) -> Iterator[int]:
  rng = np.random.default_rng(0)
  while True:
    yield from rng.permutation(n)


def speed(work: Work, seconds: float) -> dict[str, float]:
  """Speed and padding of the pieces done in so many seconds, after four."""
  for _ in range(4):
    next(work)
  speech, padding = [], []
  used = time.process_time()
  began = time.perf_counter()
  while time.perf_counter() - began < seconds:
    spoken, empty = next(work)
    speech.append(spoken)
    padding.append(empty)
  took = time.perf_counter() - began
  return {
    "times_real_time": sum(speech) / took,
    "times_real_time_a_core": sum(speech)
    / max(time.process_time() - used, 1e-9),
    "padding": float(np.mean(padding)),
  }


# ----------------------------------------------------------- plans of a job


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plans:
  """Cost of finding the records of one host's rows in large batches."""

  clips: int  # of the index
  batch_size: int  # rows of all hosts
  host_rows: int  # of them on this host
  batches: int
  cpu_seconds: float  # of a batch
  packed: int  # blocks of clips that were packed into rows
  twice: int  # of them packed before already
  own_bytes: int | None  # memory of this process alone; None but on Linux


def plans(
  clips: int, batch_size: int, host_rows: int, batches: int, threads: int
) -> Plans:
  """Plans one host's rows of the AR model (size base) and makes none.

  Args:
    clips: number of made-up clips, of 2 to 18 s.
    batch_size: rows of all hosts together.
    host_rows: rows of this host, neighbours.
    batches: number of batches.
    threads: threads of the loader.
  """
  before = _own_bytes()
  with tempfile.TemporaryDirectory() as folder:
    index = _made_up_index(pathlib.Path(folder), clips)
    rows = _PlansAlone(_made_up(index, batch_size))
    mine = np.arange(host_rows) + batch_size // 2
    began = time.process_time()
    for _ in loader.make_loader(rows, 0, batches, mine, threads):
      pass
    used = time.process_time() - began
    after = _own_bytes()
  packing = rows.packing
  touched = {
    (step * batch_size + int(j)) // packing.each
    for step in range(batches)
    for j in mine
  }
  return Plans(
    clips=clips,
    batch_size=batch_size,
    host_rows=host_rows,
    batches=batches,
    cpu_seconds=used / batches,
    packed=packing.packed,
    twice=packing.packed - len(touched | {0}),  # the first gives the length
    own_bytes=None if before is None or after is None else after - before,
  )


class _PlansAlone:
  """Rows that are planned as others are, and hold nothing."""

  def __init__(self, rows: PackedSequences):
    self.batch_size, self.excluded = rows.batch_size, rows.excluded
    self.plan, self.packing = rows.plan, rows.packing

  def make(self, index: int, planned: list) -> Row:
    """Row with the number of its clips alone."""
    return make_row(0.0, 0.0, clips=np.int32(len(planned)), index=index)

  def __getitem__(self, index: int) -> Row:
    return self.make(index, self.plan([index])[0])


class _Index(types.SimpleNamespace):
  """Columns of a corpus without its records."""

  def __len__(self) -> int:
    return len(self.num_samples)


def _own_bytes() -> int | None:
  """Memory of this process that no file backs; None but on Linux."""
  try:
    status = pathlib.Path("/proc/self/status").read_text()
  except OSError:
    return None
  (line,) = (x for x in status.splitlines() if x.startswith("RssAnon:"))
  return int(line.split()[1]) * 1024


def _made_up_index(folder: pathlib.Path, clips: int) -> _Index:
  """Index of made-up clips, written to a folder and mapped from there."""
  random = np.random.default_rng(0)
  rate = 16_000
  tokens = random.integers(50, 450, clips, dtype=np.int32)
  path, texts = folder / "index.npz", folder / "text_tokens.npy"
  Index(
    num_samples=tokens * (rate // TOKENS_PER_SECOND),
    speaker=random.integers(max(clips // 100, 1), size=clips, dtype=np.int32),
    language=np.zeros(clips, np.int32),
    text_bytes=tokens,
  ).write(path)
  np.save(texts, tokens // 3 + 2)
  return _Index(
    **vars(Index.read(path)),
    text_tokens=np.load(texts, mmap_mode="r"),
    rate=rate,
    split="train",
    folder="made-up clips",
  )


def _made_up(corpus: Any, batch_size: int) -> PackedSequences:
  """Rows of the AR model over clips that are an index alone."""
  data = importlib.import_module("configs.ar").get_config("base").data
  features: Any = types.SimpleNamespace(card={"num_codes": 1024})
  text: Any = None
  return PackedSequences(
    corpus,
    features,
    text,
    batch_size=batch_size,
    seed=0,
    row_tokens=data.row_tokens,
    max_segments=data.max_segments,
    reference_seconds=data.reference_seconds,
    prompt_probability=data.prompt_probability,
    rate=lambda _: 0.3,
  )


def describe(found: dict[str, dict[str, float]]) -> str:
  """Speeds of `measure`, a line each."""
  return "\n".join(
    f"{name:<24} {values['times_real_time']:>7,.0f} × real time on one "
    f"thread, {values['times_real_time_a_core']:>7,.0f} × a core, padding "
    f"{values['padding']:.1%}"
    for name, values in found.items()
  )


def describe_plans(found: Plans) -> str:
  """Result of `plans` in one sentence."""
  return (
    f"plans: {found.host_rows} rows of {found.batch_size:,} in "
    f"{found.cpu_seconds:.3f} CPU s a batch; {found.packed} blocks packed for "
    f"{found.batches} batches of {found.clips:,} clips, {found.twice} of them "
    "twice"
    + (
      ""
      if found.own_bytes is None
      else f"; {found.own_bytes / 2**20:,.0f} MiB of a process alone, beside "
      f"the {20 * found.clips / 2**20:,.0f} MiB that those of a host share"
    )
  )
