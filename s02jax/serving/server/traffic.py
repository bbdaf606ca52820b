"""Traffic: who is served now, who waits, who is sent away; and its figures."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncGenerator, Callable, Iterable

import prometheus_client as prometheus
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from s02jax.serving.server.refusals import Refusal

_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 300)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
  """Limits that hold for every request."""

  body: int = 1 << 20  # bytes of a JSON body
  upload: int = 20 << 20  # bytes of an uploaded recording
  reference: float = 120.0  # seconds of a recording that are decoded
  characters: int = 10_000  # of a text
  slots: int = 8  # requests that are spoken at once
  queue: int = 64  # requests that wait
  seconds: float = 300.0  # from the arrival of a request to its last byte
  voices: int = 1000  # kept in the bundle
  decoders: int = 2  # recordings that are decoded at once


class Figures:
  """Measurements for `/metrics`, of one server."""

  def __init__(self, slots_in_use: Callable[[], int]):
    """Starts at zero.

    Args:
      slots_in_use: number of requests in the engine.
    """
    self.registry = prometheus.CollectorRegistry()
    prometheus.ProcessCollector(registry=self.registry)
    of = {"registry": self.registry}
    self.requests = prometheus.Counter(
      "s02_requests", "Requests by path and status", ["path", "status"], **of
    )
    self.queue = prometheus.Gauge("s02_queue", "Requests that wait", **of)
    self.active = prometheus.Gauge(
      "s02_active", "Requests that are spoken", **of
    )
    self.first = prometheus.Histogram(
      "s02_first_audio_seconds",
      "Arrival of a request to its first sound",
      buckets=_SECONDS,
      **of,
    )
    self.whole = prometheus.Histogram(
      "s02_request_seconds",
      "Arrival of a request to its last sound",
      buckets=_SECONDS,
      **of,
    )
    self.audio = prometheus.Counter(
      "s02_audio_seconds", "Seconds of sound that were made", **of
    )
    self.factor = prometheus.Histogram(
      "s02_real_time_factor",
      "Seconds of a request, without its wait, per second of sound",
      buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5),
      **of,
    )
    slots = prometheus.Gauge("s02_slots_in_use", "Requests in the engine", **of)
    slots.set_function(slots_in_use)

  def text(self) -> bytes:
    """All figures in Prometheus' text format."""
    return prometheus.generate_latest(self.registry)


class Counter:
  """Middleware that counts responses by path and status."""

  def __init__(self, app: ASGIApp, figures: Figures, paths: Iterable[str]):
    """Stores where to count.

    Args:
      app: whose responses are counted.
      figures: of the server.
      paths: that are counted by their name, {…} standing for anything.
    """
    self._app, self._figures = app, figures
    self._paths = [(path, path.partition("{")[0]) for path in paths]

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Passes a request on and counts what comes back."""

    async def counted(message: Message) -> None:
      if message["type"] == "http.response.start":
        label = self._label(scope["path"]), str(message["status"])
        self._figures.requests.labels(*label).inc()
      await send(message)

    await self._app(scope, receive, counted)

  def _label(self, path: str) -> str:
    """Name under which a path is counted; there are few."""
    for name, beginning in self._paths:
      if path == name or (name != beginning and path.startswith(beginning)):
        return name
    return "other"


@dataclasses.dataclass
class Turn:
  """Turn of one request: when it came, and what it got."""

  figures: Figures
  arrived: float  # time.monotonic()
  began: float  # when it was let in
  deadline: float
  seconds: float = 0.0  # of sound made
  _first: bool = False

  def heard(self, seconds: float) -> None:
    """Counts sound that is about to be sent."""
    self.seconds += seconds
    self.figures.audio.inc(seconds)
    if seconds and not self._first:
      self._first = True
      self.figures.first.observe(time.monotonic() - self.arrived)

  def over(self) -> None:
    """Records a request that was served whole."""
    now = time.monotonic()
    self.figures.whole.observe(now - self.arrived)
    if self.seconds:
      self.figures.factor.observe((now - self.began) / self.seconds)


class Gate:
  """Gate that lets so many requests in at once; others wait, in order."""

  def __init__(self, limits: Limits, figures: Figures):
    self._limits, self._figures = limits, figures
    self._slots = asyncio.Semaphore(limits.slots)
    self._waiting = self._active = 0
    self._mean = 1.0  # seconds of a request, of late
    self.closed = False

  @contextlib.asynccontextmanager
  async def turn(self) -> AsyncGenerator[Turn]:
    """Waits for a turn, which lasts as long as the context.

    Raises:
      Refusal: too many wait already, or the deadline passed before.
    """
    arrived = time.monotonic()
    if self.closed:
      raise Refusal("closing", "the server is about to end; ask another one.")
    if self._slots.locked() and self._waiting >= self._limits.queue:
      rounds = 1 + self._waiting / self._limits.slots
      raise Refusal(
        "busy",
        f"{self._active} requests are spoken and {self._waiting} wait; try"
        " again later.",
        retry_after=min(rounds * self._mean, 60.0),
      )
    await self._wait()
    try:
      now = time.monotonic()
      yield Turn(
        figures=self._figures,
        arrived=arrived,
        began=now,
        deadline=arrived + self._limits.seconds,
      )
      self._mean += 0.1 * (time.monotonic() - now - self._mean)
    finally:
      self._active -= 1
      self._figures.active.set(self._active)
      self._slots.release()

  async def _wait(self) -> None:
    """Waits for a slot, no longer than the deadline."""
    self._waiting += 1
    self._figures.queue.set(self._waiting)
    try:
      async with asyncio.timeout(self._limits.seconds):
        await self._slots.acquire()
    except TimeoutError as error:
      raise late(self._limits.seconds) from error
    finally:
      self._waiting -= 1
      self._figures.queue.set(self._waiting)
    self._active += 1
    self._figures.active.set(self._active)


def late(seconds: float) -> Refusal:
  """Refusal of a request that was not served in time."""
  return Refusal(
    "late",
    f"the request was not served within {seconds:g} s; send a shorter text, or"
    " try again later.",
  )
