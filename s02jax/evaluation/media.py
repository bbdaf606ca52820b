"""Pictures and sounds of the page, as text that stands in the page itself."""

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

_WIDTH, _HEIGHT = 640, 200  # of a loss curve, in its own units
_LEFT, _BOTTOM, _TOP = 48, 24, 10
_POINTS = 300  # of a curve, at most
_SPECTROGRAM = (320, 96)  # pixels
_OTHER_RATE = 24000  # Hz, for what MP3 has no rate for


def data_uri(kind: str, data: bytes) -> str:
  """`data` as an address that holds it."""
  return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def sound(wave: np.ndarray, rate: int) -> str:
  """FLAC of float [n]: lossless, and every browser plays it."""
  wave = np.nan_to_num(np.asarray(wave, np.float32))
  return data_uri("audio/flac", spectra.encode_flac(wave, rate))


def compressed_sound(wave: np.ndarray, rate: int) -> str:
  """MP3 of float [n], a fifth of FLAC's size; every browser plays it."""
  wave = np.nan_to_num(np.asarray(wave, np.float32))
  out = io.BytesIO()
  if rate not in writer.RATES[".mp3"]:
    wave, rate = loudness.resample(wave, rate, _OTHER_RATE), _OTHER_RATE
  soundfile.write(
    out, np.clip(wave, -1.0, 1.0), rate, "MPEG_LAYER_III", format="MP3"
  )
  return data_uri("audio/mpeg", out.getvalue())


def spectrogram(wave: np.ndarray) -> str:
  """PNG of the log-mel spectrogram (80 bands to 8 kHz, 70 dB) of 16 kHz.

  The scale is the clip's own: loudness is not compared, patterns are.
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
  """Steps and values, both finite and of one length."""

  name: str
  steps: Sequence[float]
  values: Sequence[float]


def curves_svg(curves: Sequence[Curve], title: str) -> str:
  """Lines over steps as inline SVG; colours come from the page's classes."""
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
  """Of the axes; the first steps' peak may leave the picture at the top."""
  steps = np.concatenate([c.steps for c in curves])
  values = np.concatenate([c.values for c in curves])
  low, high = float(values.min()), float(np.quantile(values, 0.99))
  margin = 0.05 * (high - low) or 1.0
  return {
    "x": (float(steps.min()), float(max(steps.max(), steps.min() + 1))),
    "y": (low - margin, high + margin),
  }


def _place_x(step: float, ranges) -> float:
  low, high = ranges["x"]
  share = (step - low) / (high - low)
  return round(_LEFT + 10 + share * (_WIDTH - _LEFT - 30), 1)


def _place_y(value: float, ranges) -> float:
  low, high = ranges["y"]
  share = min(1.0, (value - low) / (high - low))
  return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP), 1)


def _thinned(curve: Curve) -> list[tuple[float, float]]:
  """Means of neighbours where there are too many points to see."""
  size = -(-len(curve.steps) // _POINTS)
  return [
    (
      float(np.mean(curve.steps[i : i + size])),
      float(np.mean(curve.values[i : i + size])),
    )
    for i in range(0, len(curve.steps), size)
  ]


def ticks(low: float, high: float) -> list[float]:
  """Three to six round numbers between."""
  raw = (high - low) / 4
  power = 10 ** math.floor(math.log10(raw))
  step = min((1, 2, 2.5, 5, 10), key=lambda s: abs(s * power - raw)) * power
  first = math.ceil(low / step)
  last = math.floor(high / step)
  return [float(f"{i * step:.10g}") for i in range(first, last + 1)]
