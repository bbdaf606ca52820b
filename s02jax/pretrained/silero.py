"""Speech detector Silero VAD 6: where somebody speaks in a recording.

A small network over frames of 32 ms, each heard with the 4 ms before it:
magnitudes of a short-time spectrum, four convolutions, one LSTM, one logistic
unit. Its weights ship inside the `silero-vad` wheel as safetensors (MIT); they
are read and run here in NumPy, so neither PyTorch nor onnxruntime is needed:
install the wheel with `pip install --no-deps silero-vad`.

Shape letters: n samples, t frames, w window, f frequency bins, c channels,
s positions inside of a frame, h hidden units.
"""

import functools
import importlib.util
import pathlib

import numpy as np

from s02jax.core.errors import UserError
from s02jax.pretrained.signal import JUDGE_RATE, logistic

FRAME = 512  # samples at 16 kHz: 32 ms
FRAME_SECONDS = FRAME / JUDGE_RATE
_BEFORE = 64  # samples before a frame that are heard with it
_AFTER = 64  # samples by which it is mirrored at its end
_WINDOW, _HOP = 256, 128  # samples of the spectrum
_BATCH = 512  # frames at a time
_STRIDES = (1, 2, 2, 1)  # of the convolutions
# Of Silero's own segmentation.
THRESHOLD = 0.5  # probability at which speech begins
_END_THRESHOLD = 0.35  # probability below which it may end
_SHORTEST = 0.25  # seconds: shorter speech does not count
_PAUSE = 0.1  # seconds: shorter pauses do not part segments
_MARGIN = 0.03  # seconds that are added on both sides of a segment

MISSING = (
  "whether anybody speaks is left unchecked, because the speech detector's"
  " weights are not installed: pip install --no-deps silero-vad"
)


def is_installed() -> bool:
  """True where the wheel with the weights is installed."""
  return _path() is not None


def nobody_speaks(wave: np.ndarray) -> bool:
  """Whether a recording holds no speech, but noise or music, say.

  Args:
    wave: float32 [n] at 16 kHz, levelled.

  Raises:
    UserError: the weights are not installed.
  """
  return not Silero().segments(wave)


class Silero:
  """Speech detector Silero VAD."""

  spec = "silero"

  def __init__(self):
    """Reads the weights, once a process. Raises UserError without them."""
    self._weights = weights()

  def probabilities(self, wave: np.ndarray) -> np.ndarray:
    """Probability of speech in each frame of 32 ms.

    Args:
      wave: float32 [n] at 16 kHz, from its beginning: the network has a memory.

    Returns:
      float32 [t], t = ceil(n / 512); the last frame is filled with silence.
    """
    wave = np.asarray(wave, np.float32)
    count = -(-len(wave) // FRAME)
    if not count:
      return np.zeros(0, np.float32)
    padded = np.pad(wave, (_BEFORE, count * FRAME - len(wave)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _BEFORE + FRAME)[
      ::FRAME
    ]
    found = [
      self._features(frames[i : i + _BATCH]) for i in range(0, count, _BATCH)
    ]
    hidden = self._remember(np.concatenate(found))
    weight, bias = self._weights["final_conv"]
    logit = np.maximum(hidden, 0) @ weight[0, :, 0] + bias[0]
    return logistic(logit).astype(np.float32)

  def segments(self, wave: np.ndarray) -> list[tuple[float, float]]:
    """Seconds at which speech begins and ends, in order, without overlap.

    Args:
      wave: float32 [n] at 16 kHz.
    """
    return segments(self.probabilities(wave), len(wave) / JUDGE_RATE)

  def _features(self, frames: np.ndarray) -> np.ndarray:
    """Convolutions over frames [t, 576], of their last position: [t, c]."""
    x = np.pad(frames, ((0, 0), (0, _AFTER)), "reflect")
    x = np.lib.stride_tricks.sliding_window_view(x, _WINDOW, axis=1)[:, ::_HOP]
    x = x @ self._weights["stft_conv"][0][:, 0].T  # [t, s, 2 f]
    half = x.shape[-1] // 2
    x = np.sqrt(x[..., :half] ** 2 + x[..., half:] ** 2)
    for number, stride in enumerate(_STRIDES, start=1):
      weight, bias = self._weights[f"conv{number}"]
      x = _convolve(x, weight, bias, stride)
    return x[:, 0]

  def _remember(self, x: np.ndarray) -> np.ndarray:
    """LSTM from a zero state: [t, c] to [t, h]; gates i, f, g, o."""
    w_in, w_hidden, bias = self._weights["lstm_cell"]
    gates_in = x @ w_in.T + bias
    hidden = cell = np.zeros(w_hidden.shape[1], np.float32)
    out = np.empty((len(x), len(hidden)), np.float32)
    for step, gates in enumerate(gates_in):
      i, f, g, o = np.split(gates + w_hidden @ hidden, 4)
      cell = logistic(f) * cell + logistic(i) * np.tanh(g)
      hidden = out[step] = logistic(o) * np.tanh(cell)
    return out


def segments(
  probabilities: np.ndarray, seconds: float
) -> list[tuple[float, float]]:
  """Joins frames of speech to segments, as Silero's own program does.

  Args:
    probabilities: float [t] of frames of 32 ms.
    seconds: length of the recording.

  Returns:
    Seconds at which each begins and ends, widened by 30 ms where there is room.
  """
  found: list[tuple[float, float]] = []
  start = pause = None  # frames at which speech, and a pause in it, began
  for frame, probability in enumerate(probabilities):
    if probability >= THRESHOLD:
      start, pause = frame if start is None else start, None
    elif probability < _END_THRESHOLD and start is not None:
      pause = frame if pause is None else pause
      if (frame - pause) * FRAME_SECONDS >= _PAUSE:
        found.append((start * FRAME_SECONDS, pause * FRAME_SECONDS))
        start = pause = None
  if start is not None:
    found.append((start * FRAME_SECONDS, seconds))
  found = [(a, b) for a, b in found if b - a > _SHORTEST]
  widened: list[tuple[float, float]] = []
  for i, (a, b) in enumerate(found):
    before = found[i - 1][1] if i else -_MARGIN
    after = found[i + 1][0] if i + 1 < len(found) else seconds + _MARGIN
    a -= min(_MARGIN, (a - before) / 2)
    b += min(_MARGIN, (after - b) / 2)
    widened.append((max(0.0, a), min(seconds, b)))
  return widened


def _convolve(x, weight, bias, stride: int) -> np.ndarray:
  """Convolution of width 3 and ReLU, zeros at the ends: [t, s, c] to same."""
  x = np.pad(x, ((0, 0), (1, 1), (0, 0)))
  windows = np.lib.stride_tricks.sliding_window_view(x, 3, axis=1)[:, ::stride]
  t, s, c, k = windows.shape  # weight [out, c, k]
  flat = windows.reshape(t * s, c * k) @ weight.reshape(len(weight), c * k).T
  return np.maximum(flat + bias, 0).reshape(t, s, -1)


def _path() -> pathlib.Path | None:
  """File of the weights in the wheel; None where it is not installed."""
  spec = importlib.util.find_spec("silero_vad")  # imports nothing
  if spec is None or not spec.submodule_search_locations:
    return None
  path = pathlib.Path(spec.submodule_search_locations[0])
  path = path / "data" / "silero_vad_16k.safetensors"
  return path if path.is_file() else None


@functools.cache
def weights() -> dict[str, tuple[np.ndarray, ...]]:
  """Reads the weights of the wheel, once a process.

  Returns:
    Arrays by layer: weight and, but for `stft_conv`, bias; of `lstm_cell`
    weight of the input [4h, c], of the state [4h, h], and bias [4h].

  Raises:
    UserError: the package is not installed.
  """
  path = _path()
  if path is None:
    raise UserError(
      "the speech detector's weights are not installed; run: pip install"
      " --no-deps silero-vad"
    )
  import safetensors.numpy

  state = safetensors.numpy.load_file(path)
  layers: dict[str, tuple[np.ndarray, ...]] = {
    name: (state[f"{name}.weight"], state[f"{name}.bias"])
    for name in ("conv1", "conv2", "conv3", "conv4", "final_conv")
  }
  layers["stft_conv"] = (state["stft_conv.weight"],)
  layers["lstm_cell"] = (
    state["lstm_cell.weight_ih"],
    state["lstm_cell.weight_hh"],
    state["lstm_cell.bias_ih"] + state["lstm_cell.bias_hh"],
  )
  return layers
