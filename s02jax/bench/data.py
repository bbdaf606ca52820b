"""Speech that one core brings to a training step, as multiples of real time."""

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
from s02jax.data.records import Corpus

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


def describe(found: dict[str, dict[str, float]]) -> str:
  """Speeds of `measure`, a line each."""
  return "\n".join(
    f"{name:<24} {values['times_real_time']:>7,.0f} × real time on one "
    f"thread, padding {values['padding']:.1%}"
    for name, values in found.items()
  )
