"""DNSMOS: predicted quality of speech (Microsoft's speechmos)."""

import pathlib
from collections.abc import Sequence

import numpy as np

from s02jax.pretrained import signal
from s02jax.pretrained.audio import read_wave, require

# ------------------------------------------------------------------ quality

_DNSMOS_SECONDS = 9.01
# From the network's raw scores to those of P.835 listeners.
_DNSMOS_CURVES = {
  "dnsmos_sig": (-0.08397278, 1.22083953, 0.0052439),
  "dnsmos_bak": (-0.13166888, 1.60915514, -0.39604546),
  "dnsmos_ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


class DnsMos:
  """DNSMOS P.835: speech, background and overall, each 1 to 5.

  The network is in Microsoft's `speechmos` wheel. Mirrors its `dnsmos.py`:
  windows of 9.01 s every second, a shorter clip repeated until it fills one.
  """

  spec = "dnsmos"

  def __init__(self):
    onnxruntime, wheel = require("onnxruntime", "speechmos")
    path = pathlib.Path(wheel.__path__[0], "dnsmos_models", "sig_bak_ovr.onnx")
    self._session = onnxruntime.InferenceSession(
      str(path), providers=["CPUExecutionProvider"]
    )

  def score(self, paths: Sequence[pathlib.Path]) -> dict[str, np.ndarray]:
    rows = np.array([self._one(read_wave(path)) for path in paths], np.float32)
    return dict(zip(_DNSMOS_CURVES, rows.reshape(-1, 3).T, strict=True))

  def _one(self, wave: np.ndarray) -> np.ndarray:
    if not np.any(wave):
      return np.full(3, np.nan)
    raw = [
      self._session.run(None, {"input_1": window[None]})[0][0]
      for window in dnsmos_windows(wave)
    ]
    scores = zip(_DNSMOS_CURVES.values(), np.transpose(raw), strict=True)
    return np.array([np.polyval(curve, x).mean() for curve, x in scores])


def dnsmos_windows(wave: np.ndarray) -> list[np.ndarray]:
  """Windows float32[144160] of a clip at 16 kHz with a sample or more."""
  rate = signal.JUDGE_RATE
  size = int(_DNSMOS_SECONDS * rate)
  while len(wave) < size:
    wave = np.append(wave, wave)
  count = int(len(wave) // rate - _DNSMOS_SECONDS) + 1
  starts = (i * rate for i in range(count))
  return [wave[i : i + size] for i in starts if i + size <= len(wave)]
