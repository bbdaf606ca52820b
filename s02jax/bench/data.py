"""`s02 bench data`: how much speech one core brings to a training step.

  s02 bench data --corpus DIR [--seconds N] [--json FILE]

Decoding alone, decoding and log-mel, and the rows of each stage that the
corpus is ready for, each on one thread for N seconds, as multiples of real
time; and the share of those rows that is padding.
"""

import argparse
import importlib
import json
import pathlib
import time
from collections.abc import Callable, Iterator

import numpy as np
from scipy import fft

from configs import common
from s02jax import audio
from s02jax.data import rows
from s02jax.data.records import Corpus, Features
from s02jax.stages import ar
from s02jax.text import TextModel

Work = Iterator[tuple[float, float]]  # seconds of speech, share of padding


def measure(corpus: str, seconds: float) -> dict[str, dict[str, float]]:
  """× real time and padding share, by what is done.

  Raises:
    UserError: there is no corpus in the folder.
  """
  opened = Corpus.open(corpus, "train")
  text = TextModel.load(f"{corpus}/text.model")
  size = "mini"
  jobs: dict[str, Callable[[], Work]] = {
    "decode": lambda: _decode(opened),
    "decode and log-mel": lambda: _log_mel(opened),
    "rows of audio_tokenizer": lambda: _rows(
      rows.Utterances(
        opened, text, batch_size=16, seed=0, **_data("audio_tokenizer", size)
      )
    ),
    "rows of flow_vae": lambda: _rows(
      rows.AudioCrops(opened, batch_size=8, seed=0, **_data("flow_vae", size))
    ),
  }
  if (pathlib.Path(corpus) / "features").exists():
    features = Features.open(corpus, "train")
    overall, each = ar.text_rates(opened)
    of = dict(each)
    jobs["rows of ar"] = lambda: _rows(
      rows.PackedSequences(
        opened,
        features,
        text,
        batch_size=2,
        seed=0,
        rate=lambda code: of.get(code, overall),
        **_data("ar", size),
      )
    )
    jobs["rows of flow_matching"] = lambda: _rows(
      rows.LatentUtterances(
        opened,
        features,
        batch_size=16,
        seed=0,
        **_data("flow_matching", size),
      )
    )
  return {name: _time(job(), seconds) for name, job in jobs.items()}


def _data(stage: str, size: str) -> dict:
  return dict(importlib.import_module(f"configs.{stage}").get_config(size).data)


def _decode(corpus: Corpus) -> Work:
  for i in _order(len(corpus)):
    yield len(corpus.wave(i)) / corpus.rate, 0.0


def _log_mel(corpus: Corpus) -> Work:
  """By NumPy and SciPy, as a loader would."""
  spec = audio.LogMel(**common.mel("mini", corpus.rate).to_dict())
  window = audio.hann(spec.window)
  filters = audio.mel_filters(spec.rate, spec.window, spec.bins)
  for i in _order(len(corpus)):
    wave = corpus.wave(i)
    padded = np.pad(wave, (0, spec.window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, spec.window)
    spectrum = np.abs(fft.rfft(frames[:: spec.hop] * window))
    np.log(spectrum @ filters + spec.floor)
    yield len(wave) / corpus.rate, 0.0


def _rows(source) -> Work:
  i = 0
  while True:
    row = source[i]
    yield float(row["audio_seconds"]), float(row["padding"])
    i += 1


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
  parser = argparse.ArgumentParser(
    prog="s02 bench data",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("--corpus", required=True)
  parser.add_argument("--seconds", type=float, default=5.0)
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args(argv)
  found = measure(args.corpus, args.seconds)
  for name, values in found.items():
    print(
      f"{name:<24} {values['times_real_time']:>7,.0f} × real time on one "
      f"thread, padding {values['padding']:.1%}"
    )
  if args.json:
    args.json.write_text(json.dumps(found, indent=2))
  return 0
