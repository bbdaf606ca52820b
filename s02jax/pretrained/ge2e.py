"""Speaker judge GE2E: the speaker encoder of the `resemblyzer` package.

Three LSTM layers over 1.6 s windows of a 40-band mel spectrogram (Wan et al.,
2018), with the weights that ship inside the wheel. They are read and run here
in NumPy, so neither PyTorch nor librosa is needed: install the wheel with
`pip install --no-deps resemblyzer`.

It needs about three seconds of speech, and says little below one second; its
cosines are not comparable with those of any other encoder.

Shape letters: b windows, t frames, m mel bands, h hidden units, e embedding.
"""

import functools
import importlib.util
import pathlib
from collections.abc import Sequence

import numpy as np

from s02jax.core.errors import UserError
from s02jax.pretrained import signal, torch_file
from s02jax.pretrained.audio import read_wave
from s02jax.pretrained.judges import unit_vectors

SIZE = 256  # features of a vector, e
_WINDOW = 400  # samples: 25 ms
_HOP = 160  # samples: 10 ms
_BANDS = 40  # mel bands
_FRAMES = 160  # of one window of the encoder: 1.6 s
_STEP = 77  # frames between windows: 1.3 windows a second
_MIN_COVERAGE = 0.75  # of the last window, else it is dropped
_LOUDNESS_DB = -30.0  # power to which quieter speech is raised
_BATCH = 128  # windows at a time
SECONDS_NEEDED = 3.0  # of speech, for a vector that tells voices apart


def is_installed() -> bool:
  """True where the package with the weights, and what it is run by, are."""
  names = ("resemblyzer", "threadpoolctl")
  return all(importlib.util.find_spec(name) for name in names)


class Ge2e:
  """Speaker judge GE2E over audio files."""

  spec = "ge2e"

  def embed(self, paths: Sequence[pathlib.Path]) -> np.ndarray:
    """Returns float32[n, e] for n files, by `embed` of this module."""
    return embed([read_wave(path) for path in paths])


def embed(waves: Sequence[np.ndarray]) -> np.ndarray:
  """Unit vector of each recording (16 kHz), all windows in one batch.

  The vector of silence is zero, and so are all its cosines.

  Returns:
    float32[len(waves), e].

  Raises:
    UserError: the package with the weights is not installed.
  """
  prepared = [_prepare(wave) for wave in waves]
  counts = [len(windows) for windows in prepared]
  if not sum(counts):
    return np.zeros((len(waves), SIZE), np.float32)
  partial = encode(np.concatenate(prepared))
  bounds = np.cumsum(counts)[:-1]
  means = [
    part.mean(axis=0) if len(part) else np.zeros(SIZE, np.float32)
    for part in np.split(partial, bounds)
  ]
  return unit_vectors(np.stack(means))


def speaker_vectors(waves: Sequence[np.ndarray], rate: int) -> list[np.ndarray]:
  """Fixed speaker vectors for the AR model: float32[e] of unit mean square.

  They replace the model's own speaker encoder where `model.speaker.kind` is
  "embedding" (an ablation: report, table 4).

  Args:
    waves: float32[n], better three seconds than one; silence gives zeros.
    rate: sample rate of the waves, Hz.

  Raises:
    UserError: the package with the weights is not installed.
  """
  found = embed([signal.to_judge_rate(wave, rate) for wave in waves])
  return list(found * np.float32(SIZE**0.5))


def similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Cosine of unit vectors: [.., e] and [.., e] to [..]."""
  return np.sum(a * b, axis=-1)


def nearest_of(test: np.ndarray, gallery: np.ndarray) -> np.ndarray:
  """Index of the gallery's vector nearest to each one; -1 for a zero vector.

  [i, e] and [g, e] to int[i].
  """
  best = np.argmax(test @ gallery.T, axis=1)
  return np.where(np.any(test, axis=1), best, -1)


def windows(samples: int) -> list[int]:
  """First frames of the encoder's windows over a recording.

  Windows are added until they cover it; the last one is dropped where less than
  three quarters of it would be speech, unless it is the only one.
  """
  frames = -(-(samples + 1) // _HOP)
  starts = list(range(0, max(1, frames - _FRAMES + _STEP + 1), _STEP))
  covered = (samples - starts[-1] * _HOP) / (_FRAMES * _HOP)
  return starts[:-1] if covered < _MIN_COVERAGE and len(starts) > 1 else starts


def mel(wave: np.ndarray) -> np.ndarray:
  """Power (not logarithmic) mel spectrogram, float32[t, m]."""
  power = signal.power_frames(wave, _WINDOW, _HOP)
  filters = signal.slaney_mel(signal.JUDGE_RATE, _WINDOW, _BANDS)
  return power @ filters.T


def _prepare(wave: np.ndarray) -> np.ndarray:
  """Windows of one recording, float32[b, t, m]; none for silence."""
  wave = signal.trim_silence(wave)
  if not len(wave):
    return np.zeros((0, _FRAMES, _BANDS), np.float32)
  level = 10 * np.log10(np.mean(wave.astype(np.float64) ** 2) + 1e-20)
  wave = wave * np.float32(10 ** (max(0.0, _LOUDNESS_DB - level) / 20))
  starts = windows(len(wave))
  needed = (starts[-1] + _FRAMES) * _HOP
  frames = mel(np.pad(wave, (0, max(0, needed - len(wave)))))
  return np.stack([frames[start : start + _FRAMES] for start in starts])


def encode(mels: np.ndarray) -> np.ndarray:
  """Unit vectors float32[b, e] of windows float32[b, t, m]."""
  import threadpoolctl  # of the extra "eval", which training does without

  layers, weight, bias = weights()
  # Thousands of small products: several threads would mostly wait.
  with threadpoolctl.threadpool_limits(1, "blas"):
    return _through_layers(mels, layers, weight, bias)


def _through_layers(mels, layers, weight, bias) -> np.ndarray:
  """Runs the LSTM and the projection on [b, t, m], a batch at a time."""
  parts = []
  for first in range(0, len(mels), _BATCH):
    x = mels[first : first + _BATCH].swapaxes(0, 1)
    for layer in layers:
      x = _lstm(x, *layer)
    parts.append(unit_vectors(np.maximum(x[-1] @ weight.T + bias, 0.0)))
  return np.concatenate(parts)


def _lstm(x, w_in, w_hidden, bias) -> np.ndarray:
  """LSTM layer from a zero state: [t, b, i] to [t, b, h]; gates i, f, g, o."""
  t, b, _ = x.shape
  width = w_hidden.shape[1]
  gates_in = x @ w_in.T + bias
  hidden = cell = np.zeros((b, width), np.float32)
  out = np.empty((t, b, width), np.float32)
  for step in range(t):
    gates = gates_in[step] + hidden @ w_hidden.T
    i, f, g, o = np.split(gates, 4, axis=1)
    cell = signal.logistic(f) * cell + signal.logistic(i) * np.tanh(g)
    hidden = out[step] = signal.logistic(o) * np.tanh(cell)
  return out


@functools.cache
def weights():
  """Reads the weights of the wheel, once a process.

  Returns:
    Three layers of (w_in [4h, i], w_hidden [4h, h], bias [4h]), then weight
    [e, h] and bias [e] of the projection. Gates are in the order i, f, g, o.

  Raises:
    UserError: the package is not installed.
  """
  spec = importlib.util.find_spec("resemblyzer")
  if spec is None or not spec.submodule_search_locations:
    raise UserError(
      "The speaker judge's weights are not installed; "
      "run: pip install --no-deps resemblyzer"
    )
  path = pathlib.Path(spec.submodule_search_locations[0], "pretrained.pt")
  state = torch_file.load(path)["model_state"]
  layers = [
    (
      state[f"lstm.weight_ih_l{i}"],
      state[f"lstm.weight_hh_l{i}"],
      state[f"lstm.bias_ih_l{i}"] + state[f"lstm.bias_hh_l{i}"],
    )
    for i in range(3)
  ]
  return layers, state["linear.weight"], state["linear.bias"]
