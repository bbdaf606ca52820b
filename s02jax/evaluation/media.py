"""Sounds, spectrograms and curves as text that a page holds: data URIs, SVG."""

import base64
import dataclasses
import html
import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
import soundfile

from s02jax.audio import loudness, spectra, writer
from s02jax.pretrained import signal

_WIDTH, _HEIGHT = 640, 200  # of a picture of curves, in SVG units
_LEFT, _BOTTOM, _TOP = 48, 24, 10  # margins of a picture of curves
_POINTS = 300  # of a curve, at most
_SPECTROGRAM = (320, 96)  # pixels
_OTHER_RATE = 24000  # Hz, where MP3 does not have a sound's own rate


def data_uri(kind: str, data: bytes) -> str:
  """Encodes `data` as an address that holds it."""
  return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def sound(wave: np.ndarray, rate: int) -> str:
  """Data URI of float[n] as FLAC: lossless, and every browser plays it."""
  wave = np.nan_to_num(np.asarray(wave, np.float32))
  return data_uri("audio/flac", spectra.encode_flac(wave, rate))


def compressed_sound(wave: np.ndarray, rate: int) -> str:
  """Data URI of float[n] as MP3, a fifth of FLAC's size."""
  wave = np.nan_to_num(np.asarray(wave, np.float32))
  out = io.BytesIO()
  if rate not in writer.RATES[".mp3"]:
    wave, rate = loudness.resample(wave, rate, _OTHER_RATE), _OTHER_RATE
  soundfile.write(
    out, np.clip(wave, -1.0, 1.0), rate, "MPEG_LAYER_III", format="MP3"
  )
  return data_uri("audio/mpeg", out.getvalue())


def spectrogram(wave: np.ndarray) -> str:
  """Data URI of a log-mel spectrogram as PNG: 80 bands to 8 kHz, 70 dB.

  The scale is the clip's own, so that patterns can be compared, not loudness.

  Args:
    wave: float[n] at 16 kHz.
  """
  import matplotlib
  from PIL import Image

  power = (
    signal.power_frames(wave, 512, 128)
    @ signal.slaney_mel(signal.JUDGE_RATE, 512, 80).T
  )
  decibel = 10 * np.log10(power + 1e-10)
  level = np.clip((decibel - decibel.max()) / 70 + 1, 0, 1)
  pixels = np.round(level.T[::-1] * 255).astype(np.uint8)
  image = Image.fromarray(pixels).resize(_SPECTROGRAM, Image.Resampling.BOX)
  palette = matplotlib.colormaps["magma"](np.arange(256))[:, :3]
  image.putpalette((palette * 255).astype(np.uint8).tobytes())
  out = io.BytesIO()
  image.save(out, "PNG", optimize=True)
  return data_uri("image/png", out.getvalue())


@dataclasses.dataclass(frozen=True)
class Curve:
  """Named values over steps."""

  name: str
  steps: Sequence[float]
  values: Sequence[float]  # finite, one for each step


def curves_svg(curves: Sequence[Curve], title: str) -> str:
  """Draws lines over steps as inline SVG, coloured by the page's classes."""
  ranges = _ranges(curves)
  parts = [
    f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
    f' aria-label="{html.escape(title, quote=True)}">'
  ]
  for value in ticks(*ranges["y"]):
    y = _place_y(value, ranges)
    parts.append(
      f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y}" y2="{y}"/>'
      f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{value:g}</text>'
    )
  for value in ticks(*ranges["x"]):
    x = _place_x(value, ranges)
    parts.append(
      f'<text x="{x}" y="{_HEIGHT - 6}" text-anchor="middle">{value:g}</text>'
    )
  for i, curve in enumerate(curves):
    points = " ".join(
      f"{_place_x(s, ranges)},{_place_y(v, ranges)}" for s, v in _thinned(curve)
    )
    parts.append(f'<polyline class="curve c{i}" points="{points}"/>')
  return "".join([*parts, "</svg>"])


def _ranges(curves: Sequence[Curve]) -> Mapping[str, tuple[float, float]]:
  """Ranges of the axes; the peak of the first steps may leave the picture."""
  steps = np.concatenate([c.steps for c in curves])
  values = np.concatenate([c.values for c in curves])
  low, high = float(values.min()), float(np.quantile(values, 0.99))
  margin = 0.05 * (high - low) or 1.0
  return {
    "x": (float(steps.min()), float(max(steps.max(), steps.min() + 1))),
    "y": (low - margin, high + margin),
  }


def _place_x(step: float, ranges) -> float:
  """Horizontal place of a step in SVG units."""
  low, high = ranges["x"]
  share = (step - low) / (high - low)
  return round(_LEFT + 10 + share * (_WIDTH - _LEFT - 30), 1)


def _place_y(value: float, ranges) -> float:
  """Vertical place of a value in SVG units."""
  low, high = ranges["y"]
  share = min(1.0, (value - low) / (high - low))
  return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP), 1)


def _thinned(curve: Curve) -> list[tuple[float, float]]:
  """Averages neighbours where there are too many points to see."""
  size = -(-len(curve.steps) // _POINTS)
  return [
    (
      float(np.mean(curve.steps[i : i + size])),
      float(np.mean(curve.values[i : i + size])),
    )
    for i in range(0, len(curve.steps), size)
  ]


def ticks(low: float, high: float) -> list[float]:
  """Three to six round numbers from `low` to `high`."""
  raw = (high - low) / 4
  power = 10 ** math.floor(math.log10(raw))
  step = min((1, 2, 2.5, 5, 10), key=lambda s: abs(s * power - raw)) * power
  first = math.ceil(low / step)
  last = math.floor(high / step)
  return [float(f"{i * step:.10g}") for i in range(first, last + 1)]
