"""Streaming effects: speed, pitch, volume and rate of speech, and joins.

  samples ─► blocks ─► atempo(speed / k) ─► resample(1 / k, rate) ─► limiter

with k = 2^(pitch / 12): speech is stretched without a change of pitch, then
read k times faster, which undoes the stretch and moves the pitch; formants move
with it. Input is cut anew into blocks of one size, so that the output does not
depend on the blocks in which it came.

Shape letters: n samples.
"""

import dataclasses
import fractions
import math
from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from s02jax.core.errors import UserError
from s02jax.core.inputs import check_numbers

BLOCK = 0.02  # seconds of the blocks that the filters see
CEILING = 0.98  # of the limiter, so that no encoder's overshoot clips
FADE = 0.01  # seconds of a join
_SETTLE = 0.25  # seconds of silence that push a tail out of atempo
_NOTHING = np.zeros(0, np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Changes:
  """Changes of speech to be made; raises UserError for one out of range."""

  speed: float = 1.0  # 0.5 to 2; durations are divided by it
  pitch: float = 0.0  # semitones up, -12 to 12
  volume: float = 1.0  # factor, above 0, at most 10; peaks are held down
  rate: int | None = None  # Hz of the result, 8000 to 48000; None: unchanged

  def __post_init__(self):
    """Checks the ranges; raises UserError that names a field."""
    check_numbers(self)
    for name, good, want in (
      ("speed", 0.5 <= self.speed <= 2, "from 0.5 to 2"),
      ("pitch", -12 <= self.pitch <= 12, "from -12 to 12 semitones"),
      ("volume", 0 < self.volume <= 10, "above 0, at most 10"),
      (
        "rate",
        self.rate is None or 8000 <= self.rate <= 48000,
        "from 8000 to 48000 Hz",
      ),
    ):
      if not good:
        raise UserError(f"{name} is {getattr(self, name)}; it must be {want}.")

  @classmethod
  def names(cls) -> list[str]:
    """Names of all changes."""
    return [field.name for field in dataclasses.fields(cls)]

  def faster(self, factor: float) -> "Changes":
    """The same changes at `factor` times their speed."""
    return dataclasses.replace(self, speed=self.speed * factor)


# --------------------------------------------------------------------- stages


class _Graph:
  """Chain of libavfilter's filters for mono float32."""

  def __init__(self, filters: Iterable[tuple[str, str]], rate: int):
    av = _av()
    self._av, self._rate, self._pushed = av, rate, 0
    self._base = fractions.Fraction(1, rate)
    self._graph = av.filter.Graph()
    nodes = [
      self._graph.add_abuffer(
        format="flt", sample_rate=rate, layout="mono", time_base=self._base
      )
    ]
    for name, arguments in (*filters, ("aformat", "sample_fmts=flt")):
      nodes.append(self._graph.add(name, arguments))
    self._graph.link_nodes(*nodes, self._graph.add("abuffersink")).configure()

  def push(self, samples: np.ndarray) -> np.ndarray:
    """Filters float32 [n] more; returns what is ready."""
    if not len(samples):
      return _NOTHING
    frame = self._av.AudioFrame.from_ndarray(
      np.ascontiguousarray(samples[None]), format="flt", layout="mono"
    )
    frame.sample_rate, frame.time_base = self._rate, self._base
    frame.pts = self._pushed
    self._pushed += len(samples)
    self._graph.push(frame)
    return self._pull()

  def finish(self) -> np.ndarray:
    """Ends the input; returns the rest."""
    self._graph.push(None)
    return self._pull()

  def _pull(self) -> np.ndarray:
    """Samples float32 that the graph has ready."""
    made = [_NOTHING]
    while True:
      try:
        frame = self._graph.pull()
      except (self._av.error.BlockingIOError, self._av.error.EOFError):
        return np.concatenate(made)
      made.append(frame.to_ndarray().reshape(-1).astype(np.float32))


class _Tempo:
  """Change of tempo at the same pitch: n samples become round(n / tempo)."""

  def __init__(self, tempo: float, rate: int):
    # Beyond 2, atempo would drop samples instead of blending them.
    parts = 1 if 0.5 <= tempo <= 2 else 2
    self._graph = _Graph([("atempo", f"{tempo ** (1 / parts)}")] * parts, rate)
    self._tempo, self._settle = tempo, int(_SETTLE * rate * max(1, tempo))
    self._taken = self._given = 0
    self._ready = _NOTHING

  def push(self, samples: np.ndarray) -> np.ndarray:
    """Stretches float32 [n] more; returns what is ready."""
    self._taken += len(samples)
    return self._give(self._graph.push(samples))

  def finish(self) -> np.ndarray:
    """Ends the input; returns the rest."""
    silence = np.zeros(self._settle, np.float32)
    tail = self._graph.push(silence), self._graph.finish()
    return self._give(np.concatenate(tail))

  def _give(self, made: np.ndarray) -> np.ndarray:
    """Samples that are ready, up to the number that is due."""
    ready = np.concatenate([self._ready, made])
    due = round(self._taken / self._tempo) - self._given
    self._ready = ready[due:]
    self._given += len(ready[:due])
    return ready[:due]


class _Resample:
  """Band-limited change of the sample rate."""

  def __init__(self, from_rate: float, to_rate: float):
    self._stream = soxr.ResampleStream(from_rate, to_rate, 1, quality="HQ")

  def push(self, samples: np.ndarray) -> np.ndarray:
    """Resamples float32 [n] more; returns what is ready."""
    return self._stream.resample_chunk(samples)

  def finish(self) -> np.ndarray:
    """Ends the input; returns the rest."""
    return self._stream.resample_chunk(_NOTHING, last=True)


def _limiter(volume: float, rate: int) -> _Graph:
  """Gain by `volume`, with peaks held below CEILING by a look-ahead limiter."""
  arguments = f"level_in={volume}:limit={CEILING}:level=0:latency=1"
  return _Graph([("aformat", "sample_fmts=dbl"), ("alimiter", arguments)], rate)


def _av():
  """Module `av`; raises UserError if PyAV is not installed."""
  try:
    import av
    import av.filter
  except ImportError as e:
    raise UserError(
      "speed, pitch and volume need PyAV: pip install 's02jax[serve]'."
    ) from e
  return av


# -------------------------------------------------------------------- effects


class Effects:
  """Chain of effects on a stream; its output does not depend on the blocks.

  Attributes:
    rate: Hz of what comes out.
  """

  def __init__(self, changes: Changes, rate: int):
    """Builds the chain.

    Args:
      changes: to be made.
      rate: of the input, Hz.

    Raises:
      UserError: PyAV is needed and not installed.
    """
    k = 2 ** (changes.pitch / 12)
    self.rate = changes.rate or rate
    self._block, self._waiting = round(BLOCK * rate), _NOTHING
    self._stages: list[_Tempo | _Resample | _Graph] = []
    if not math.isclose(changes.speed, k):
      self._stages.append(_Tempo(changes.speed / k, rate))
    if self.rate != rate * k:
      self._stages.append(_Resample(rate * k, self.rate))
    if (changes.speed, changes.pitch, changes.volume) != (1, 0, 1):
      self._stages.append(_limiter(changes.volume, self.rate))

  def push(self, samples: np.ndarray) -> np.ndarray:
    """Changes float32 [n] more; returns what is ready, float32."""
    waiting = np.concatenate([self._waiting, samples]).astype(
      np.float32, copy=False
    )
    if not self._stages:
      return waiting
    blocks = len(waiting) // self._block
    self._waiting = waiting[blocks * self._block :]
    made = [_NOTHING]
    for block in waiting[: blocks * self._block].reshape(blocks, self._block):
      made.append(self._run(block))
    return np.concatenate(made)

  def _run(self, samples: np.ndarray) -> np.ndarray:
    """Passes samples through all stages."""
    for stage in self._stages:
      samples = stage.push(samples)
    return samples

  def finish(self) -> np.ndarray:
    """Ends the input; returns the rest, float32. Nothing may follow."""
    samples, self._waiting = self._waiting, _NOTHING
    for stage in self._stages:
      samples = np.concatenate([stage.push(samples), stage.finish()])
    return samples


# ---------------------------------------------------------------------- joins


def join(
  parts: Iterable[Iterable[np.ndarray] | float], rate: int
) -> Iterator[np.ndarray]:
  """Joins chunks of speech and pauses into one stream, without clicks.

  A chunk fades into the next over FADE seconds at equal power; into and out of
  a pause, which is silence of just its length, it fades to nothing.

  Args:
    parts: each a pause, in seconds, or a chunk's blocks, float32 [n].
    rate: of the samples, Hz.
  """
  tail, paused = _NOTHING, False
  for part in parts:
    if isinstance(part, float):
      yield _fade_out(tail)
      yield from _silence(round(part * rate), rate)
      tail, paused = _NOTHING, True
    else:
      tail = yield from _chunk(part, tail, paused, round(FADE * rate))
      paused = False
  yield tail


def _chunk(
  blocks: Iterable[np.ndarray], before: np.ndarray, paused: bool, fade: int
):
  """Yields `before` joined with a chunk; returns the tail not yet yielded."""
  held, begun = _NOTHING, False
  for block in blocks:
    held = np.concatenate([held, block])
    if not begun and len(held) >= 2 * fade:
      held, begun = _begin(held, before, paused, fade), True
    if begun and len(held) > fade:
      yield held[:-fade]
      held = held[-fade:]
  return held if begun else _begin(held, before, paused, fade)


def _begin(
  head: np.ndarray, before: np.ndarray, paused: bool, fade: int
) -> np.ndarray:
  """Joins `before` and `head`; after a pause `head` fades in from nothing."""
  overlap = min(fade, len(head) // 2, len(head) if paused else len(before))
  rise = np.sin(np.pi / 2 * (np.arange(overlap) + 0.5) / max(overlap, 1))
  start = head[:overlap] * rise.astype(np.float32)
  if overlap and not paused:
    start = start + _fade_out(before[-overlap:])
    before = before[:-overlap]
  return np.concatenate([before, start, head[overlap:]])


def _fade_out(tail: np.ndarray) -> np.ndarray:
  """Samples times a falling quarter of a cosine."""
  fall = np.cos(np.pi / 2 * (np.arange(len(tail)) + 0.5) / max(len(tail), 1))
  return tail * fall.astype(np.float32)


def _silence(samples: int, rate: int) -> Iterator[np.ndarray]:
  """Yields zeros, at most a second at a time."""
  while samples > 0:
    yield np.zeros(min(samples, rate), np.float32)
    samples -= rate
