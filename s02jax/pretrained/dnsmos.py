"""Quality judge: DNSMOS P.835 of Microsoft's `speechmos` wheel."""

import importlib.util
import pathlib
from collections.abc import Sequence

import numpy as np

from s02jax.pretrained import signal
from s02jax.pretrained.audio import read_wave, require

NOT_INSTALLED = (
  "DNSMOS is left out, because its packages are not installed: pip install"
  " 's02jax[judges]'."
)
_SECONDS = 9.01  # of one window
# Polynomials from the network's raw scores to those of P.835 listeners.
_CURVES = {
  "dnsmos_sig": (-0.08397278, 1.22083953, 0.0052439),
  "dnsmos_bak": (-0.13166888, 1.60915514, -0.39604546),
  "dnsmos_ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


def installed() -> bool:
  """True where the packages of DNSMOS are installed."""
  names = ("onnxruntime", "speechmos")
  return all(importlib.util.find_spec(name) for name in names)


class DnsMos:
  """Quality judge DNSMOS P.835: speech, background and overall, each 1 to 5.

  The network is in Microsoft's `speechmos` wheel. Mirrors its `dnsmos.py`:
  windows of 9.01 s every second, a shorter clip repeated until it fills one.
  """

  spec = "dnsmos"

  def __init__(self, threads: int = 0):
    """Loads the network, to be run by so many threads; 0: one a core."""
    onnxruntime, wheel = require("onnxruntime", "speechmos")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    path = pathlib.Path(wheel.__path__[0], "dnsmos_models", "sig_bak_ovr.onnx")
    self._session = onnxruntime.InferenceSession(
      str(path), options, providers=["CPUExecutionProvider"]
    )

  def score(self, paths: Sequence[pathlib.Path]) -> dict[str, np.ndarray]:
    """Scores each file: float32[n] by measure. Raises UserError."""
    found = np.array([self._one(read_wave(path)) for path in paths], np.float32)
    return dict(zip(_CURVES, found.reshape(-1, 3).T, strict=True))

  def overall(self, wave: np.ndarray) -> float:
    """Overall score of float32[n] at 16 kHz; NaN for silence."""
    return float(self._one(wave)[list(_CURVES).index("dnsmos_ovrl")])

  def _one(self, wave: np.ndarray) -> np.ndarray:
    """Scores float32[n] at 16 kHz: float64[3] in the order of the curves."""
    if not np.any(wave):
      return np.full(3, np.nan)
    raw = [
      self._session.run(None, {"input_1": window[None]})[0][0]
      for window in windows(wave)
    ]
    scores = zip(_CURVES.values(), np.transpose(raw), strict=True)
    return np.array([np.polyval(curve, x).mean() for curve, x in scores])


def windows(wave: np.ndarray) -> list[np.ndarray]:
  """Cuts a clip at 16 kHz, not empty, into windows float32[144160]."""
  rate = signal.JUDGE_RATE
  size = int(_SECONDS * rate)
  while len(wave) < size:
    wave = np.append(wave, wave)
  count = int(len(wave) // rate - _SECONDS) + 1
  starts = (i * rate for i in range(count))
  return [wave[i : i + size] for i in starts if i + size <= len(wave)]
