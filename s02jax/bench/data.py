"""`s02 bench data`: how much speech one core brings to a training step.

  s02 bench data --corpus DIR [--size mini] [--seconds N] [--json FILE]

Decoding alone, decoding and log-mel, and the rows of each stage that the
corpus is ready for, each on one thread for N seconds, as multiples of real
time; and the share of those rows that is padding.
"""

import importlib
import itertools
import pathlib
import time
from collections.abc import Iterator

import numpy as np
from scipy import fft

from configs import common
from s02jax import stages
from s02jax.audio import spectra
from s02jax.cli import bench
from s02jax.core import files
from s02jax.data.records import Corpus

# They need no features of other stages.
AUDIO_STAGES = ("audio_tokenizer", "flow_vae")

Work = Iterator[tuple[float, float]]  # seconds of speech, share of padding


def measure(
  corpus: str, size: str, seconds: float
) -> dict[str, dict[str, float]]:
  """× real time and padding share, by what is done.

  Args:
    corpus: folder with a text model; rows of the AR model and of flow matching
      are measured where it has features.
    size: of the configs whose rows are made.
    seconds: for each measurement.

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
  return {name: _time(work, seconds) for name, work in jobs.items()}


def _decode(corpus: Corpus) -> Work:
  for i in _order(len(corpus)):
    yield len(corpus.wave(i)) / corpus.rate, 0.0


def _log_mel(corpus: Corpus, size: str) -> Work:
  """By NumPy and SciPy, as a loader would."""
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


def _time(work: Work, seconds: float) -> dict[str, float]:
  """Runs for so many seconds, after the first pieces warmed up."""
  for _ in range(4):
    next(work)
  speech, padding = [], []
  began = time.perf_counter()
  while time.perf_counter() - began < seconds:
    spoken, empty = next(work)
    speech.append(spoken)
    padding.append(empty)
  took = time.perf_counter() - began
  return {
    "times_real_time": sum(speech) / took,
    "padding": float(np.mean(padding)),
  }


def main(argv: list[str]) -> int:
  """`s02 bench data`."""
  parser = bench.parser("data", __doc__)
  parser.add_argument("--corpus", required=True)
  parser.add_argument("--size", default="mini", help="of the configs (mini)")
  parser.add_argument("--seconds", type=float, default=5.0, help="each (5)")
  args = parser.parse_args(argv)
  found = measure(args.corpus, args.size, args.seconds)
  for name, values in found.items():
    print(
      f"{name:<24} {values['times_real_time']:>7,.0f} × real time on one "
      f"thread, padding {values['padding']:.1%}"
    )
  if args.json:
    files.write_json(args.json, found)
  return 0
