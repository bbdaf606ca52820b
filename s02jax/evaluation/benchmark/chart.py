"""Bar chart as HTML: a bar with interval a subset, marks of published figures.

Every bar is a small inline SVG whose places are shares of its width: so the
chart is as wide as the page, and its letters stay as large as the text's.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from s02jax.evaluation import media
from s02jax.evaluation.html import text

_HEIGHT, _MIDDLE, _BAR = 26, 13, 10  # pixels
_OFF = 68  # pixels between two marks beyond the axis
_CUT = (
  '<svg x="50%" overflow="visible"><path class="cut"'
  ' d="M-4 21L2 5M4 21L10 5"/></svg>'
)
_FAR = 3  # times the upper quartile: larger values are cut off
_SHAPES = (
  "M0 -6L5.5 0L0 6L-5.5 0Z",  # diamond
  "M0 -5.5L5.5 4.5L-5.5 4.5Z",  # triangle
  "M-4.5 -4.5H4.5V4.5H-4.5Z",  # square
  "M0 5.5L5.5 -4.5L-5.5 -4.5Z",  # triangle, upside down
  "M-5 0A5 5 0 1 1 5 0A5 5 0 1 1 -5 0Z",  # circle
  "M0 -6L6 -1.5L3.5 5.5H-3.5L-6 -1.5Z",  # pentagon
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bar:
  """One bar with its interval and marks."""

  label: str
  value: float | None  # None: nothing was measured
  low: float | None  # lower end of the interval, if known
  high: float | None  # upper end
  marks: Mapping[str, float]  # published figures by system
  band: tuple[float, float] | None = None  # range shaded behind the bar


def chart(bars: Sequence[Bar], digits: int, low: float = 0.0) -> str:
  """Draws bars over one axis, below their legend.

  Args:
    bars: values in the unit of the axis.
    digits: decimals of the values that are written out.
    low: left end of the axis.
  """
  limits = low, _limit(bars, low)
  ticks = [t for t in media.ticks(*limits) if limits[0] <= t <= limits[1]]
  systems = list(dict.fromkeys(name for bar in bars for name in bar.marks))
  rows = "".join(_row(bar, limits, ticks, systems, digits) for bar in bars)
  numbers = "".join(
    f'<text x="{_place(t, limits)}" y="14" text-anchor="middle">{t:g}</text>'
    for t in ticks
  )
  return (
    _legend(systems, any(bar.band for bar in bars))
    + f'<ul class="chart">{rows}<li aria-hidden="true"><span></span>'
    f'<svg height="18">{numbers}</svg><b></b></li></ul>'
  )


def _limit(bars: Sequence[Bar], low: float) -> float:
  """Right end of the axis: the largest value that does not lie far off."""
  values = [x for bar in bars for x in (bar.value, bar.high) if x is not None]
  values += [x for bar in bars for x in bar.marks.values()]
  values += [bar.band[1] for bar in bars if bar.band]
  if not values:
    return low + 1.0
  usual = _FAR * float(np.quantile(values, 0.75))
  limit = max(x for x in values if x <= max(usual, min(values)))
  return low + 1.06 * (limit - low) if limit > low else low + 1.0


def _place(value: float, limits: tuple[float, float]) -> str:
  """Horizontal place of a value as a share of the width."""
  share = (value - limits[0]) / (limits[1] - limits[0])
  return f"{100 * min(1.0, max(0.0, share)):.2f}%"


def _row(bar, limits, ticks, systems, digits) -> str:
  """List item of one bar: label, picture, value and interval."""
  parts = [_line("grid", t, limits, 0, _HEIGHT) for t in ticks if t > limits[0]]
  if bar.band:
    parts.append(_rect("band", bar.band, limits, 1, _HEIGHT - 2))
  if bar.value is not None:
    top = _MIDDLE - _BAR // 2
    parts.append(_rect("bar", (limits[0], bar.value), limits, top, _BAR))
    if bar.value > limits[1]:
      parts.append(_CUT)
  if bar.low is not None and bar.low < limits[1]:
    parts.append(
      f'<line class="whisker" x1="{_place(bar.low, limits)}"'
      f' x2="{_place(bar.high, limits)}" y1="{_MIDDLE}" y2="{_MIDDLE}"/>'
    )
    for end in (x for x in (bar.low, bar.high) if x <= limits[1]):
      parts.append(_line("whisker", end, limits, _MIDDLE - 4, _MIDDLE + 4))
  off = 0
  for name, value in bar.marks.items():
    parts.append(_mark(name, value, limits, systems.index(name), digits, off))
    off += value > limits[1]
  value = _told(bar.value, digits)
  interval = ""
  if bar.low is not None:
    interval = f"{_told(bar.low, digits)}–{_told(bar.high, digits)}"
  return (
    f'<li><span dir="auto">{text(bar.label)}</span>'
    f'<svg height="{_HEIGHT}" role="img"'
    f' aria-label="{text(_sentence(bar, digits))}">{"".join(parts)}</svg>'
    f"<b>{value}<small>{interval}</small></b></li>"
  )


def _rect(kind, ends, limits, y, height) -> str:
  """Rectangle between two values, cut at the ends of the axis."""
  low, high = limits
  first, last = (min(high, max(low, x)) for x in sorted(ends))
  width = 100 * (last - first) / (high - low)
  return (
    f'<rect class="{kind}" x="{_place(first, limits)}" y="{y}"'
    f' width="{width:.2f}%" height="{height}"/>'
  )


def _line(kind, value, limits, top, bottom) -> str:
  """Vertical line at a value."""
  x = _place(value, limits)
  return f'<line class="{kind}" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'


def _mark(name, value, limits, index, digits, off) -> str:
  """Mark of a published figure; beyond the axis, left of `off` others."""
  told, shift = _told(value, digits), 0
  number = ""
  if value > limits[1]:
    shift = -8 - _OFF * off
    number = f'<text x="-9" y="{_MIDDLE + 4}" text-anchor="end">{told} →</text>'
  return (
    f'<svg class="mark" x="{_place(value, limits)}" overflow="visible">'
    f'<g transform="translate({shift} 0)"><title>{text(name)}: {told}</title>'
    f"{number}{_shape(index)}</g></svg>"
  )


def _shape(index: int) -> str:
  """Shape of the system of this index."""
  shape = _SHAPES[index % len(_SHAPES)]
  kind = "open" if index // len(_SHAPES) % 2 else "full"
  return (
    f'<path class="{kind}" d="{shape}" transform="translate(0 {_MIDDLE})"/>'
  )


def _legend(systems: Sequence[str], band: bool) -> str:
  """Legend of bar, band and the systems' marks."""
  entries = [
    '<li><svg width="22" height="26"><rect class="bar" y="8" width="22"'
    ' height="10"/><line class="whisker" x1="12" x2="21" y1="13" y2="13"/>'
    "</svg>measured here, with its 95 % interval</li>"
  ]
  if band:
    entries.append(
      '<li><svg width="22" height="26"><rect class="band" y="1" width="22"'
      ' height="24"/></svg>from another speaker to the same speaker</li>'
    )
  for i, name in enumerate(systems):
    entries.append(
      '<li><svg width="22" height="26"><svg class="mark" x="11"'
      f' overflow="visible">{_shape(i)}</svg></svg>{text(name)}</li>'
    )
  return f'<ul class="legend">{"".join(entries)}</ul>'


def _sentence(bar: Bar, digits: int) -> str:
  """Sentence that says what a bar shows, for screen readers."""
  parts = [f"{bar.label}: {_told(bar.value, digits)}"]
  if bar.low is not None:
    low, high = (_told(x, digits) for x in (bar.low, bar.high))
    parts.append(f"95 % interval {low} to {high}")
  parts += [f"{name} {_told(x, digits)}" for name, x in bar.marks.items()]
  return "; ".join(parts)


def _told(value: float | None, digits: int) -> str:
  """Number with so many decimals, or a dash."""
  if value is None or not math.isfinite(value):
    return "–"
  return f"{value:.{digits}f}"
